"""What commands say: of times and zones, of refused rows, of files that Notepad saved, of films that are done."""

import asyncio
import codecs
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ezrec.cli.framework import in_front
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from ezrec.store import Store

Ezrec = Callable[..., tuple[int, str, str]]

BERLIN = '[site]\ntimezone = "Europe/Berlin"\nname = "Büro №5"\n'
SAVED_AS = {
    "utf-8": lambda text: text.encode(), "utf-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16 big endian": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "windows": lambda text: text.replace("№", "").encode("cp1252")}
ODD = "\x1b[2J\u202e [/x][bold]"


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that lives in another zone than UTC."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def finish(data: Path, booking: Booking, url: str) -> None:
    """Bring a booking's film to its end."""
    data.mkdir()
    store = await Store.open(data / "ezrec.db", create=True)
    await store.put_booking(booking)
    await store.add_film(booking.id, "20261120-1800-1", booking.starts_at, booking.ends_at)
    for stage in (Stage.RECORDING, Stage.RECORDED, Stage.RENDERED):
        await store.step(booking.id, stage)
    await store.step(booking.id, Stage.UPLOADED, url=url)
    await store.step(booking.id, Stage.PUBLISHED)
    await store.step(booking.id, Stage.CLEANED)
    await store.close()


# ---- the command line


@pytest.mark.parametrize(("words", "moved"), [
    ("films list --data x", "--data x films list"), ("films -c y list --data=x", "-c y --data=x films list"),
    ("demo --seconds 2 --data x", "--data x demo --seconds 2"), ("films list", "films list"),
    ("films show -- --data x", "films show -- --data x"), ("films list --data", "--data films list")])
def test_options_of_the_program_stand_anywhere(words: str, moved: str) -> None:
    assert in_front(words.split()) == moved.split()


def test_settings_and_data_folder_may_be_given_behind_the_command(here: Path, ezrec: Ezrec) -> None:
    (here / "other.toml").write_text(BERLIN, "utf-8")
    assert ezrec("bookings", "add", "--in", "1h", "--for", "1h", "--id", "b", "--data", "elsewhere")[0] == 0
    assert (here / "elsewhere" / "ezrec.db").exists()
    assert not (here / "data").exists()
    assert "Europe/Berlin" in ezrec("bookings", "list", "--data", "elsewhere", "--config", "other.toml")[1]
    assert ezrec("bookings", "--data", "elsewhere", "list")[1].startswith("booking ")


def test_a_flag_s_help_names_no_type(ezrec: Ezrec) -> None:
    for words in ([], ["bookings", "add"], ["films"], ["check"]):
        assert "bool" not in ezrec(*words, "--help")[1]


def test_check_without_cameras_looks_at_everything_else(here: Path, ezrec: Ezrec) -> None:
    (here / "config.toml").write_text("[disk]\nmin_free_mb = 0\n", "utf-8")
    status, out, err = ezrec("check")
    assert (status, err) == (0, "")
    assert "made-up court" in out
    assert "does not run on this data folder" in out
    assert "`ezrec check --cameras`" in out
    assert not (here / "data").exists()
    (here / "config.toml").write_text("[disk]\nmin_free_mb = 1000000\n", "utf-8")
    status, out, _ = ezrec("check", "--json")
    assert status == 1
    assert "disk.min_free_mb" in json.loads(out)["problems"][0]


