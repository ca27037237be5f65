"""The log: its form, that it hides secrets, and that nothing it meets can stop the program."""

import json
import logging
import os
import pty
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog

from ezrec import logs

SECRET = "pa/ss wörd\"1"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZSJ9.c2lnbmF0dXJl"


class Holder:
    def __init__(self, *values: str) -> None:
        self.values = list(values)

    def secret_values(self) -> list[str]:
        return self.values


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging as it was before, afterwards."""
    level = logging.getLogger().level
    monkeypatch.setattr(logs, "_secrets", logs._Secrets())
    yield
    logs.shut_down()
    logging.getLogger().setLevel(level)
    logging.getLogger(logs.ROOT).setLevel(logging.NOTSET)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "out").open("w") as stream:
        yield stream


def lines(stream: TextIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(stream.name).read_text().splitlines()]


def file_lines(folder: Path) -> list[dict[str, Any]]:
    logs.shut_down()
    return [json.loads(line) for line in (folder / logs.FILE_NAME).read_text().splitlines()]


def test_a_line_is_json_with_time_level_task_and_event(out: TextIO) -> None:
    logs.set_up("info", None, stream=out)
    logs.get("film").info("chunk rendered", **{logs.BOOKING: "b1", logs.CHUNK: 3})
    (line,) = lines(out)
    at = line.pop("at")
    assert at.endswith("Z")
    assert len(at) == len("2026-01-01T00:00:00.000000Z")
    assert datetime.fromisoformat(at).utcoffset() == timedelta(0)
    assert line == {"level": "info", "task": "film", "event": "chunk rendered", "booking": "b1", "chunk": 3}


def test_a_line_is_there_before_the_call_returns(out: TextIO) -> None:
    logs.set_up("info", None, stream=out)
    log = logs.get("film")
    for number in range(3):
        log.info("step", number=number)
        assert len(lines(out)) == number + 1


def test_each_line_is_one_write(monkeypatch: pytest.MonkeyPatch, out: TextIO) -> None:
    logs.set_up("info", None, stream=out)
    writes: list[bytes] = []
    monkeypatch.setattr(logs.os, "write", lambda _fd, data: writes.append(bytes(data)) or len(data))
    logs.get("film").info("one")
    logs.get("film").info("two")
    assert [json.loads(data)["event"] for data in writes] == ["one", "two"]
    assert all(data.endswith(b"}\n") for data in writes)


def test_a_logger_made_before_set_up_works_after_it(out: TextIO) -> None:
    log = logs.get("recording")
    logs.set_up("info", None, stream=out)
    log.info("ready")
    assert lines(out)[0]["event"] == "ready"


def test_less_than_the_level_is_not_logged(out: TextIO) -> None:
    logs.set_up("warning", None, stream=out)
    logs.get("film").info("small")
    logging.getLogger("other").info("small")
    logs.get("film").warning("large")
    assert [line["event"] for line in lines(out)] == ["large"]


def test_debug_is_ours_only(out: TextIO) -> None:
    logs.set_up("debug", None, stream=out)
    logs.get("film").debug("ours")
    logging.getLogger("aiosqlite").debug("theirs")
    assert [line["event"] for line in lines(out)] == ["ours"]


def test_the_standard_librarys_lines_and_warnings_go_the_same_way(out: TextIO) -> None:
    logs.set_up("info", None, stream=out)
    logging.getLogger("other").warning("number %d", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)  # pytest put its own in front
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second = lines(out)
    assert (first["event"], first["level"], first["logger"]) == ("number 3", "warning", "other")
    assert "DeprecationWarning: old" in second["event"]


def test_the_file_holds_the_same_lines(tmp_path: Path, out: TextIO) -> None:
    folder = tmp_path / "deep" / "logs"
    logs.set_up("info", folder, stream=out)
    logs.get("film").info("one", ümlaut="straße")
    logging.getLogger("other").error("100 %s")
    there = file_lines(folder)
    assert [line["event"] for line in there] == ["one", "100 %s"]
    assert [line["event"] for line in lines(out)] == ["one", "100 %s"]
    assert there[0] == lines(out)[0]


def test_the_file_rotates_and_keeps_as_many_as_told(tmp_path: Path, out: TextIO) -> None:
    logs.set_up("info", tmp_path, file_bytes=1000, files=3, stream=out)
    for number in range(100):
        logs.get("film").info("filler", number=number)
    logs.shut_down()
    files = sorted(path.name for path in tmp_path.glob("ezrec.log*"))
    assert files == ["ezrec.log", "ezrec.log.1", "ezrec.log.2"]
    assert all((tmp_path / name).stat().st_size <= 1000 for name in files)
    assert json.loads((tmp_path / "ezrec.log").read_text().splitlines()[-1])["number"] == 99


def test_an_exception_is_in_its_line(out: TextIO) -> None:
    logs.set_up("info", None, stream=out)
    try:
        int("bad thing")
    except ValueError:
        logs.get("film").exception("failed")
        logging.getLogger("other").exception("failed")
    for line in lines(out):
        assert line["exception"].startswith("Traceback")
        assert "ValueError: invalid literal" in line["exception"]


# ---- secrets


def raised(text: str) -> BaseException:
    with pytest.raises(KeyError) as caught:
        raise KeyError(text)
    return caught.value


@pytest.mark.parametrize(
    "secret",
    [SECRET, "pa%2Fss%20w%C3%B6rd%221", JWT, "sb_secret_abc-DEF_123", "AKIAABCDEFGHIJKLMNOP", "ASIAABCDEFGHIJKLMNOP",
     "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"],
)
def test_a_secret_shows_nowhere_in_a_line(secret: str, tmp_path: Path, out: TextIO) -> None:
    logs.register_secrets(Holder(SECRET))
    logs.set_up("info", tmp_path, stream=out)
    log = logs.get("film")
    event = f"event {secret} here"
    log.info(event)
    log.info("value", url=f"https://x/?key={secret}&a=b", **{f"key {secret}": 1})
    log.info("inside", deep={"a": [{"b": (secret, {secret})}], secret: 1}, raw=secret.encode(), path=Path(secret))
    log.info("error", error=raised(secret), shown=repr(secret))
    log.error("exception", exc_info=raised(f"with {secret}"))
    logging.getLogger("other").warning("text %s", secret)
    logging.getLogger("other").warning("exception", exc_info=raised(secret))
    logs.shut_down()
    for text in (Path(out.name).read_text(), (tmp_path / logs.FILE_NAME).read_text()):
        assert len(text.splitlines()) == 7
        for spelling in (secret, secret.removesuffix('"1'), json.dumps(secret)[1:-1], repr(secret.encode())[2:-1]):
            assert spelling not in text
        assert logs.MASK in text


def test_what_is_no_secret_stays_readable(out: TextIO) -> None:
    logs.register_secrets(Holder("abc", ""))  # too short to be masked without harm
    logs.set_up("info", None, stream=out)
    kept = {"sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709", "id": "123e4567-e89b-12d3-a456-426614174000",
            "path": "/data/segments/left/0123456789_abc.ts", "sha256": "0" * 64, "word": "abcdef"}
    logs.get("film").info("kept", **kept)
    (line,) = lines(out)
    assert {key: line[key] for key in kept} == kept


def test_a_library_that_logs_each_request_is_heard_only_when_something_is_wrong(out: TextIO) -> None:
    logs.set_up("debug", None, stream=out)
    logging.getLogger("httpx").info("HTTP Request: GET …")
    logging.getLogger("httpx").warning("odd")
    assert [line["event"] for line in lines(out)] == ["odd"]


def test_a_presigned_url_loses_its_signature(out: TextIO) -> None:
    logs.set_up("info", None, stream=out)
    logs.get("film").info("get", url="https://b.s3/x?X-Amz-Date=1&X-Amz-Signature=0123abcd&X-Amz-Security-Token=t%2Fk&z=1")
    assert lines(out)[0]["url"] == f"https://b.s3/x?X-Amz-Date=1&X-Amz-Signature={logs.MASK}&X-Amz-Security-Token={logs.MASK}&z=1"


# ---- never raises, never blocks


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


def test_no_value_can_break_a_line(out: TextIO) -> None:
    logs.set_up("info", None, stream=out)
    endless: list[Any] = []
    endless.append(endless)
    odd = {"a": Unprintable(), "b": float("nan"), "c": endless, "d": "\ud800", "e": {1: object},
           "f": b"\xff", "g": {"x"}}
    logs.get("film").info("odd", **odd)
    console, _ = logs._State.handlers  # pytest's own handler would raise
    console.handle(logging.makeLogRecord({"msg": "text %d", "args": ("no number",)}))
    logs.get("film").info("next")
    first, second, third = lines(out)
    assert first["a"] == "<Unprintable that cannot be shown: RuntimeError>"
    assert first["b"] == "nan"
    assert (second["event"], second["level"]) == ("1 log lines could not be written", "warning")
    assert third["event"] == "next"


def test_a_closed_pipe_is_borne_and_the_process_ends_well() -> None:
    program = (
        "from ezrec import logs\n"
        "logs.set_up('info', None)\n"
        "input()\n"
        "for number in range(100): logs.get('film').info('line', number=number)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(Path.cwd())})
    assert process.stdin
    assert process.stdout
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(b"\n", timeout=30)
    assert (process.returncode, errors) == (0, b"")


def test_a_reader_that_stands_still_costs_lines_and_not_time() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as reader:
        logs.set_up("info", None, stream=stream)
        log = logs.get("film")
        for number in range(3000):  # a pipe holds 64 KiB: this would hang for ever
            log.info("line", number=number, filler="x" * 100)
        log.info("long", filler="y" * 100_000)
        taken = reader.read1(1 << 20)
        log.info("after")
        rest = reader.read1(1 << 20)
        logs.shut_down()
    got = [json.loads(line) for line in taken.splitlines()]
    assert [line["number"] for line in got] == list(range(len(got)))
    notice, last = (json.loads(line) for line in rest.splitlines())
    assert notice["event"] == f"{3001 - len(got)} log lines could not be written"
    assert last["event"] == "after"


def test_a_line_torn_by_a_full_pipe_does_not_spoil_the_next_one() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as reader:
        logs.set_up("info", None, stream=stream)
        log = logs.get("film")
        log.info("long", filler="y" * 100_000)
        torn = reader.read1(1 << 20)
        log.info("after")
        whole = (torn + reader.read1(1 << 20)).splitlines()
        logs.shut_down()
    assert torn
    assert not torn.endswith(b"\n")
    assert [json.loads(line)["event"] for line in whole[1:]] == ["1 log lines could not be written", "after"]


def test_a_full_disk_costs_lines_of_the_file_only(tmp_path: Path, out: TextIO) -> None:
    (tmp_path / logs.FILE_NAME).symlink_to("/dev/full")
    logs.set_up("info", tmp_path, stream=out)
    logs.get("film").info("one")
    logs.get("film").info("two")
    logs.shut_down()
    assert [line["event"] for line in lines(out)] == ["one", "two"]


def test_the_file_heals_when_the_disk_does_and_tells_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "logs" / logs.FILE_NAME
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    handler = logs.FileLines(path, delay=True)
    assert not handler.put(logging.makeLogRecord({"msg": "lost"}))
    path.unlink()
    assert handler.put(logging.makeLogRecord({"msg": "kept"}))
    handler.close()
    assert path.read_text() == "kept\n"


def test_the_file_tells_how_many_lines_it_lost(tmp_path: Path, out: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = iter([True])
    real = logs.FileLines.emit

    def emit(self: logs.FileLines, record: logging.LogRecord) -> None:
        if next(failing, False):
            self.handleError(record)
        else:
            real(self, record)

    monkeypatch.setattr(logs.FileLines, "emit", emit)
    logs.set_up("info", tmp_path, stream=out)
    for event in ("one", "two", "three"):
        logs.get("film").info(event)
    assert [line["event"] for line in file_lines(tmp_path)] == ["1 log lines could not be written", "two", "three"]


def test_a_log_folder_that_cannot_be_made_is_borne(tmp_path: Path, out: TextIO) -> None:
    (tmp_path / "file").write_text("")
    logs.set_up("info", tmp_path / "file" / "logs", stream=out)
    logs.get("film").info("one")
    logs.shut_down()
    assert lines(out)[0]["event"] == "one"


def test_on_a_terminal_the_lines_are_for_people_and_hide_secrets_too() -> None:
    logs.register_secrets(Holder(SECRET))
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        logs.set_up("info", None, stream=terminal)
        logs.get("film").error("it broke", why=SECRET, exc_info=raised(SECRET))
        text = os.read(leader, 65536).decode()
        logs.shut_down()
    os.close(leader)
    assert "it broke" in text
    assert "KeyError" in text
    assert not text.startswith("{")
    assert "wörd" not in text


ODD = "a\x1b[31m\x9b\x7f\u202e[/x]"


def test_on_a_terminal_nothing_in_a_line_is_obeyed() -> None:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        logs.set_up("info", None, stream=terminal)
        logs.get("film").error(f"it {ODD}", why=ODD, list=[ODD], exc_info=raised(ODD + "\nsecond line"), **{ODD: 1})
        logging.getLogger("elsewhere").warning(ODD)
        text = os.read(leader, 65536).decode()
        logs.shut_down()
    os.close(leader)
    unstyled = re.sub(r"\x1b\[[0-9;]*m", "", text.replace("\x1b[31ma", "a"))
    assert r"a\x1b[31m\x9b\x7f\u202e[/x]" in text
    assert not [sign for sign in unstyled if not sign.isprintable() and sign not in "\r\n\t"]
    assert text.count(r"\x1b[31m") == 6


def test_a_line_for_machines_holds_nothing_that_a_terminal_obeys_and_reads_as_it_was(out: TextIO) -> None:
    logs.set_up("info", None, stream=out)
    logs.get("film").error(ODD, why=ODD)
    text = Path(out.name).read_text("utf-8")
    assert text.rstrip("\n").isprintable()
    assert json.loads(text)["why"] == json.loads(text)["event"] == ODD
    last = logs.last_error()
    assert last is not None
    assert last.text.isprintable()


def test_shut_down_gives_everything_back(out: TextIO) -> None:
    before = list(logging.getLogger().handlers)
    logs.set_up("info", None, stream=out)
    logs.set_up("info", None, stream=out)
    assert len(logging.getLogger().handlers) == len(before) + 2
    logs.shut_down()
    logs.shut_down()
    assert logging.getLogger().handlers == before
    assert not structlog.is_configured()
