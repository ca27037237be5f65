"""The commands as a person or a program uses them: help, words, JSON, exit statuses; beside the recorder and alone."""

import asyncio
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
import pytest
import typer

from ezrec import cli
from ezrec.cli import check
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.events import ChangeRefused, FallbackTaken, Moved
from ezrec.domain.stages import Stage
from ezrec.store import Store
from tests.fakes.clocks import MadeUpClock
from tests.fakes.site import ROOT, Site
from tests.fakes.waiting import wait_until

STARTS = datetime.fromisoformat("2026-11-20T18:00:00+00:00").timestamp()
MINUTE = 60.0
LONG_ID = "2f1c6a9e-8f0b-4d65-9c1e-0a1b2c3d4e5f"
Said = tuple[int, str, str]

CERTIFICATE: dict[str, Any] = {
    "window": ["2026-11-20T18:00:00.000+00:00", "2026-11-20T19:00:00.000+00:00"],
    "film_seconds": 3570.0, "intro_seconds": 8.0, "rate": "30/1", "picture": [3648, 1080], "layout": "wide",
    "cameras": {"left": {"shown_ticks": 107_100, "filled_ticks": 0, "minutes": 59.5, "drops": 1, "repeats": 2,
                         "skips": 1, "corrupt": 0},
                "right": {"shown_ticks": 106_950, "filled_ticks": 150, "minutes": 59.417, "drops": 0, "repeats": 0,
                          "skips": 0, "corrupt": 0}},
    "gaps": [{"camera": "both", "from": "2026-11-20T18:10:00.000+00:00", "to": "2026-11-20T18:10:30.000+00:00",
              "seconds": 30.0, "at_s": 600.0},
             {"camera": "right", "from": "2026-11-20T18:20:00.000+00:00", "to": "2026-11-20T18:20:05.000+00:00",
              "seconds": 5.0, "at_s": 1170.0}],
    "sync": {"ticks_of_both": 106_950, "apart": 107, "within": 0.999, "worst_ms": 21.4},
    "fallbacks": [{"chunk": 7, "rung": "side_by_side"}], "skipped_media": ["logo sponsor: it cannot be read"],
    "runs": 2, "generation": 2, "notes": [],
}


STORY = """\
2026-11-20 18:50:00  Booked: 2026-11-20 19:00 to 20:00.
2026-11-20 18:55:00  The booking was changed: it now is 2026-11-20 19:00 to 20:00.
2026-11-20 19:00:06  Recording began: the first piece of footage is on the disk.
2026-11-20 19:00:06  The film was begun again (generation 2): the window was moved or cut back.
2026-11-20 19:00:06  Piece 7 could not be made as asked (out of memory); it was tried side by side, without cross-fade \
and logos.
2026-11-20 20:00:06  The window is over and all its footage is on the disk.
2026-11-20 20:00:06  The film is finished and valid.
2026-11-20 20:00:06  Given up for now while storing the film: the library is read-only.
It is parked while storing the film: the library is read-only. `ezrec films retry parked` sends it on its way again.
The film holds 59 min 30 s of the match behind 8 s of intro, 3648x1080 pixels.
Camera left shows 59 min 30 s; 1 frame dropped, 2 shown twice, 1 left out.
Camera right shows 59 min 25 s; no frame dropped.
From 19:10:00 to 19:10:30 (30 s) neither camera saw the court: that time is missing.
From 19:20:00 to 19:20:05 (5 s) camera right did not see the court: its half is filled.
The two halves belong together in 99.90% of the pictures; at worst they are 21 ms apart.
Piece 7 was made side by side, without cross-fade and logos.
Left out: logo sponsor: it cannot be read.
"""


