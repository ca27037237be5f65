"""The regular looks: they find what can still change, and nothing else."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ezrec.domain.events import RecipeFrozen
from ezrec.domain.stages import Stage
from ezrec.store import Rules, Store, database
from tests.fakes.desk import RECIPE
from tests.fakes.records import booking, film_in, span

DAY = 86_400_000_000
NOW = 100 * DAY
RULES = Rules(0, 0, ("cancelled",))


async def follow(store: Store, recovered_at: int = 0, rules: Rules = RULES) -> tuple[list[str], list[str]]:
    bookings, films = await store.to_follow(rules, NOW, NOW - DAY, recovered_at)
    return [one.id for one in bookings], [film.booking_id for film in films]


async def put(store: Store, booking_id: str, starts_at: int, *, film_at: int | None = None, **more: object) -> None:
    await store.put_booking(booking(booking_id, starts_at=starts_at, ends_at=starts_at + 10, **more))
    if film_at is not None:
        await store.add_film(booking_id, f"r-{booking_id}", film_at, film_at + 10)


async def test_a_film_that_is_as_its_booking_is_not_looked_at(store: Store) -> None:
    await put(store, "same", NOW + 50, film_at=NOW + 50)
    await put(store, "moved", NOW + 60, film_at=NOW + 70)
    await put(store, "off", NOW + 80, film_at=NOW + 80, status="cancelled")
    await put(store, "new", NOW + 90)
    await put(store, "off at once", NOW + 95, status="cancelled")
    await store.add_film("withdrawn", "r-withdrawn", NOW + 99, NOW + 100)
    bookings, films = await follow(store)
    assert sorted(bookings) == ["moved", "new", "off"]
    assert sorted(films) == ["moved", "off", "withdrawn"]


async def test_rolls_belong_to_a_booking_window(store: Store) -> None:
    await store.put_booking(booking("b", starts_at=NOW + 50, ends_at=NOW + 60))
    await store.add_film("b", "r", NOW + 45, NOW + 67)
    assert await follow(store, rules=Rules(5, 7, ())) == ([], [])
    assert (await follow(store))[0] == ["b"]


@pytest.mark.parametrize("stage", [Stage.CANCELLED, Stage.MISSED])
async def test_a_film_that_was_called_off_or_missed_is_looked_at_while_its_booking_stands(
        store: Store, stage: Stage) -> None:
    for name, starts_at in (("b", NOW - 5), ("over", NOW - 20)):
        await put(store, name, starts_at, film_at=starts_at)
        await store.step(name, stage)
    assert (await follow(store))[0] == ["b"]


async def test_what_was_over_long_ago_is_looked_at_only_after_the_store_was_lost(
        store: Store, path: Path) -> None:
    await put(store, "old", NOW - 3 * DAY)
    await put(store, "old film", NOW - 3 * DAY, film_at=NOW - 4 * DAY)
    assert (await follow(store))[0] == []
    assert (await follow(store, recovered_at=NOW - 2 * DAY))[0] == ["old"]
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE booking SET seen_at = ? WHERE id = 'old film'", (NOW - 5,))  # it was changed just now
    assert (await follow(store))[0] == ["old film"]


async def test_recording_is_told_of_begun_films_and_of_those_that_start_soon(store: Store) -> None:
    for name, starts_at in (("soon", 10), ("far", 1000), ("begun", 2000), ("waits", 5), ("off", 6)):
        await store.add_film(name, f"r-{name}", starts_at, starts_at + 10)
    await store.step("begun", Stage.RECORDING)
    for name, stages in (("waits", (Stage.RECORDING, Stage.RECORDED)), ("off", (Stage.CANCELLED,))):
        for stage in stages:
            await store.step(name, stage)
    assert [film.booking_id for film in await store.films_to_record(100)] == ["waits", "soon", "begun"]
    assert [film.booking_id for film in await store.booked_films(10, 1000)] == ["soon"]


async def test_ids_that_are_used_again_are_found_by_the_plain_one_and_no_other(store: Store) -> None:
    for name in ("a", "a@20261123T170000Z", "a-1", "ab", "b"):
        await put(store, name, NOW, film_at=NOW)
    wanted = {"a", "a@20261123T170000Z"}
    assert {film.booking_id for film in await store.films_of(["a"])} == wanted
    assert {one.id for one in await store.bookings_of(["a", "none"])} == wanted


async def test_names_of_no_film_are_told_from_those_of_films(store: Store) -> None:
    await film_in(store, Stage.BOOKED)
    (film,) = await store.films()
    assert await store.not_of_films([film.recording_id, "lost+found"]) == ["lost+found"]


async def test_a_write_is_noticed_and_a_read_is_none(store: Store, path: Path) -> None:
    before = await store.state()
    await store.films()
    assert await store.state() == before
    await store.add_film("b", "r", 1, 2)
    after = await store.state()
    assert after != before
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM film")
    assert await store.state() != after


async def test_the_recorder_makes_the_indexes_that_a_store_lacks(store: Store, path: Path) -> None:
    def indexes() -> set[str]:
        with closing(sqlite3.connect(path)) as db:
            return {name for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}

    with closing(sqlite3.connect(path)) as db, db:
        for name in database.INDEXES:
            db.execute(f"DROP INDEX IF EXISTS {name}")
    assert not database.INDEXES.keys() & indexes()
    other = await Store.open(path, migrate=True)
    await other.close()
    assert database.INDEXES.keys() <= indexes()


async def test_the_films_around_now_are_listed_and_those_with_work_left_always(store: Store) -> None:
    for at in range(10):
        await store.add_film(f"b{at}", f"r{at}", at * 10, at * 10 + 5)
    await store.step("b0", Stage.RECORDING)
    for name in ("b1", "b2", "b3", "b4"):
        await store.step(name, Stage.MISSED)
    films, count = await store.recent_films(45, 2, 3)
    assert [film.booking_id for film, _ in films] == ["b0", "b3", "b4", "b5", "b6", "b7"]
    assert count == 10


async def test_of_films_of_long_ago_the_story_stays_in_short_form(store: Store) -> None:
    for name, stage in (("old", Stage.CLEANED), ("parked", Stage.RECORDED), ("young", Stage.CLEANED)):
        await store.put_booking(booking(name, starts_at=100 if name != "young" else 10_000))
        await film_in(store, stage, name)
        await store.record(name, RecipeFrozen())
        times = {"starts_at": 10_000, "ends_at": 10_100} if name == "young" else {}
        await store.update_film(name, recipe=RECIPE.dumps(), **times)
        await store.put_span(name, span(run=await store.begin_run("boot", 0, 0)))
    await store.put_booking(booking("never filmed", starts_at=100))
    assert await store.prune(5_000, 10) == 1
    assert await store.prune(5_000, 10) == 0
    kinds = [entry.kind for entry in await store.events("old")]
    assert kinds == ["booked"] + ["stage"] * 6
    assert (await store.spans("old"), await store.booking("old")) == ([], None)
    for name in ("parked", "young"):
        assert "recipe" in [entry.kind for entry in await store.events(name)]
        assert await store.spans(name)
        assert await store.booking(name)
    assert await store.booking("never filmed") is None
    assert {name for name, in await store._read("SELECT booking_id FROM film WHERE recipe IS NULL")} == {"old"}
