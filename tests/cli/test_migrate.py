"""`ezrec migrate`: what it takes over from a folder as the predecessor leaves it, and what it leaves alone."""

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ezrec.actions import takeover
from ezrec.cli import app
from ezrec.config import load
from ezrec.domain.errors import BadMedia
from ezrec.domain.events import Rescued
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.store import Store
from tests.fakes.predecessor import SECRETS, Predecessor, machine, video


@pytest.fixture
def old(tmp_path: Path) -> Predecessor:
    return Predecessor(tmp_path / "old")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device with an installed EZREC, and the predecessor's services."""
    for name, value in machine(tmp_path / "machine").items():
        monkeypatch.setenv(name, value)
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    (place / "config.toml").write_text('# the court\n[site]\ntimezone = "UTC"\n[cameras]\nwidth = 640\n')
    (tmp_path / "machine" / "crontab").write_text(
        "# m h dom\n0 2 * * * /usr/bin/python3 "
        f"{tmp_path}/old/backend/cleanup_old_data.py\n0 4 * * * rsync -a {tmp_path}/old/logs nas:logs\n")
    return place


def migrate(old: Predecessor, *words: str, aged: bool = True) -> Result:
    if aged:
        old.aged()
    return CliRunner().invoke(app, ["migrate", str(old.folder), *words])


def done(old: Predecessor, *words: str) -> Result:
    result = migrate(old, "--yes", *words)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result


def films(place: Path) -> dict[str, Film]:
    """The films of a data folder by booking."""
    async def read() -> list[Film]:
        store = await Store.open(place / "data" / "ezrec.db")
        found = await store.films()
        await store.close()
        return found

    return {film.booking_id: film for film in asyncio.run(read())}


def rows(place: Path, what: str, *values: Any) -> Any:
    """What a method of the store answers."""
    async def read() -> Any:
        store = await Store.open(place / "data" / "ezrec.db")
        found = await getattr(store, what)(*values)
        await store.close()
        return found

    return asyncio.run(read())


def test_its_settings_become_ours_and_what_the_owner_has_set_stays(old: Predecessor, here: Path) -> None:
    said = done(old).output
    settings = load(here / "config.toml", env={})
    assert (settings.site.user_id, settings.site.camera_id, settings.site.timezone) == ("u-1", "court-7",
                                                                                       "Europe/Berlin")
    assert (settings.cameras.left.id, settings.cameras.right.id, settings.cameras.fps) == ("88000", "80000", 15)
    assert (settings.cameras.width, settings.cameras.height) == (640, 720)
    assert settings.film.layout == "side_by_side"
    assert "# the court" in (here / "config.toml").read_text()
    assert "cameras.width stays" in " ".join(said.split())
    assert "LIVE_PREVIEW_TOKEN" in said  # nothing of ours corresponds to it
    assert "CAMERA_0_NAME" not in said  # it tells whose a file is


def test_secrets_go_where_only_their_owner_reads_and_are_never_shown(old: Predecessor, here: Path) -> None:
    outputs = [migrate(old, "--dry-run").output, migrate(old, "--dry-run", "--json").output, done(old).output,
               done(old, "--json").output]
    assert not [secret for secret in SECRETS for output in outputs if secret in output]
    assert SECRETS[2] not in (here / "config.toml").read_text()
    assert stat.S_IMODE((here / ".env").stat().st_mode) == 0o600
    assert load(here / "config.toml", env={}).email.password.get_secret_value() == SECRETS[2]


def test_the_plan_changes_nothing(old: Predecessor, here: Path, tmp_path: Path) -> None:
    old.session("b-1")
    old.media()
    old.aged()
    before = old.state(), sorted(here.rglob("*")), (here / "config.toml").read_bytes()
    shown = migrate(old, "--dry-run")
    assert shown.exit_code == 0
    assert "dual_recorder.service" in shown.output
    assert "b-1" in shown.output
    assert (old.state(), sorted(here.rglob("*")), (here / "config.toml").read_bytes()) == before
    assert "disable" not in (tmp_path / "machine" / "calls").read_text()