async def furnish(data: Path) -> None:
    """A store as a recorder leaves it: a film that is parked, one that is done, one cancelled, a booking to come."""
    clock = MadeUpClock(0, STARTS - 10 * MINUTE)

    def later(minutes: float) -> None:
        clock.forward(round(minutes * MINUTE * SECOND))

    store = await Store.open(data / "ezrec.db", clock=clock, create=True)
    try:
        starts, ends = round(STARTS * SECOND), round((STARTS + 60 * MINUTE) * SECOND)
        for booking_id in ("parked", "done", "cancelled", LONG_ID):
            await store.put_booking(Booking(booking_id, "cli", starts, ends, "scheduled"))
            await store.add_film(booking_id, f"20261120-1900-{booking_id}", starts, ends)
        late = round((time.time() + 3600) * SECOND)
        await store.put_booking(Booking("to-come", "cli", late, late + 3600 * SECOND, "scheduled"))
        await store.put_booking(Booking("foreign", "file", late, late + 3600 * SECOND, "scheduled"))
        later(5)
        await store.update_film("parked", Moved(starts, ends), starts_at=starts, ends_at=ends)
        later(5.1)
        await store.step("parked", Stage.RECORDING)
        await store.step("cancelled", Stage.CANCELLED)
        await store.next_generation("parked", "the window was moved or cut back")
        await store.record("parked", FallbackTaken(7, "side_by_side", "out of memory"))
        later(60)
        await store.step("parked", Stage.RECORDED)
        await store.step("parked", Stage.RENDERED, certificate=json.dumps(CERTIFICATE), bytes=2_345_678_901)
        await store.park("parked", "upload", "the library is read-only")
        for stage in (Stage.RECORDING, Stage.RECORDED, Stage.RENDERED, Stage.UPLOADED, Stage.PUBLISHED, Stage.CLEANED):
            await store.step("done", stage)
        await store.record_once("done", ChangeRefused(starts, ends + 60 * SECOND, cancelled=False))
    finally:
        await store.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings and a furnished store; no other settings are found from there."""
    (tmp_path / "data").mkdir()
    asyncio.run(furnish(tmp_path / "data"))
    (tmp_path / "config.toml").write_text('[site]\ntimezone = "Europe/Berlin"\n[paths]\ndata = "data"\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    return tmp_path


@pytest.fixture
def ezrec(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process: exit status, stdout, stderr."""
    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ezrec", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


def commands() -> Iterator[tuple[list[str], click.Command]]:
    """Every command with the words that call it."""
    waiting: list[tuple[list[str], Any]] = [([], typer.main.get_command(cli.app))]
    while waiting:
        words, command = waiting.pop()
        yield words, command
        waiting += [([*words, name], inner) for name, inner in getattr(command, "commands", {}).items()]


def test_every_command_and_every_option_says_what_it_is_for(place: Path, ezrec: Callable[..., Said]) -> None:
    seen = []
    for words, command in commands():
        status, out, _ = ezrec(*words, "--help")
        assert status == 0
        seen.append(" ".join(words))
        assert command.help, words
        assert " ".join(command.help.split()[:4]).replace("`", "") in " ".join(out.split())
        for param in command.params:
            assert param.name in ("install_completion", "show_completion", "help") or getattr(param, "help", ""), (
                words, param.name)
    assert sorted(seen) == [
        "", "alerts", "alerts list", "alerts test", "bookings", "bookings add", "bookings cancel",
        "bookings import", "bookings list", "calibrate", "check", "cleanup", "demo", "device", "device add",
        "device list", "device revoke", "films",
        "films explain", "films list", "films rescue", "films retry", "films show", "fleet", "footage",
        "install", "migrate", "run", "setup", "status", "tables", "uninstall"]
    assert "bookings add --in 30s --for 2m" in ezrec("bookings", "add", "--help")[1]
    assert ezrec("--version") == (0, f"ezrec {cli.__version__}\n", "")


@pytest.mark.parametrize(("words", "status", "remedy"), [
    ("films show nobody", 1, "`ezrec films list` shows what there is"),
    ("films explain nobody", 1, "`ezrec films list` shows what there is"),
    ("films retry nobody", 1, "`ezrec films list` shows what there is"),
    ("films rescue nobody", 1, "say from when to when (--start, --end)"),
    ("films rescue done --start 2020-01-01T10:00Z --end 2020-01-01T11:00Z", 1, "there is a film of 'done' already"),
    ("films rescue x --start 2020-01-01T10:00Z --end 2020-01-01T11:00Z", 1, "`ezrec footage` shows what there is"),
    ("films rescue x --start 2020-01-01T10:00Z", 2, "say both"),
    ("films retry done", 1, "there is nothing to retry"),
    ("films retry cancelled", 1, "nothing was recorded"),
    ("bookings cancel nobody", 1, "`ezrec bookings list` shows what there is"),
    ("bookings cancel foreign", 1, "cancel it there"),
    ("bookings cancel done", 1, "too late to cancel"),
    ("bookings add --in soon --for 1h", 2, "write 90s, 5m, 1h or 1h30m"),
    ("bookings add --in 1m --for 1.5h", 2, "write 90s, 5m, 1h or 1h30m"),
    ("bookings add --in 1m", 2, "when it ends (--end or --for)"),
    ("bookings add --start noon --for 1h", 2, 'write "18:00"'),
    ("bookings add --start 25:00 --for 1h", 2, "between 00:00 and 24:00"),
    ("bookings add --start 2020-01-01T10:00 --for 1h", 1, "say a later time"),
    ("bookings add --in 1m --for 0s", 1, "it should be"),
    ("bookings add --in 1m --for 7h", 1, "6 h at most"),
    ("bookings add --in 1m --for 1h --id ../x", 1, "an id may hold letters"),
    ("bookings add --in 1m --for 1h --id done@20261120T180000Z", 1, "an id may hold letters"),
    ("bookings add --in 1m --for 1h --id foreign", 1, "choose another one"),
    ("bookings import nowhere.json", 1, "No such file"),
    ("bookings import config.toml", 1, "is not JSON"),
    ("--data nowhere films list", 1, "start `ezrec run` once"),
    ("--config nowhere.toml films list", 2, "nowhere.toml"),
    ("demo --left config.toml", 2, "--left and --right go together"),
    ("films", 2, "explain"),
    ("film list", 2, "No such command"),
])
def test_a_command_that_does_not_work_says_why_and_what_would(place: Path, ezrec: Callable[..., Said], words: str,
                                                              status: int, remedy: str) -> None:
    before = (place / "data" / "ezrec.db").read_bytes()
    got, out, err = ezrec(*words.split())
    assert got == status, (out, err)
    assert remedy in (err if words != "films" else out + err)
    assert "Traceback" not in err
    assert (place / "data" / "ezrec.db").read_bytes() == before
    assert not (place / "nowhere").exists()


