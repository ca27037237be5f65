"""The store on real SQLite: what it keeps, and what it refuses."""

import sqlite3
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ezrec.domain.certificate import Certificate
from ezrec.domain.errors import IllegalStep, LeaveError
from ezrec.domain.events import FootageLost, RecipeFrozen, Unknown
from ezrec.domain.film import CameraShare, Canvas, ChunkReport, EncoderOptions, Film, Recipe, Rung, View
from ezrec.domain.messages import StatusReport, UploadAbort
from ezrec.domain.planning import Chunk
from ezrec.domain.stages import STEPS, Stage
from ezrec.domain.timeline import HOLD_US, Offset, Segment
from ezrec.store import Store, database
from ezrec.store.rows import ChunkRow, PartRow
from tests.fakes.records import VIDEO, booking, film_in, rows, segment, span

RECIPE = Recipe(30, Canvas(320, 180, (View("left", 0, 320, 180),)), EncoderOptions())  # type: ignore[arg-type]
REPORT = ChunkReport(77, {"left": CameraShare(shown=60)}, both=3)


# ---- bookings and films


async def test_bookings_come_back_as_they_were_put_by_start_and_source(store: Store) -> None:
    late, early, other = booking("a", starts_at=30, note="x"), booking("b"), booking("c", "file", starts_at=20)
    for one in (late, early, other):
        assert await store.put_booking(one)
    assert await store.bookings() == [early, other, late]
    assert await store.bookings("file") == [other]


async def test_only_its_own_source_changes_or_drops_a_booking(store: Store) -> None:
    await store.put_booking(booking())
    assert not await store.put_booking(booking(source="file", starts_at=50))
    await store.drop_booking("b", "file")
    assert await store.bookings() == [booking()]
    assert await store.put_booking(booking(starts_at=40, status="cancelled"))
    assert await store.bookings() == [booking(starts_at=40, status="cancelled")]
    await store.drop_booking("b", "cli")
    assert await store.bookings() == []


async def test_a_film_is_added_once(store: Store) -> None:
    await store.add_film("b", "r-1", 100, 200)
    await store.add_film("b", "r-2", 300, 400)
    assert await store.film("b") == Film("b", "r-1", 1, Stage.BOOKED, 100, 200, None, None, None, None, None, None, 0,
                                         None, None, None, None, 1000)
    assert [event.kind for event in await store.events("b")] == ["booked"]


async def test_films_come_oldest_first_and_by_stage(store: Store) -> None:
    for name, starts_at in (("late", 300), ("early", 100), ("middle", 200)):
        await store.add_film(name, f"r-{name}", starts_at, starts_at + 50)
    await store.step("late", Stage.MISSED)
    assert [film.booking_id for film in await store.films()] == ["early", "middle", "late"]
    assert [film.booking_id for film in await store.films(Stage.BOOKED)] == ["early", "middle"]
    assert [film.booking_id for film in await store.films(Stage.MISSED, Stage.CLEANED)] == ["late"]
    assert await store.film("none") is None


@pytest.mark.parametrize("stage", Stage)
async def test_a_film_is_dropped_only_while_nothing_was_recorded_for_it(store: Store, stage: Stage) -> None:
    await film_in(store, stage)
    assert await store.drop_film("b") == (stage is Stage.BOOKED)
    assert (await store.film("b") is None) == (stage is Stage.BOOKED)


async def test_a_dropped_film_takes_its_spans_chunks_and_parts_along(store: Store, path: Path) -> None:
    await store.add_film("b", "r", 100, 200)
    await store.begin_run("boot", 0, 0)
    await store.put_span("b", span())
    await store.plan_chunk("b", 1, Chunk(1, 1, 0, 60), 100, "c1")
    await store.put_part("b", 1, PartRow(1, 0, 5, "m", "s"))
    assert await store.drop_film("b")
    for table in ("span", "chunk", "part"):
        assert rows(path, f"SELECT * FROM {table}") == []


# ---- the gate