def test_what_nobody_foresaw_is_a_sentence_with_its_place_and_without_a_key(
        ezrec: Ezrec, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("\x1b[31m AKIAABCDEFGHIJKLMNOP")

    monkeypatch.setattr("ezrec.cli.check.look_around", fail)
    status, out, err = ezrec("check")
    assert (status, out) == (1, "")
    assert re.fullmatch(r"ezrec: this is a mistake in EZREC .*: KeyError: .*, at line \d+ of check.py\n", err)
    assert "AKIA" not in err
    assert err.rstrip("\n").isprintable()


# ---- times


@pytest.mark.parametrize(("start", "shown", "note"), [
    ("2027-03-28 01:30", "2027-03-28 01:30 CET to 04:30 CEST", ""),
    ("2027-03-28 02:30", "2027-03-28 01:30 CET to 04:30 CEST", "does not exist"),
    ("2027-10-31 01:30", "2027-10-31 01:30 CEST to 02:30 CET", ""),
    ("2027-10-31 02:30", "2027-10-31 02:30 CEST to 03:30 CET", "comes twice"),
    ("2027-07-01 18:00", "2027-07-01 18:00 to 20:00", "")])
def test_two_hours_are_two_hours_in_every_night(here: Path, ezrec: Ezrec, start: str, shown: str, note: str) -> None:
    (here / "config.toml").write_text(BERLIN, "utf-8")
    status, out, err = ezrec("bookings", "add", "--start", start, "--for", "2h", "--id", "x")
    assert (status, out) == (0, f"booked: x, {shown}, 120 min\n")
    assert note in err
    assert bool(note) == bool(err)


@pytest.mark.parametrize("option", ["--for", "--in", "--start", "--end"])
@pytest.mark.parametrize("value", ["1e400h", "-0", "99999999999999h", "9" * 5000 + "s", "99999-01-01 10:00", "", "٣h",
                                   "nan", "1h30", "\x1b[31m"])
def test_an_absurd_time_gets_a_sentence(here: Path, ezrec: Ezrec, option: str, value: str) -> None:
    others = {"--for": ["--in", "1m"], "--in": ["--for", "1m"], "--start": ["--for", "1m"], "--end": ["--in", "1m"]}
    status, out, err = ezrec("bookings", "add", *others[option], f"{option}={value}")
    assert (status, out) == (2, "")
    assert "Invalid value" in err
    assert "\x1b" not in err
    assert not (here / "data").exists()


def test_a_zone_that_nobody_chose_is_named_and_doubted_on_a_machine_in_another_one(
        here: Path, ezrec: Ezrec, new_york: None) -> None:
    _, out, err = ezrec("bookings", "add", "--start", "2031-05-01 18:00", "--for", "1h", "--id", "x")
    assert out == "booked: x, 2031-05-01 18:00 to 19:00 (UTC), 60 min\n"
    assert "site.timezone is not set" in err
    assert "America/New_York" in err
    assert "(UTC)" in ezrec("bookings", "cancel", "x")[1]
    (here / "config.toml").write_text('[site]\ntimezone = "UTC"\n', "utf-8")
    _, out, err = ezrec("bookings", "add", "--start", "2031-05-01 18:00", "--for", "1h", "--id", "x")
    assert (out, err) == ("booked: x, 2031-05-01 18:00 to 19:00, 60 min\n", "")


# ---- rows


@pytest.mark.parametrize("saved", SAVED_AS)
def test_whatever_notepad_saved_is_read(here: Path, ezrec: Ezrec, saved: str) -> None:
    write = SAVED_AS[saved]
    rows = [{"id": "ok", "date": "2031-05-01", "start_time": "18:00", "end_time": "19:00", "by": "Müller"},
            {"id": "büro-1", "date": "2031-05-01", "start_time": "18:00", "end_time": "19:00"}]
    (here / "config.toml").write_bytes(write(BERLIN + '[bookings]\nfile = "rows.json"\n'))
    (here / ".env").write_bytes(write("EZREC_SITE__CAMERA_ID=court-7\r\n# für später\r\n"))
    (here / "rows.json").write_bytes(write(json.dumps(rows, ensure_ascii=False)))
    status, out, err = ezrec("bookings", "import", "rows.json", "--json")
    assert status == 1, err
    assert [one["starts_at"] for one in json.loads(out)["imported"]] == ["2031-05-01T16:00:00.000+00:00"]
    assert "b\\xfcro-1" in json.loads(out)["refused"][0]
    assert "b\\xfcro-1" in ezrec("bookings", "list")[1].splitlines()[-1]


def test_rows_that_are_over_or_fall_into_a_night_of_changing_clocks_are_said(here: Path, ezrec: Ezrec) -> None:
    (here / "config.toml").write_text(BERLIN, "utf-8")
    rows = [{"id": f"old-{at}", "date": f"2020-05-0{at}", "start_time": "18:00", "end_time": "19:00"} for at in (1, 2)]
    rows.append({"id": "night", "date": "2031-10-26", "start_time": "02:30", "end_time": "04:00"})
    (here / "rows.json").write_text(json.dumps(rows), "utf-8")
    status, out, err = ezrec("bookings", "import", "rows.json")
    assert (status, out) == (0, "imported: 3, refused: 0, 2 are over, nothing is recorded\n")
    assert "'night': 2031-10-26 02:30 comes twice" in err
    assert json.loads(ezrec("bookings", "import", "rows.json", "--json")[1])["over"] == ["old-1", "old-2"]


def test_refused_rows_are_listed_with_their_reason_as_the_file_or_the_recorder_has_them(
        here: Path, ezrec: Ezrec) -> None:
    (here / "config.toml").write_text(BERLIN + '[bookings]\nfile = "rows.json"\n', "utf-8")
    (here / "rows.json").write_text(json.dumps([{"id": "cup", "date": "2031-05-01", "start_time": "10:00",
                                                 "end_time": "18:00"}]), "utf-8")
    ezrec("bookings", "add", "--in", "1h", "--for", "1h")
    last = ezrec("bookings", "list")[1].splitlines()[-1]
    assert last.startswith("refused (file): booking 'cup': ")
    assert "6 h at most" in last
    (here / "rows.json").unlink()
    assert "there is no bookings file" in ezrec("bookings", "list")[1]
    state = {"pid": os.getpid(), "queues": {"refused_bookings": [{"source": "supabase", "reason": f"bad {ODD}"}]}}
    (here / "data" / "state.json").write_text(json.dumps(state), "utf-8")
    assert ezrec("bookings", "list")[1].splitlines()[-1] == r"refused (supabase): bad \x1b[2J\u202e [/x][bold]"
    _, out, err = ezrec("bookings", "list", "--json")
    assert len(json.loads(out)) == 1
    assert "refused (supabase)" in err


# ---- films


def test_text_from_a_row_is_text(here: Path, ezrec: Ezrec) -> None:
    booking = Booking("match", "cli", 1_000_000 * SECOND, 1_003_600 * SECOND, ODD)
    asyncio.run(finish(here / "data", replace(booking, source=ODD), f"file:///films/{ODD}.mp4"))
    shown = r"\x1b[2J\u202e [/x][bold]"
    for words in ("bookings list --all", "films list", "films show match", "films explain match"):
        status, out, err = ezrec(*words.split())
        assert status == 0, err
        assert shown in out
        assert out.replace("\n", "").isprintable()
        json.loads(ezrec(*words.split(), "--json")[1])


def test_a_film_that_is_done_says_so_and_where_it_is(here: Path, ezrec: Ezrec) -> None:
    now = time.time_ns() // 1000
    booking = Booking("match", "cli", now - 7200 * SECOND, now - 3600 * SECOND, "scheduled")
    asyncio.run(finish(here / "data", booking, "file:///films/a%20b.mp4"))
    assert re.search(r"^match .* done +done +cli$", ezrec("bookings", "list")[1], re.MULTILINE)
    assert re.search(r"^match .* done .* /films/a b.mp4$", ezrec("films", "list")[1], re.MULTILINE)
    assert "where    /films/a b.mp4\n" in ezrec("films", "show", "match")[1]
    assert ezrec("films", "explain", "match")[1].endswith("are deleted.\nThe film: /films/a b.mp4\n")
    assert json.loads(ezrec("films", "list", "--json")[1])[0]["stage"] == "cleaned"
    listed = json.loads(ezrec("bookings", "list", "--json")[1])[0]
    assert (listed["status"], listed["film"], listed["url"]) == ("scheduled", "cleaned", "file:///films/a%20b.mp4")