def test_without_an_answer_nothing_is_done(old: Predecessor, here: Path) -> None:
    refused = migrate(old)
    assert refused.exit_code == 2
    assert "--yes" in refused.output
    assert sorted(path.name for path in here.iterdir()) == ["config.toml"]


def test_its_services_are_stopped_its_crontab_lines_go_and_the_tunnel_stays(
        old: Predecessor, here: Path, tmp_path: Path) -> None:
    crontab = tmp_path / "machine" / "crontab"
    before = crontab.read_text()
    done(old)
    units = {path.name: path.read_text().split() for path in (tmp_path / "machine" / "units").iterdir()}
    assert {name for name, state in units.items() if state == ["active", "enabled"]} == {"cloudflared.service"}
    assert crontab.read_text().splitlines() == [before.splitlines()[0], before.splitlines()[2]]
    (kept,) = here.glob("crontab-*.before-ezrec")
    assert kept.read_text() == before
    assert kept.read_text() == before


def test_what_it_recorded_becomes_films_of_ours_and_its_folder_stays_as_it_was(
        old: Predecessor, here: Path) -> None:
    old.session("b-1", 10)
    old.session("b-2", 11, second_camera=False)
    old.pair(12, "done", "merged", merged=True, booking_id="b-3", user_id="u-1")
    old.pair(13, "error")
    old.pending("b-5")
    old.aged()
    before = old.state()
    done(old)
    assert old.state() == before
    found = films(here)
    stages = {name: film.stage for name, film in found.items()}
    assert stages == {"b-1": Stage.RECORDED, "b-2": Stage.RECORDED, "b-3": Stage.RECORDED,
                      f"{old.day:%Y%m%d}-130000": Stage.RECORDED, "b-5": Stage.RENDERED}
    film = here / "data" / "films" / found["b-5"].recording_id / "film-1.mp4"
    assert film.read_bytes() == (old.folder / "processed" / f"{old.day:%Y-%m-%d}" / "film.mp4").read_bytes()
    (span,) = rows(here, "spans", "b-1")
    segments = rows(here, "segments", span.run, span.start_us, span.end_us)
    assert {camera: sum(one.frames for one in segments if one.camera == camera) for camera in ("left", "right")} == {
        "left": 30, "right": 30}
    assert found["b-1"].starts_at == round(old.day.replace(hour=10).timestamp() * 1e6)
    assert Rescued() in [entry.event for entry in rows(here, "events", "b-1")]
    assert all((here / "data" / one.path).is_file() for one in segments)


def test_a_second_run_takes_nothing_twice(old: Predecessor, here: Path) -> None:
    old.session("b-1", 10)
    old.pending("b-5")
    old.bookings(old.ahead("next"))
    old.media()
    done(old)
    before = films(here), (here / "config.toml").read_bytes(), len(rows(here, "runs")), sorted(
        path for path in (here / "data").rglob("*") if not path.name.startswith("ezrec.db"))
    again = done(old, "--json")
    assert (films(here), (here / "config.toml").read_bytes(), len(rows(here, "runs")), sorted(
        path for path in (here / "data").rglob("*") if not path.name.startswith("ezrec.db"))) == before
    plan = json.loads(again.output)
    assert plan["settings"] == {}
    assert plan["secrets"] == plan["bookings"] == plan["units"] == []
    assert not [one for one in plan["recordings"] if one["taken"]]


def test_what_the_predecessor_has_marked_as_published_is_not_taken(old: Predecessor, here: Path) -> None:
    old.pair(12, "done", "completed")
    assert "its mark .completed" in " ".join(done(old).output.split())
    assert films(here) == {}


@pytest.mark.parametrize("harm", ["empty", "cut", "no film", "a folder"])
def test_one_bad_file_never_stops_the_others(old: Predecessor, here: Path, harm: str) -> None:
    bad = old.session("b-1", 10) / f"camera_0_{old.day.replace(hour=10):%Y%m%d_%H%M%S}.mp4"
    worse = old.pair(12, names=("Goal_Left",))[0]
    old.session("b-3", 14)
    data = bad.read_bytes()
    for path in (bad, worse):
        if harm == "a folder":
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "no film": b"what is this\n" * 999}[harm])
    result = migrate(old, "--yes")
    assert result.exit_code == (0 if harm == "a folder" else 1), result.output
    found = films(here)
    assert set(found) == {"b-1", "b-3"}
    (span,) = rows(here, "spans", "b-1")
    assert {one.camera for one in rows(here, "segments", span.run, span.start_us, span.end_us)} == {"right"}
    if harm != "a folder":
        assert "120000-120100" in result.output
        assert "left out" in " ".join(result.output.split())


