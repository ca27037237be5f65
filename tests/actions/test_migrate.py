"""What is to be taken over, by what the project knows."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ezrec.actions import migrate
from ezrec.actions.migrate import Takeover
from ezrec.adapters.publishing.past import Past
from tests.fakes.predecessor import Predecessor, machine


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predecessor:
    for name, value in machine(tmp_path / "machine").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Predecessor(tmp_path / "old")


def plan(old: Predecessor, past: Past) -> Takeover:
    old.dotenv("".join(f"{name}={value}\n" for name, value in {
        "USER_ID": "u-1", "CAMERA_ID": "court-7", "TIMEZONE_NAME": "Europe/Berlin"}.items()))
    now = round(datetime.now(UTC).timestamp() * 1e6)
    return asyncio.run(migrate.read(migrate.look(old.folder, Path("config.toml").absolute(), {}), None, past, now))


def row(old: Predecessor, name: str, hour: int, **more: Any) -> dict[str, Any]:
    at = old.day.replace(hour=hour)
    return {"id": name, "user_id": "u-1", "start_time": at.isoformat(),
            "end_time": (at + timedelta(hours=1)).isoformat()} | more


def test_a_recording_without_a_bookings_name_belongs_to_this_courts_booking_at_its_time(old: Predecessor) -> None:
    old.pair(12, names=("Goal_Left",))
    rows = [row(old, "other-court", 12, camera_id="court-8"), row(old, "called-off", 12, status="cancelled"),
            row(old, "hour-before", 11, camera_id="court-7"), row(old, "ours", 12, camera_id="court-7")]
    (fate,) = plan(old, Past(bookings=rows)).fates
    assert fate.taken
    assert fate.taken.booking_id == "ours"


@pytest.mark.parametrize("known", ["b-1", "u-1/2026/film.mp4", "film.mp4", "film"])
def test_a_film_that_has_a_row_under_any_of_its_names_is_left(old: Predecessor, known: str) -> None:
    old.pending("b-1", storage_path="u-1/2026/film.mp4")
    (fate,) = plan(old, Past(frozenset({known}))).fates
    assert (fate.taken, fate.failed) == (None, False)
    assert known in fate.why
    (fate,) = plan(old, Past(frozenset({"another"}))).fates
    assert fate.taken


def test_bookings_of_other_courts_and_those_the_project_lists_are_not_taken(old: Predecessor) -> None:
    old.bookings(old.ahead("ours"), old.ahead("old-page") | {"camera_id": "0"}, old.ahead("listed"),
                 old.ahead("other") | {"camera_id": "court-8"}, old.ahead("off") | {"status": "Cancelled"})
    found = plan(old, Past(bookings=[old.ahead("listed"), old.ahead("there-only")])).bookings
    assert {one.id for one in found} == {"ours", "old-page"}


def test_a_film_goes_before_the_cameras_it_was_made_of_and_is_one_recording_with_them(old: Predecessor) -> None:
    raw = old.pair(12, "done", merged=True, booking_id="b-1", user_id="u-1")
    old.pending("b-1", raw[-1].name)
    (fate,) = plan(old, Past()).fates
    assert fate.taken
    assert fate.taken.film
    assert fate.taken.film.parent.parent.name == "processed"
    fate.taken.film.write_bytes(b"damaged")
    (fate,) = plan(old, Past()).fates
    assert fate.taken
    assert (fate.taken.film, len(fate.taken.parts)) == (None, 2)
