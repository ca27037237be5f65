"""What the device of one court reaches of another's: nothing. Each function that devices may call is tried, by name."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from ezrec.cli.tables import sql
from tests.cloud.test_rights import DEVICE
from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.supabase import GENEROUS, ROLES

HASH = "a" * 64
MINE, THEIRS = "mine", "theirs"
TABLES = ("bookings", "videos", "system_status", "user_settings", "shared_links", "ezrec_marks", "ezrec_clips")
SETTING_UP = f"""
insert into bookings (id, user_id, camera_id, start_time, end_time)
  select 'b-' || one, one, 'c1', now(), now() + interval '1 h' from unnest(array['mine', 'theirs']) as one;
insert into user_settings (user_id, intro_path) values ('mine', 'mine.mp4'), ('theirs', 'theirs.mp4');
insert into videos (recording_id, booking_id, user_id, camera_id, storage_path, video_url, duration_seconds, file_size,
  filename, date, uploaded_at) select 'r', 'b-' || one, one, 'c1', one, 'u', 1, 1, 'f', '2026-11-20', now()
  from unnest(array['mine', 'theirs']) as one;
insert into ezrec_marks (id, user_id, camera_id, booking_id, at) values ('m', 'theirs', 'c1', 'b-theirs', now());
insert into ezrec_clips (id, user_id, camera_id, recording_id, mark_id, from_seconds, seconds, storage_path, clip_url)
  values ('k', 'theirs', 'c1', 'r', 'm', 0, 1, 'p', 'u');