def test_a_camera_whose_file_holds_no_picture_after_all_costs_itself_alone(
        old: Predecessor, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old.session("b-1", 10)
    real = takeover.segments_of

    def none_of_the_left(path: Path, *more: Any) -> Any:
        if "camera_0" in path.name:
            raise BadMedia(f"{path}: holds no picture")
        return real(path, *more)

    monkeypatch.setattr(takeover, "segments_of", none_of_the_left)
    done(old)
    (span,) = rows(here, "spans", "b-1")
    assert {one.camera for one in rows(here, "segments", span.run, 0, 1 << 60)} == {"right"}


@pytest.mark.parametrize("step", ["probe", "segments_of"])
def test_what_nobody_foresaw_costs_one_recording_alone(
        old: Predecessor, here: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    old.session("b-1", 10)
    old.session("b-2", 11)
    real = getattr(takeover, step)

    def odd(path: Path, *more: Any) -> Any:
        if "b-1" in str(path):
            raise TypeError("unsupported operand")
        return real(path, *more)

    monkeypatch.setattr(takeover, step, odd)
    result = migrate(old, "--yes")
    assert result.exit_code == 1
    assert "TypeError: unsupported operand" in " ".join(result.output.split())
    assert set(films(here)) == {"b-2"}


@pytest.mark.parametrize("odd", ["pending_uploads.json", "api/local_data/bookings.json", "bookings_cache.json"])
def test_a_file_that_is_no_json_costs_itself_alone(old: Predecessor, here: Path, odd: str) -> None:
    old.session("b-1", 10)
    (old.folder / odd).write_bytes(b"\xff{[")
    done(old)
    assert set(films(here)) == {"b-1"}


@pytest.mark.parametrize(("codec", "bframes"), [("libx264", 3), ("mpeg4", 0)])
def test_pictures_that_cannot_be_copied_are_encoded(old: Predecessor, here: Path, codec: str, bframes: int) -> None:
    folder = old.session("b-1", 10)
    for path in folder.iterdir():
        video(path, 2, codec, bframes)
    done(old)
    (span,) = rows(here, "spans", "b-1")
    segments = rows(here, "segments", span.run, span.start_us, span.end_us)
    assert sum(one.frames for one in segments) == 60
    assert not [one for one in segments if one.dropped or one.gaps]


def test_bookings_that_are_to_come_are_taken_and_those_that_are_over_are_not(old: Predecessor, here: Path) -> None:
    old.bookings(old.ahead("next"), old.ahead("past", -3), {"id": "no times"}, old.ahead("../etc"))
    (old.folder / "backend" / "bookings_cache.json").write_text(json.dumps([old.ahead("cached", 3)]))
    done(old)
    assert [(one.id, one.source) for one in rows(here, "bookings")] == [("next", "cli"), ("cached", "cli")]


def test_a_booking_that_was_called_off_since_is_not_taken_again(old: Predecessor, here: Path) -> None:
    old.bookings(old.ahead("next"))
    done(old)
    assert CliRunner().invoke(app, ["bookings", "cancel", "next"]).exit_code == 0
    done(old)
    assert [one.status for one in rows(here, "bookings")] == ["cancelled"]


def test_logos_and_intro_are_copied_and_shown_where_they_were(old: Predecessor, here: Path) -> None:
    old.media()
    done(old)
    settings = load(here / "config.toml", env={})
    assert settings.film.intro == here / "media" / "intro.mp4"
    assert [(one.name, one.file.name, one.position, one.width) for one in settings.film.logos] == [
        ("main", "main.png", "bottom_right", 0.1), ("user", "user.png", "top_right", 0.1),
        ("sponsor2", "sponsor2.png", "bottom_left", 0.1)]
    assert all(one.file.is_file() for one in settings.film.logos)
    assert CliRunner().invoke(app, ["setup", "--set", "film.crf=20"]).exit_code == 0
    assert load(here / "config.toml", env={}).film.crf == 20


def test_nothing_is_done_while_a_match_is_being_recorded(old: Predecessor, here: Path, tmp_path: Path) -> None:
    old.aged()
    folder = old.session("b-1")
    os.utime(next(iter(folder.iterdir())))
    refused = migrate(old, "--yes", aged=False)
    assert refused.exit_code == 1
    assert "less than a minute ago" in str(refused.exception)
    assert "disable" not in (tmp_path / "machine" / "calls").read_text()


def test_nothing_is_taken_if_its_services_do_not_stop(old: Predecessor, here: Path, tmp_path: Path) -> None:
    old.session("b-1")
    program = tmp_path / "machine" / "bin" / "systemctl"
    program.write_text(program.read_text().replace("disable)", "disable) echo Access denied >&2; exit 4;;\nnever)"))
    failed = migrate(old, "--yes")
    assert failed.exit_code == 1
    assert "Access denied" in str(failed.exception)
    assert not (here / "data").exists()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, here: Path) -> None:
    (tmp_path / "photos").mkdir()
    refused = CliRunner().invoke(app, ["migrate", str(tmp_path / "photos"), "--yes"])
    assert refused.exit_code == 1
    assert "is no folder of EZREC's predecessor" in str(refused.exception)


def test_a_recording_that_was_told_as_missed_becomes_its_film_after_all(old: Predecessor, here: Path) -> None:
    async def miss() -> None:
        (here / "data").mkdir()
        store = await Store.open(here / "data" / "ezrec.db", create=True)
        at = round(old.day.replace(hour=10).timestamp() * 1e6)
        await store.add_film("b-1", "20260101-1000-aa", at, at + 2_000_000)
        await store.step("b-1", Stage.MISSED)
        await store.close()

    asyncio.run(miss())
    old.session("b-1", 10)
    done(old)
    assert films(here)["b-1"].stage is Stage.RECORDED


def test_our_own_releases_in_the_same_folder_are_left_alone(old: Predecessor, here: Path, tmp_path: Path) -> None:
    program = old.folder / "releases" / "1.0" / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.touch()
    (old.folder / "current").symlink_to("releases/1.0")
    crontab = tmp_path / "machine" / "crontab"
    crontab.write_text(f"0 5 * * * {old.folder}/current/venv/bin/python -m ezrec check\n")
    before = crontab.read_text()
    done(old)
    assert program.is_file()
    assert crontab.read_text() == before


class _Killed(BaseException):
    """What a kill is to the code that it meets: nothing after it runs."""


STEPS = ("_write_segments", "_put", "_rows", "_copied", "_put_film")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [*STEPS, "_begun"])
def test_a_kill_at_any_step_costs_nothing_and_doubles_nothing(
        old: Predecessor, here: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
    old.session("b-1", 10)
    old.pending("b-5")
    real = getattr(takeover, step)
    if step == "_begun":
        async def begun(*args: Any) -> Any:
            found = None if when == "before" else await real(*args)
            raise _Killed(found)

        killed: Any = begun
    else:
        def killed(*args: Any) -> Any:
            if when == "after":
                real(*args)
            raise _Killed

    with monkeypatch.context() as context:
        context.setattr(takeover, step, killed)
        with pytest.raises(_Killed):
            migrate(old, "--yes")
    done(old)
    found = films(here)
    assert {name: film.stage for name, film in found.items()} == {"b-1": Stage.RECORDED, "b-5": Stage.RENDERED}
    (span,) = rows(here, "spans", "b-1")
    segments = {here / "data" / one.path for one in rows(here, "segments", span.run, 0, 1 << 60)}
    assert segments == set((here / "data" / "segments").rglob("*.ts"))
    assert (here / "data" / "films" / found["b-5"].recording_id / "film-1.mp4").is_file()