@pytest.mark.parametrize("stage", Stage)
async def test_the_gate_takes_legal_steps_and_changes_nothing_at_any_other(store: Store, stage: Stage) -> None:
    for to in Stage:
        name = f"b-{to}"
        before, story = await film_in(store, stage, name), await store.events(name)
        if to is stage:
            assert await store.step(name, to, bytes=5) == before  # confirmed: what came with it first stays
        elif to in STEPS[stage]:
            after = await store.step(name, to, bytes=5)
            assert (after.stage, after.bytes) == (to, 5)
            assert (await store.events(name))[-1].detail == {"from": stage, "to": to}
            continue
        else:
            with pytest.raises(IllegalStep):
                await store.step(name, to, bytes=5)
        assert (await store.film(name), await store.events(name)) == (before, story)


async def test_a_step_begins_attempts_anew_and_leaves_parked_what_is_parked(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    await store.update_film("b", attempts=3, retry_at=99, parked_step="upload", parked_reason="refused")
    film = await store.step("b", Stage.RECORDED)
    assert (film.attempts, film.retry_at, film.parked_step, film.parked_reason) == (0, None, "upload", "refused")


async def test_a_step_of_a_film_that_is_not_there_is_illegal(store: Store) -> None:
    with pytest.raises(IllegalStep, match="no film"):
        await store.step("b", Stage.RECORDING)


async def test_a_step_decided_on_what_a_film_was_is_not_taken_once_it_is_something_else(store: Store) -> None:
    read = await film_in(store, Stage.RECORDING)
    await store.move_film("b", 100, 300)
    assert (await store.step("b", Stage.RECORDED, as_read=read)).stage is Stage.RECORDING
    read = await store.step("b", Stage.CANCELLED)
    assert (await store.step("b", Stage.RECORDED, as_read=await film_in(store, Stage.RECORDING, "c"))).stage \
        is Stage.CANCELLED
    assert (await store.step("b", Stage.RECORDED, as_read=read)).stage is Stage.RECORDED


@pytest.mark.parametrize("stage", Stage)
async def test_a_window_is_moved_only_while_the_film_may_change(store: Store, stage: Stage) -> None:
    await film_in(store, stage)
    allowed = stage in (Stage.BOOKED, Stage.RECORDING)
    assert await store.move_film("b", 150, 300) == allowed
    film = await store.film("b")
    assert film
    assert (film.starts_at, film.ends_at) == ((150, 300) if allowed else (100, 200))


async def test_columns_are_set_and_told_but_no_others(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    film = await store.update_film("b", RecipeFrozen(), recipe=RECIPE.dumps(), certificate='{"runs": 7}', url="u")
    assert (film.recipe, film.certificate, film.url) == (RECIPE, Certificate(runs=7), "u")
    assert (await store.events("b"))[-1].event == RecipeFrozen()
    with pytest.raises(ValueError, match="stage"):
        await store.update_film("b", stage="cleaned")
    assert (await store.film("b")) == film


async def test_the_next_generation_forgets_key_upload_and_parts_but_not_the_chunks(store: Store) -> None:
    await film_in(store, Stage.RECORDED)
    await store.name_upload("b", 1, "k", "u")
    await store.plan_chunk("b", 1, Chunk(1, 1, 0, 60), 100, "c1")
    await store.put_part("b", 1, PartRow(1, 0, 5, "m", "s"))
    film = await store.next_generation("b", "moved", recipe=RECIPE.dumps())
    assert (film.generation, film.object_key, film.upload_id, film.recipe) == (2, None, None, RECIPE)
    assert await store.parts("b", 1) == []
    assert len(await store.chunks("b")) == 1
    assert await store.chunks("b", 2) == []
    assert (await store.events("b"))[-1].detail == {"generation": 2, "reason": "moved"}


@pytest.mark.parametrize("stage", [one for one in Stage if one not in (Stage.RECORDING, Stage.RECORDED)])
async def test_a_film_that_is_closed_or_not_begun_has_no_next_generation(store: Store, stage: Stage) -> None:
    before = await film_in(store, stage)
    with pytest.raises(IllegalStep):
        await store.next_generation("b", "moved")
    assert await store.film("b") == before


async def test_a_closed_film_that_was_damaged_goes_back_a_step_with_all_that_was_known_of_it(store: Store) -> None:
    await film_in(store, Stage.RECORDED)
    await store.name_upload("b", 1, "k", "u")
    await store.put_part("b", 1, PartRow(1, 0, 5, "m", "s"))
    await store.plan_chunk("b", 1, Chunk(1, 1, 0, 60), 100, "c1")
    await store.step("b", Stage.RENDERED, recipe=RECIPE.dumps(), bytes=5, certificate="{}", sums='["s"]')
    film = await store.begin_again("b", 1, "part 1 is not what was written")
    assert (film.stage, film.generation, film.recipe) == (Stage.RECORDED, 2, RECIPE)
    assert (film.object_key, film.upload_id, film.bytes, film.certificate, film.sums) == (None, None, None, None, ())
    assert [await store.parts("b", 1), await store.chunks("b")] == [[], []]
    assert [message.body for message in await store.outbox("b")] == [UploadAbort("k", "u")]
    assert [event.detail for event in (await store.events("b"))[-2:]] == [
        {"from": "rendered", "to": "recorded"}, {"generation": 2, "reason": "part 1 is not what was written"}]


async def test_a_film_that_has_gone_on_or_was_begun_again_is_not_taken_back(store: Store) -> None:
    await film_in(store, Stage.RENDERED)
    again = await store.begin_again("b", 1, "gone")
    assert await store.begin_again("b", 1, "gone") == again  # told twice
    await store.step("b", Stage.RENDERED)
    rendered = await store.film("b")
    assert await store.begin_again("b", 1, "gone") == rendered
    await store.step("b", Stage.UPLOADED)
    assert (await store.begin_again("b", 2, "gone")).stage is Stage.UPLOADED


async def test_whose_film_is_made_again_is_told_no_word_twice(store: Store) -> None:
    await store.put_booking(replace(booking(), reported=True))
    await film_in(store, Stage.RENDERED)
    told = ["recording", "completed", "video_processed"]
    assert await words(store) == told
    for message in await store.outbox("b"):
        await store.delivered(message)
    await store.begin_again("b", 1, "gone")
    await store.step("b", Stage.RENDERED)
    assert await words(store) == []
    await store.begin_again("b", 2, "gone")
    await store.park("b", "film", "no footage")
    await store.retry("b")
    await store.step("b", Stage.RENDERED)  # it was `failed`: the next step is news again
    assert await words(store) == ["failed", "video_processed"]
    await store.begin_again("b", 3, "gone")
    await store.step("b", Stage.RENDERED)
    assert await words(store) == ["failed", "video_processed"]


async def words(store: Store) -> list[str]:
    return [message.body.status for message in await store.outbox("b") if isinstance(message.body, StatusReport)]


@pytest.mark.parametrize(("text", "sums"), [
    (None, ()), ("", ()), ("not JSON", ()), ("7", ()), ("[7]", ()), ('{"1": "s"}', ()), ('["s", "t"]', ("s", "t"))])
async def test_checksums_that_cannot_be_read_are_none(
        store: Store, text: str | None, sums: tuple[str, ...]) -> None:
    await film_in(store, Stage.RENDERED)
    assert (await store.update_film("b", sums=text)).sums == sums


async def test_an_upload_is_named_for_its_own_generation_only(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    await store.next_generation("b", "moved")
    assert not await store.name_upload("b", 1, "of generation 1")
    assert await store.name_upload("b", 2, "of generation 2")
    film = await store.film("b")
    assert film
    assert film.object_key == "of generation 2"


# ---- runs, spans, segments


async def test_runs_count_up_and_keep_their_offsets_in_order(store: Store, path: Path) -> None:
    assert [await store.begin_run("boot", 50, 1000), await store.begin_run("boot", 70, 2000)] == [1, 2]
    await store.add_offset(1, Offset(90, 3000))
    await store.add_offset(1, Offset(80, 4000))
    await store.add_offset(1, Offset(90, 3500))  # the wall clock stepped again in the same moment
    assert await store.offsets(1) == [Offset(50, 1000), Offset(80, 4000), Offset(90, 3500)]
    assert await store.offsets(2) == [Offset(70, 2000)]
    assert rows(path, "SELECT boot_id, started_at FROM run ORDER BY id") == [("boot", 1050), ("boot", 2070)]


async def test_spans_are_kept_per_run_and_found_by_the_stage_of_their_film(store: Store) -> None:
    await film_in(store, Stage.RECORDING, "a")
    await film_in(store, Stage.BOOKED, "b")
    for _ in range(2):
        await store.begin_run("boot", 0, 0)
    await store.put_span("a", span(2))
    await store.put_span("a", span(1))
    await store.put_span("a", span(1, end_us=300, reach_from_us=50))
    assert await store.spans("a") == [span(1, end_us=300, reach_from_us=50), span(2)]
    assert await store.spans("b") == []
    assert await store.spans_in(Stage.RECORDING, Stage.CLEANED) == {"a": await store.spans("a")}
    assert await store.spans_in(Stage.BOOKED) == {}


async def test_the_first_segment_inside_a_booked_window_begins_its_film(store: Store) -> None:
    await store.begin_run("boot", 0, 0)
    for name, stage in (("touched", Stage.BOOKED), ("later", Stage.BOOKED), ("called off", Stage.CANCELLED)):
        await film_in(store, stage, name)
    await store.put_span("touched", span(start_us=100, end_us=200))
    await store.put_span("later", span(start_us=160, end_us=260))
    await store.put_span("called off", span(start_us=100, end_us=200))
    assert await store.add_segment(segment(60, 100)) == []  # up to its start, not into it
    assert await store.add_segment(segment(100, 160)) == ["touched"]
    assert await store.add_segment(segment(100, 160, "right")) == []
    assert {film.booking_id: film.stage for film in await store.films()} == {
        "touched": Stage.RECORDING, "later": Stage.BOOKED, "called off": Stage.CANCELLED}
    assert await store.has_footage("touched")
    assert await store.has_footage("called off")
    assert not await store.has_footage("later")


async def test_a_segment_is_kept_once_and_found_by_time(store: Store) -> None:
    await store.begin_run("boot", 0, 0)
    one, two, right = segment(0, 10, gaps=((3, 5),)), segment(10, 20), segment(0, 10, "right")
    for each in (two, right, one, one):
        await store.add_segment(each)
    assert await store.segments(1, 0, 100) == [one, two, right]
    assert await store.segments(1, 10, 100) == [two]
    assert await store.segments(1, 0, 10) == [one, right]
    assert await store.segments(2, 0, 100) == []
    assert await store.segment_paths() == {one.path, two.path, right.path}


async def test_thousands_of_rows_come_back_like_a_few(store: Store) -> None:
    await store.begin_run("boot", 0, 0)
    made = [segment(10 * index, 10 * index + 10) for index in range(database.MANY + 50)]
    for one in made:
        await store.add_segment(one)
    assert await store.segments(1, 0, 1 << 40) == made
    assert await store.unneeded_segments([]) == made


async def test_what_is_lost_becomes_gaps_is_told_and_frees_the_plan_behind_it(store: Store) -> None:
    await film_in(store, Stage.RECORDING, "b")
    run = await store.begin_run("boot", 0, 0)
    a, b = segment(0, 9_000_000, run=run, gaps=((5_000, 6_000),)), segment(9_000_000, 18_000_000, run=run)
    for one in (a, b):
        await store.add_segment(one)
    for number in (1, 2, 3):
        await store.plan_chunk("b", 1, Chunk(number, run, 60 * number, 60), 0, f"c{number}")
    first = FootageLost("left", 1, 5, ("a.ts",), "is damaged")
    await store.note_gaps("b", 1, {a.path: [(6_000, 8_000), (1_000, 2_000)], "gone.ts": [(1, 2)]}, [(first, None)], 2)
    assert [one.gaps for one in await store.segments(run, 0, 18_000_000)] == [((1_000, 2_000), (5_000, 8_000)), ()]
    assert [row.chunk.number for row in await store.chunks("b")] == [1]
    longer = replace(first, ends_at=9, files=("a.ts", "b.ts"))
    await store.note_gaps("b", 1, {}, [(longer, first)], None)
    assert [row.chunk.number for row in await store.chunks("b")] == [1]
    assert [one.event for one in await store.events("b") if one.kind == "footage lost"] == [longer]


async def test_a_segment_is_unneeded_once_every_film_that_ever_touched_it_is_cleaned(store: Store) -> None:
    """Promise 2."""
    s = 1_000_000
    await store.begin_run("boot", 0, 0)
    inside, before, edge, behind, others = (
        segment(a * s, b * s) for a, b in ((100, 150), (0, 50), (50, 90), (400, 450), (600, 650)))
    for one in (inside, before, edge, behind, others):
        await store.add_segment(one)
    await film_in(store, Stage.PUBLISHED, "shrunk")
    await store.put_span("shrunk", span(start_us=120 * s, end_us=140 * s, reach_from_us=90 * s, reach_to_us=420 * s))
    await film_in(store, Stage.CANCELLED, "other")
    await store.put_span("other", span(start_us=140 * s, end_us=640 * s))
    assert await unneeded(store) == {before}  # `edge` ends where a window begins: its last frame is the nearest
    await store.step("other", Stage.CLEANED)
    assert await unneeded(store) == {before, others}  # `shrunk` once reached as far as `behind`
    await store.step("shrunk", Stage.CLEANED)
    assert await unneeded(store) == {inside, before, edge, behind, others}
    assert await unneeded(store, (1, 90 * s)) == {before}  # the run still records
    assert await unneeded(store, (2, 0)) == {inside, before, edge, behind, others}


async def unneeded(store: Store, *before: tuple[int, int]) -> set[Segment]:
    return set(await store.unneeded_segments(before))


async def test_a_marked_segment_is_used_no_more_and_its_row_goes_only_when_told(store: Store) -> None:
    await store.begin_run("boot", 0, 0)
    one, two = segment(0, 10), segment(10, 20)
    for each in (one, two):
        await store.add_segment(each)
    await store.doom([one])
    assert await store.segments(1, 0, 100) == [two]
    assert await store.unneeded_segments([]) == [two]
    assert await store.doomed() == [one.path]
    assert one.path in await store.segment_paths()  # not taken for an orphan while its file is still there
    await store.drop_doomed([one.path, two.path])
    assert await store.segment_paths() == {two.path}


# ---- chunks, parts, videos, events


async def test_a_chunk_goes_from_planned_to_rendered_or_down_the_ladder(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    one, two = Chunk(1, 1, 0, 60), Chunk(2, 1, 60, 60)
    for chunk in (one, two):
        await store.plan_chunk("b", 1, chunk, chunk.first_tick, f"c{chunk.number}")
    await store.chunk_failed("b", 1, 2, Rung.PLAIN, 2)
    await store.chunk_rendered("b", 1, 1, "old/c1", REPORT, Rung.FULL)
    assert await store.chunks("b", 1) == [
        ChunkRow(1, one, 0, True, "old/c1", Rung.FULL, 0, REPORT.dumps()),
        ChunkRow(1, two, 60, False, "c2", Rung.PLAIN, 2, None)]
    assert (await store.chunks("b"))[0].report == REPORT
    await store.chunk_failed("b", 1, 1, Rung.FULL, 1)
    assert not (await store.chunks("b"))[0].rendered


async def test_chunks_of_a_generation_are_dropped_alone_or_with_all(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    for generation in (1, 2, 3):
        await store.plan_chunk("b", generation, Chunk(1, 1, 0, 60), 0, "c")
    await store.drop_chunks("b", before_generation=2)
    assert [row.generation for row in await store.chunks("b")] == [2, 3]
    await store.drop_chunks("b")
    assert await store.chunks("b") == []


async def test_a_part_is_kept_once_per_number_and_generation(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    await store.put_part("b", 1, PartRow(2, 5, 5, "m", "s"))
    await store.put_part("b", 1, PartRow(1, 0, 5, "m", "s"))
    await store.put_part("b", 1, PartRow(2, 5, 5, "new", "s"))
    await store.put_part("b", 2, PartRow(1, 0, 7, "m", "s"))
    assert await store.parts("b", 1) == [PartRow(1, 0, 5, "m", "s"), PartRow(2, 5, 5, "new", "s")]


async def test_a_film_has_one_row_of_a_video_however_often_it_is_put(store: Store) -> None:
    for size in (1, 2):
        await store.put_video(replace(VIDEO, file_size=size))
    assert await store.videos() == [asdict(replace(VIDEO, file_size=1))]


async def test_events_come_back_in_order(store: Store) -> None:
    await store.record("b", Unknown("one", {"number": 1}))
    await store.record("c", Unknown("of another"))
    await store.record("b", Unknown("two"))
    assert [(event.at, event.kind, event.detail) for event in await store.events("b")] == [
        (1000, "one", {"number": 1}), (1000, "two", {})]


async def test_what_the_story_says_already_is_not_said_again_but_anything_else_is(store: Store) -> None:
    await store.record("other", Unknown("change refused", {"ends_at": 7}))
    for ends_at in (7, 7, 8, 7):
        await store.record_once("b", Unknown("change refused", {"ends_at": ends_at}))
    await store.record_once("b", Unknown("another kind", {"ends_at": 7}))
    assert [(event.kind, event.detail["ends_at"]) for event in await store.events("b")] == [
        ("change refused", 7), ("change refused", 8), ("another kind", 7)]


# ---- what the schema refuses


@pytest.mark.parametrize("sql", [
    "INSERT INTO booking VALUES ('x', 'cli', 20, 10, 's', '{}', 0, 0)",  # ends before it starts
    "INSERT INTO booking VALUES ('x', 'cli', 'noon', 10, 's', '{}', 0, 0)",  # STRICT
    ("INSERT INTO chunk (film, generation, number, run, start_us, first_tick, ticks, path)"
     " VALUES ('b', 1, 1, 1, 0, 0, 0, 'c')"),  # no ticks
    ("INSERT INTO chunk (film, generation, number, run, start_us, first_tick, ticks, path, state)"
     " VALUES ('b', 1, 1, 1, 0, 0, 5, 'c', 'half')"),
    "INSERT INTO span VALUES ('nobody', 1, 0, 0, 0, 0, 0, 0)",  # foreign keys
    ("INSERT INTO segment (camera, run, start_us, end_us, frames, dropped, bytes, path)"
     " VALUES ('left', 99, 0, 1, 1, 0, 1, 'p')"),
    ("INSERT INTO film (booking_id, recording_id, stage, starts_at, ends_at, changed_at)"
     " VALUES ('x', 'r-b', 'booked', 0, 1, 0)"),  # a folder of another film
])
async def test_a_row_that_cannot_be_true_is_refused(store: Store, sql: str) -> None:
    await film_in(store, Stage.RECORDING)
    await store.begin_run("boot", 0, 0)
    with pytest.raises(sqlite3.IntegrityError):
        await store._do(sql)
    await store.record("b", Unknown("the store goes on"))


async def test_a_film_that_is_withdrawn_leaves_one_line_and_one_that_is_not_there_none(store: Store) -> None:
    await film_in(store, Stage.BOOKED)
    assert [await store.drop_film("b") for _ in range(2)] == [True, False]
    assert [event.kind for event in await store.events("b")] == ["booked", "withdrawn"]


async def test_a_retry_clears_all_that_kept_the_film_and_its_messages_waiting(store: Store) -> None:
    await store.put_booking(booking(source="supabase", reported=True))
    await film_in(store, Stage.RECORDED)
    await store.update_film("b", attempts=3, retry_at=99, parked_step="film", parked_reason="broken")
    for message in await store.outbox("b"):
        await store.message_failed(message, 4, 77)
    await store.retry("b")
    film = await store.film("b")
    assert film
    assert (film.attempts, film.retry_at, film.parked_step, film.parked_reason) == (0, None, None, None)
    assert {(one.attempts, one.retry_at) for one in await store.outbox("b")} == {(0, None)}
    assert (await store.events("b"))[-1].kind == "retried"


async def test_a_segment_that_is_added_again_stays_as_it_was(store: Store) -> None:
    await store.begin_run("boot", 0, 0)
    await store.add_segment(segment(0, 4))
    await store.doom([segment(0, 4)])
    await store.add_segment(segment(0, 4))
    assert await store.doomed() == [segment(0, 4).path]
    assert await store.segments(1, 0, 10) == []


async def test_a_film_begins_with_a_line_in_its_story(store: Store) -> None:
    await film_in(store, Stage.BOOKED)
    await store.put_span("b", span(await store.begin_run("boot", 0, 0)))
    assert await store.add_segment(segment(100, 140)) == ["b"]
    assert (await store.events("b"))[-1].detail == {"from": "booked", "to": "recording"}


async def test_chunks_of_all_generations_come_one_generation_after_the_other(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    for generation, number in ((2, 1), (1, 2), (1, 1)):
        await store.plan_chunk("b", generation, Chunk(number, 1, 60 * number, 60), 0, f"{generation}-{number}")
    assert [(row.generation, row.chunk.number) for row in await store.chunks("b")] == [(1, 1), (1, 2), (2, 1)]


async def test_a_segment_is_needed_if_it_comes_within_half_a_second_of_a_window(store: Store) -> None:
    await film_in(store, Stage.RECORDING)
    await store.begin_run("boot", 0, 0)
    await store.put_span("b", span(1, 10 * HOLD_US, 20 * HOLD_US))
    edges = [(0, 9 * HOLD_US), (0, 9 * HOLD_US + 1), (21 * HOLD_US - 1, 30 * HOLD_US), (21 * HOLD_US, 30 * HOLD_US)]
    for camera, (start, end) in zip("abcd", edges, strict=True):
        await store.add_segment(segment(start, end, camera))
    assert [one.camera for one in await store.unneeded_segments([])] == ["a", "d"]


async def test_bookings_come_with_how_far_their_films_are_from_a_time_on(store: Store) -> None:
    old, edge, none = (booking(name, starts_at=at) for name, at in (("old", 10), ("edge", 11), ("none", 12)))
    for one in (none, edge, old):
        await store.put_booking(one)
    await film_in(store, Stage.RECORDED, "edge")
    assert await store.bookings_with_stages(21) == [(edge, Stage.RECORDED), (none, None)]
    assert [one for one, _ in await store.bookings_with_stages(20)] == [old, edge, none]


@pytest.mark.parametrize(("start_us", "end_us", "touches"), [
    (0, 100, False), (0, 101, True), (199, 300, True), (200, 300, False)])
async def test_a_film_has_footage_only_of_its_own_window(
        store: Store, start_us: int, end_us: int, touches: bool) -> None:
    await film_in(store, Stage.BOOKED)
    await store.put_span("b", span(await store.begin_run("boot", 0, 0), 100, 200))
    await store.add_segment(segment(start_us, end_us))
    assert await store.has_footage("b") is touches


async def test_a_film_that_was_withdrawn_meanwhile_is_laid_onto_no_run(store: Store) -> None:
    run = await store.begin_run("boot", 0, 0)
    await store.put_span("gone", span(run))
    assert await store.spans("gone") == []


async def test_a_film_that_is_cleaned_keeps_no_rows_of_parts(store: Store) -> None:
    await film_in(store, Stage.PUBLISHED)
    await store.put_part("b", 1, PartRow(1, 0, 5, "m", "s"))
    await store.step("b", Stage.CLEANED)
    assert await store.parts("b", 1) == []


async def _newer(path: Path, mark: int) -> None:
    """A store that an upgrade has changed and that was then taken back."""
    await (await Store.open(path, create=True)).close()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE later (one)")
        db.execute("ALTER TABLE film ADD COLUMN later TEXT")
        db.execute(f"PRAGMA user_version={database.VERSION + 1}")
        db.execute(f"PRAGMA application_id={mark}")
    db.close()


async def test_a_newer_store_that_says_that_this_version_can_use_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "ezrec.db"
    await _newer(path, (database.VERSION + 1) * 1000 + database.VERSION)
    store = await Store.open(path, migrate=True)
    await store.put_booking(booking("match"))
    await store.add_film("match", "a", 0, 1)
    assert (await store.film("match")).stage is Stage.BOOKED
    assert await store.version() == database.VERSION + 1
    await store.close()


@pytest.mark.parametrize("said_of", [
    database.VERSION * 1000 + database.VERSION, (database.VERSION + 2) * 1000 + database.VERSION,
    (database.VERSION + 1) * 1000 + database.VERSION + 1, (database.VERSION + 1) * 1000, 0])
async def test_a_newer_store_that_does_not_say_it_of_its_own_version_is_refused(tmp_path: Path, said_of: int) -> None:
    path = tmp_path / "ezrec.db"
    await _newer(path, said_of)
    with pytest.raises(LeaveError, match="install the newer EZREC"):
        await Store.open(path, migrate=True)


async def test_every_store_says_which_is_the_oldest_version_that_can_use_it(tmp_path: Path) -> None:
    for version in (1, database.VERSION):
        path = tmp_path / f"{version}.db"
        if version == 1:
            with sqlite3.connect(path) as db:
                db.executescript((Path(__file__).parent / "old/1.sql").read_text("utf-8"))
                db.execute("PRAGMA user_version=1")
            db.close()
        store = await Store.open(path, create=version > 1, migrate=True)
        await store.close()
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA application_id").fetchone()[0] == database.VERSION * 1000 + database.OLDEST
        db.close()