insert into shared_links (token_hash, recording_id, user_id, camera_id) values ('{HASH}', 'r', 'theirs', 'c1');
insert into system_status (user_id, camera_id, version) values ('theirs', 'c1', '1');
"""
VIDEO = {"recording_id": "new", "storage_path": "k", "video_url": "u", "duration_seconds": 1, "file_size": 1,
         "filename": "f", "date": "2026-11-20", "uploaded_at": "2026-11-20T19:00Z"}
CLIP = {"id": "new", "recording_id": "x", "from_seconds": 0, "seconds": 1, "storage_path": "p", "clip_url": "u"}
NOTHING = object()  # no row comes back, nothing is changed
CASES: dict[str, list[tuple[dict[str, Any], object]]] = {  # arguments with another court's ids → what comes of it
    "ezrec_version": [({}, [{"ezrec_version": 1}])],
    "ezrec_check": [({}, NOTHING)],
    "ezrec_bookings": [({}, "b-mine")],
    "ezrec_beat": [({"status": {"version": "2", "user_id": THEIRS, "camera_id": "c1"}}, MINE)],
    "ezrec_tell": [({"booking": "b-theirs", "status": "failed"}, NOTHING)],
    "ezrec_booking_put": [({"booking": {"id": "b-theirs", "start_time": "2030-01-01T10:00Z",
                                        "end_time": "2030-01-01T11:00Z"}}, "another court's")],
    "ezrec_booking_cancel": [({"booking": "b-theirs"}, NOTHING)],
    "publish_video": [
        ({"video": VIDEO | {"booking_id": "b-theirs"}}, "another court's"),
        ({"video": VIDEO | {"booking_id": "b-mine", "user_id": THEIRS}}, "this token is for court"),
        ({"video": VIDEO | {"booking_id": "b-mine", "camera_id": "c2"}}, "this token is for court")],
    "ezrec_videos": [({"booking": "b-theirs"}, NOTHING)],
    "ezrec_settings": [({}, "mine.mp4")],
    "ezrec_mark_put": [({"mark": {"id": "n", "booking_id": "b-theirs", "at": "2026-11-20T18:00Z"}}, "another court's")],
    "ezrec_clip_put": [({"clip": CLIP}, "no film x"),
                       ({"clip": CLIP | {"recording_id": "r", "mark_id": "m"}}, "ezrec_clips_of_mark")],
    "ezrec_erase": [({"booking": "b-theirs"}, [{"videos": 0, "links": 0, "clips": 0, "marks": 0}])],
    "ezrec_link_make": [({"token_hash": "b" * 64, "recording": "x"}, "no film x"),
                        ({"token_hash": HASH, "recording": "r"}, NOTHING)],
    "ezrec_link_revoke": [({"token_hash": HASH}, NOTHING)],
}
NO_COURT = {"ezrec_version"}  # asks nobody who he is


@dataclass
class Town:
    """A project with two courts of one name, and a device of the first."""

    postgres: Postgres
    device: str

    def call(self, name: str, arguments: dict[str, Any], role: str = "ezrec_device") -> list[dict[str, Any]]:
        """Call a function as PostgREST would for that role; its rows."""
        given = ", ".join(f"{key} => :'{key}'" for key in arguments)
        values = {key: one if isinstance(one, str) else json.dumps(one) for key, one in arguments.items()}
        claims = json.dumps({"role": role, "sub": self.device})
        printed = self.postgres.run(
            "town", f"begin; set local role {role}; select set_config('request.jwt.claims', :'claims', true) \\gset x\n"
            f"with row as (select * from {name}({given})) select coalesce(json_agg(row), '[]') from row; commit;",
            claims=claims, **values)
        rows: list[dict[str, Any]] = json.loads(printed)
        return rows

    def theirs(self) -> list[Any]:
        """All rows of the other court."""
        return [self.postgres.rows("town", f"select * from {table} where user_id = 'theirs'") for table in TABLES]


@pytest.fixture(scope="module")
def town(postgres: Postgres) -> Town:
    postgres.create("town")
    postgres.run("town", ROLES + GENEROUS + sql() + SETTING_UP)
    (row,) = postgres.rows("town", """select * from ezrec_device_add('{"user_id": "mine", "camera_id": "c1"}')""")
    return Town(postgres, row["id"])


def court_of(name: str, owner: str = MINE) -> dict[str, Any]:
    return {} if name in NO_COURT else {"court": {"user_id": owner, "camera_id": "c1"}}


def test_every_function_that_a_device_may_call_is_tried() -> None:
    assert set(CASES) == DEVICE


@pytest.mark.parametrize("name", CASES)
def test_a_device_reaches_nothing_of_another_court_by_its_ids(town: Town, name: str) -> None:
    before = town.theirs()
    for arguments, outcome in CASES[name]:
        if isinstance(outcome, str) and name not in ("ezrec_bookings", "ezrec_settings", "ezrec_beat"):
            with pytest.raises(AssertionError, match=outcome):
                town.call(name, court_of(name) | arguments)
        elif outcome is NOTHING:
            assert town.call(name, court_of(name) | arguments) == []
        elif isinstance(outcome, list):
            assert town.call(name, court_of(name) | arguments) == outcome
        else:
            assert THEIRS not in str(town.call(name, court_of(name) | arguments))
    assert town.theirs() == before


@pytest.mark.parametrize("name", sorted(set(CASES) - NO_COURT))
def test_a_device_that_says_another_court_is_refused_and_so_is_one_that_is_revoked(town: Town, name: str) -> None:
    arguments, _ = CASES[name][0]
    plain = {key: {inner: one for inner, one in value.items() if inner not in ("user_id", "camera_id")}
             if isinstance(value, dict) else value for key, value in arguments.items()}
    before = town.theirs()
    said = {"video": VIDEO | {"booking_id": "b-theirs", "user_id": THEIRS}} if name == "publish_video" else plain
    with pytest.raises(AssertionError, match="this token is for court c1 of mine"):
        town.call(name, court_of(name, THEIRS) | said)
    town.postgres.run("town", "update ezrec_devices set revoked_at = now()")
    try:
        with pytest.raises(AssertionError, match="was revoked"):
            town.call(name, court_of(name) | plain)
    finally:
        town.postgres.run("town", "update ezrec_devices set revoked_at = null")
    assert town.theirs() == before


@pytest.mark.parametrize("name", sorted(set(CASES) - NO_COURT - {"publish_video"}))
def test_the_secret_key_must_say_which_court_it_means(town: Town, name: str) -> None:
    arguments, _ = CASES[name][0]
    with pytest.raises(AssertionError, match="which court is meant"):
        town.call(name, {"court": {"user_id": MINE}} | arguments, role="service_role")


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_grant_that_somebody_makes_to_players_by_mistake_opens_nothing(town: Town, role: str) -> None:
    town.postgres.run("town", f"grant execute on all functions in schema public to {role}")
    try:
        for name in sorted(set(CASES) - NO_COURT):
            with pytest.raises(AssertionError, match="only devices and the project's secret key"):
                town.call(name, court_of(name) | CASES[name][0][0], role=role)
    finally:
        town.postgres.run("town", f"revoke execute on all functions in schema public from {role}")


def test_a_court_makes_changes_and_cancels_its_own_bookings_keeps_marks_clips_and_links_and_erases(town: Town) -> None:
    court = court_of("")
    booking = {"id": "new", "start_time": "2030-01-01T10:00Z", "end_time": "2030-01-01T11:00Z"}
    for end in ("11:00", "12:00"):
        for _ in range(2):
            town.call("ezrec_booking_put", court | {"booking": booking | {"end_time": f"2030-01-01T{end}Z"}})
    (row,) = town.postgres.rows("town", "select * from bookings where id = 'new'")
    assert (row["user_id"], row["camera_id"], row["status"], row["end_time"]) == (
        MINE, "c1", "scheduled", "2030-01-01T12:00:00+00:00")
    for _ in range(2):
        assert town.call("ezrec_booking_cancel", court | {"booking": "new"}) == [{"word": "cancelled"}]
        town.call("publish_video", {"video": VIDEO | {"booking_id": "new", "user_id": MINE, "camera_id": "c1"}})
        town.call("ezrec_mark_put", court | {"mark": {"id": "m", "booking_id": "new", "at": "2030-01-01T10:30Z"}})
        town.call("ezrec_clip_put", court | {"clip": CLIP | {"recording_id": "new", "mark_id": "m"}})
        assert town.call("ezrec_link_make", court | {"token_hash": "c" * 64, "recording": "new"}) != []
    assert town.postgres.rows("town", "select status from bookings where id = 'new'") == [{"status": "cancelled"}]
    assert len(town.call("ezrec_link_revoke", court | {"token_hash": "c" * 64})) == 1
    assert town.call("ezrec_erase", court | {"booking": "new"}) == [{"videos": 1, "links": 1, "clips": 1, "marks": 1}]
    assert town.call("ezrec_erase", court | {"booking": "new"}) == [{"videos": 0, "links": 0, "clips": 0, "marks": 0}]


def test_a_new_device_takes_a_dead_ones_place_by_one_call(town: Town) -> None:
    court = {"court": {"user_id": "moved", "camera_id": "c9"}}
    (old,) = town.call("ezrec_device_add", court | {"name": "old box"}, role="service_role")
    (new,) = town.call("ezrec_device_add", court | {"name": "new box", "replaces": "true"}, role="service_role")
    rows = {row["id"]: row["revoked_at"] for row in town.call("ezrec_device_list", {"owner": "moved"}, "service_role")}
    assert (rows[old["id"]] is None, rows[new["id"]] is None) == (False, True)
    (gone,) = town.call("ezrec_device_revoke", {"device": new["id"]}, role="service_role")
    assert gone["revoked_at"]