def test_settings_that_are_not_usable_are_named_with_their_remedy(place: Path, ezrec: Callable[..., Said]) -> None:
    (place / "config.toml").write_text("[film]\ncrff = 3\n", "utf-8")
    status, _, err = ezrec("films", "list")
    assert status == 2
    assert "film.crff" in err
    assert "did you mean" in err


def times(value: object, key: str = "") -> Iterator[str]:
    """Everything in an answer that ought to be an instant."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from times(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from times(inner, key)
    elif value is not None and (key.endswith("_at") or key in ("at", "window")):
        yield str(value)
    else:
        assert not isinstance(value, int) or value < 10**13, f"{key} is a bare instant"


@pytest.mark.parametrize("words", [
    "bookings list", "bookings list --all", "bookings add --in 1m --for 1h", "bookings import rows.json", "films list",
    "films show parked", "films show done", "films explain parked", "films explain done"])
def test_json_is_valid_and_its_times_are_iso(place: Path, ezrec: Callable[..., Said], words: str) -> None:
    starts = datetime.fromtimestamp(time.time() + 600, UTC)
    rows = [{"id": 7, "start_time": starts.isoformat(), "end_time": starts.replace(year=starts.year + 1).isoformat()},
            {"id": "ok", "date": "2031-05-01", "start_time": "23:00", "end_time": "00:30", "sport": "Padel"}]
    (place / "rows.json").write_text(json.dumps(rows), "utf-8")
    status, out, _ = ezrec(*words.split(), "--json")
    assert status == ("import" in words)  # one of the two rows is refused
    answer = json.loads(out)
    assert answer
    found = list(times(answer))
    assert found
    assert {datetime.fromisoformat(one).tzinfo for one in found} == {UTC}
    if "import" in words:
        assert [one["starts_at"] for one in answer["imported"]] == ["2031-05-01T21:00:00.000+00:00"]  # court time
        assert "at most" in answer["refused"][0]


def test_a_film_s_story_is_told_in_plain_sentences(place: Path, ezrec: Callable[..., Said]) -> None:
    status, out, _ = ezrec("films", "explain", "parked")
    assert status == 0
    assert out == STORY
    assert ezrec("films", "explain", "cancelled")[1].splitlines()[-1].endswith(
        "The booking was cancelled; what was recorded stays for a while, unpublished.")
    assert ezrec("films", "explain", "done")[1].splitlines()[-1].endswith(
        "The booking was changed to 2026-11-20 19:00 to 20:01 after its window: the film stays as it is.")

def test_a_parked_film_is_shown_as_parked_until_it_is_retried(place: Path, ezrec: Callable[..., Said]) -> None:
    assert "parked: the library is read-only" in ezrec("films", "list")[1]
    assert "`ezrec films retry parked`" in ezrec("films", "show", "parked")[1]
    assert ezrec("films", "retry", "parked") == (
        0, "on its way again: parked, 2026-11-20 19:00 to 20:00\n", "")
    assert "parked:" not in ezrec("films", "list")[1]
    assert ezrec("films", "explain", "parked")[1].count("Somebody sent it on its way again.") == 1
    assert ezrec("films", "retry", "parked")[0] == 1


def test_an_id_that_is_used_again_is_shown_plain_with_its_times_and_found_by_its_full_id(
        place: Path, ezrec: Callable[..., Said]) -> None:
    def answer(*words: str) -> Any:
        status, out, err = ezrec(*words, "--json")
        assert status == 0, err
        return json.loads(out)

    first = "done@20261120T180000Z"
    made = answer("bookings", "add", "--start", "2031-05-01 18:00", "--for", "1h", "--id", "done")
    assert (made["id"], made["shown_id"], made["full_id"]) == ("done@20310501T160000Z", "done", "done@20310501T160000Z")
    assert ezrec("bookings", "add", "--start", "2031-05-08 18:00", "--for", "1h", "--id", "done")[1] == (
        "booked: done, 2031-05-08 18:00 to 19:00, 60 min\n")  # has not begun: moved
    listed = [one for one in answer("bookings", "list", "--all") if one["shown_id"] == "done"]
    assert [(one["id"], one["full_id"], one["film"]) for one in listed] == [
        ("done", first, "cleaned"), (made["id"], made["id"], "-")]
    shown = ezrec("bookings", "list", "--all")[1]
    assert len(re.findall(r"^done  ", shown, re.MULTILINE)) == 2
    assert "@" not in shown + ezrec("films", "list")[1]
    for words in ("done", first, "done@20261120T183000Z"):
        assert answer("films", "show", words)["full_id"] == first
    assert "too late to cancel" in ezrec("bookings", "cancel", first)[2]
    assert ezrec("bookings", "cancel", "done") == (0, "cancelled: done, 2031-05-08 18:00 to 19:00\n", "")

    asyncio.run(film_again(place / "data"))
    assert answer("films", "show", "done")["full_id"] == "done@20261127T180000Z"
    assert ezrec("films", "show", "done")[1].startswith(
        "booking  done\nfull id  done@20261127T180000Z; 1 other film of this id\nwindow   2026-11-27 19:00 to 20:00")
    assert answer("films", "show", first)["booking_id"] == "done"
    assert "(Europe/Berlin)" in ezrec("films", "list")[1].splitlines()[0]
    assert len(re.findall(r"^done  ", ezrec("films", "list")[1], re.MULTILINE)) == 2
    assert "published: its database row is written" in ezrec("films", "explain", first)[1]
    assert "published: its database row is written" not in ezrec("films", "explain", "done")[1]


async def film_again(data: Path) -> None:
    """A film of `done` a week later."""
    store = await Store.open(data / "ezrec.db")
    starts = round((STARTS + 7 * 86_400) * SECOND)
    await store.add_film("done@20261127T180000Z", "20261127-1900-again", starts, starts + 3600 * SECOND)
    await store.close()


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_id_is_cut(place: Path, ezrec: Callable[..., Said], width: int,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("NO_COLOR", "1")
    for words in ("bookings list --all", "films list", "films show parked", "films explain parked"):
        _, out, _ = ezrec(*words.split())
        assert max(map(len, click.unstyle(out).splitlines())) <= width, words
        assert "parked" in out
        assert "…" not in out


def test_commands_work_beside_the_recorder_and_without_it(tmp_path: Path) -> None:
    site = Site(tmp_path, recorder={"segment_s": 0.5}, film={"chunk_s": 0.5})
    site.command("bookings", "add", "--in", "1h", "--for", "1h", "--id", "other")  # makes the store
    site.start()
    try:
        site.wait_said("ready")
        site.command("bookings", "add", "--in", "2s", "--for", "1h", "--id", "match")
        site.wait_said("booking started", booking="match")
        assert "recording" in site.command("films", "list")
        refused = site.command("check", "--cameras", status=1)
        assert site.process
        assert f"another recorder (process {site.process.pid})" in refused
        assert re.search(r"It says: camera left is \w+, camera right is \w+", refused)
        assert json.loads(site.command("films", "show", "match", "--json"))["stage"] == "recording"
        site.command("bookings", "cancel", "other")
        site.wait_stage("other", "cancelled")
        starts = json.loads(site.command("films", "show", "match", "--json"))["starts_at"]
        ends = datetime.fromtimestamp(time.time() + 2, UTC).isoformat()
        rows = [{"id": "match", "start_time": starts, "end_time": ends}]
        (tmp_path / "rows.json").write_text(json.dumps(rows), "utf-8")
        assert "imported: 1, refused: 0" in site.command("bookings", "import", "rows.json")
        site.wait_stage("match", "cleaned")
        beside = site.command("films", "explain", "match")
        assert "The film is published" in beside
        assert site.stop() == 0
        assert site.command("films", "explain", "match") == beside
        listed = json.loads(site.command("bookings", "list", "--json"))
        assert [one["film"] for one in listed] == ["cleaned", "cancelled"]
    finally:
        site.end()


DEMO = """
[cameras]
fps = 15
width = 192
height = 108
keyframe_s = 0.5
[film]
chunk_s = 1.0
preset = "ultrafast"
keep_segments_h = 24
[bookings]
file = "bookings.json"
pre_roll_s = 30
[paths]
library = "library"
"""


def demo(folder: Path, *words: str) -> str:
    """Run `ezrec demo` in `folder`, with a venue's settings that a demo must leave alone; what it printed."""
    (folder / "config.toml").write_text(DEMO, "utf-8")
    soon = [{"id": "real", "start_time": datetime.fromtimestamp(time.time(), UTC).isoformat(),
             "end_time": datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()}]
    (folder / "bookings.json").write_text(json.dumps(soon), "utf-8")
    done = subprocess.run([sys.executable, "-m", "ezrec", "demo", *words], text=True, capture_output=True, cwd=folder,
                          timeout=120, check=False, env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / "library").exists()
    return done.stdout


