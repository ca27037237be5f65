"""The commands that ask a Supabase project."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.cli.tables import sql
from tests.fakes.cloud.supabase import Supabase as Project

Said = tuple[int, str, str]
OLD = (Path(__file__).parents[1] / "cloud/old/predecessor.sql").read_text("utf-8")
OWNER = "6f1a2b3c-0000-4000-8000-0123456789ab"


@pytest.fixture
def court(monkeypatch: pytest.MonkeyPatch) -> Callable[[Project], None]:
    """Says in the environment which project it is."""
    def point(project: Project) -> None:
        monkeypatch.setenv("SUPABASE_URL", project.url)
        monkeypatch.setenv("EZREC_SUPABASE__KEY", project.service_key)
        monkeypatch.setenv("EZREC_SITE__USER_ID", OWNER)
    return point


def test_the_fleet_shows_each_court_with_its_state_and_trouble(
        ezrec: Callable[..., Said], new_supabase: Callable[..., Project], court: Callable[[Project], None]) -> None:
    project = new_supabase(sql())
    court(project)
    assert ezrec("fleet") == (0, "no court has reported to this project\n", "")
    project.run("""insert into system_status (user_id, camera_id, heard_at, version, recording, current_booking_id,
        queues, degraded) values
      ('u1', 'busy', now(), '1', true, 'match', '{"films": {"recording": 1, "rendered": 2}, "parked": 0}', '[]'),
      ('u1', 'ready', now() - interval '10 s', '1', false, null, null, '["upload"]'),
      ('u2', 'gone', now() - interval '16 s', '1', false, null, '{"parked": 2, "reason": "no such bucket"}', null)""")
    rows = json.loads(ezrec("fleet", "--json")[1])["courts"]
    assert [(row["camera_id"], row["state"], row["films_waiting"], row["trouble"]) for row in rows] == [
        ("busy", "recording", 3, None), ("ready", "ready", 0, "being started again: upload"),
        ("gone", "offline", 0, "2 films parked: no such bucket")]
    status, out, _ = ezrec("fleet", "--owner", "u2")
    assert status == 0
    assert "offline" in out
    assert "busy" not in out


def test_check_names_what_a_project_would_not_take_with_the_statement_that_puts_it_right_until_it_is(
        ezrec: Callable[..., Said], new_supabase: Callable[..., Project], court: Callable[[Project], None]) -> None:
    project = new_supabase(OLD)
    court(project)
    status, out, _ = ezrec("check", "--cloud")
    assert (status, "lacks EZREC's functions" in out) == (1, True)
    project.change(sql())
    status, out, _ = ezrec("check", "--cloud")
    assert status == 1
    assert "alter table public.videos alter column file_size type bigint;" in out
    for one in json.loads(ezrec("check", "--cloud", "--json")[1])["problems"]:
        if one["about"] != "bookings.status":
            project.run(one["remedy"])
    project.run("alter table bookings drop constraint bookings_status_check")
    assert ezrec("check", "--cloud")[:2] == (
        0, "the project takes all that this court will tell it, and none of its tables is open to strangers\n")


def test_the_projects_secret_key_on_a_device_is_warned_of_and_a_devices_token_is_not(
        ezrec: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://x.example")
    monkeypatch.setenv("EZREC_SUPABASE__KEY", "sb_secret_1")
    found = json.loads(ezrec("check", "--json")[1])["doubts"]
    assert any("supabase.key is the project's secret key" in one for one in found)
    monkeypatch.setenv("EZREC_SUPABASE__DEVICE_TOKEN", "a.b.c")
    assert "secret key" not in ezrec("check", "--json")[1]


def test_without_a_project_the_setting_is_named(ezrec: Callable[..., Said]) -> None:
    for words in (("check", "--cloud"), ("fleet",)):
        status, _, err = ezrec(*words)
        assert (status, "supabase.url is empty" in err) == (2, True)