def test_the_demo_shows_path_certificate_and_delay_and_leaves_the_venue_alone(tmp_path: Path) -> None:
    said = demo(tmp_path, "--seconds", "3")
    assert "failed" not in said
    assert re.search(r"The film holds [0-9.]+ s of the match behind 2 s of intro, 364x108 pixels", said)
    assert "and the certificate says" in said
    story, path, delay = said.rstrip().splitlines()[-3:]
    asked = subprocess.run(shlex.split(story.partition(": ")[2]), text=True, capture_output=True, cwd=tmp_path,
                           timeout=60, check=True)
    assert f"The film: {path}\n" in asked.stdout
    assert Path(path).is_relative_to(tmp_path / "ezrec-demo" / "library")
    assert delay.startswith("available ")
    assert delay.endswith(" s after the window's end")
    with av.open(path) as film:
        assert 2 * 15 < film.streams.video[0].frames <= 5 * 15 + 1
    with sqlite3.connect(tmp_path / "ezrec-demo" / "ezrec.db") as db:
        assert db.execute("SELECT count(*) FROM booking").fetchone() == (1,)  # the venue's booking is none of its
    db.close()


def test_a_demo_that_is_stopped_says_so_and_calls_nothing_failed(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(DEMO, "utf-8")
    process = subprocess.Popen([sys.executable, "-m", "ezrec", "demo", "--seconds", "30"], text=True, cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: list((tmp_path / "ezrec-demo" / "segments").glob("*/*/*.ts")), 60, "footage")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "failed" not in out
    assert err == "stopped before the film was done; `ezrec demo` begins a new one\n"


def test_the_demo_plays_two_files_as_its_cameras(tmp_path: Path) -> None:
    for name, luma in (("left", 60), ("right", 180)):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(15))
            stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
            for _ in range(20):
                grey = av.VideoFrame.from_ndarray(np.full((72, 128, 3), luma, np.uint8))
                container.mux(stream.encode(grey))
            container.mux(stream.encode(None))
    said = demo(tmp_path, "--seconds", "2", "--left", "left.mp4", "--right", "right.mp4")
    assert "from left.mp4 and right.mp4" in said
    assert re.search(r"The film holds [0-9.]+ s of the match", said)
    with av.open(said.rstrip().splitlines()[-2]) as film:
        pictures = [frame.to_ndarray(format="gray") for frame in film.decode(video=0)]
    assert {picture.shape for picture in pictures} == {(72, 256)}
    # Not in every one: on a machine that is too busy a half may be filled for a moment.
    assert any(abs(int(one[40, 64]) - 60) < 8 and abs(int(one[40, 192]) - 180) < 8 for one in pictures)


def test_check_says_who_holds_the_cameras_and_that_the_processor_is_held_back(
        capsys: pytest.CaptureFixture[str]) -> None:
    held = {"words": "process 812 (motion) holds /dev/video0: sudo systemctl disable --now motion.service"}
    check.tell({"machine": {"temperature_c": 81.2, "throttled": "throttled now", "disk_free_mb": 900},
                "holders": [held], "cameras": {"left": check.UNKNOWN | {"problems": ["no frame came"]}}})
    said = capsys.readouterr().out
    assert "81 °C; 900 MiB free; THE PROCESSOR IS HELD BACK: throttled now" in said
    assert f"held by   {held['words']}" in said
    assert "left      NOT OK: no frame came\n" in said
