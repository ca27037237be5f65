"""The last error: what the heartbeat can tell of the log."""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec import logs


@pytest.fixture(autouse=True)
def logging_to_nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "_secrets", logs._Secrets())
    level = logging.getLogger().level
    with Path(os.devnull).open("w") as nobody:
        logs.set_up("info", None, stream=nobody)
        yield
        logs.shut_down()
    logging.getLogger().setLevel(level)
    logging.getLogger(logs.ROOT).setLevel(logging.NOTSET)


def said() -> str | None:
    error = logs.last_error()
    return error.text if error else None


def test_nothing_is_remembered_before_an_error() -> None:
    logs.get("film").warning("chunk failed")
    assert logs.last_error() is None


def test_the_last_error_is_told_in_words_with_its_time() -> None:
    logs.get("film").error("earlier")
    logs.get("pipeline").error("film parked", booking="b1", reason="the bucket is\nfull")
    logs.get("pipeline").info("later")
    assert said() == "pipeline: film parked (booking=b1, reason=the bucket is full)"
    error = logs.last_error()
    assert error
    assert abs(datetime.now(UTC) - error.at) < timedelta(minutes=5)


def test_of_an_exception_what_was_raised_is_told() -> None:
    try:
        {}["camera"]
    except KeyError:
        logs.get("bookings").exception("it broke")
    assert said() == "bookings: it broke: KeyError: 'camera'"
    logs.get("supervisor").error("task ended", exc_info=ValueError("no"))
    assert said() == "supervisor: task ended: ValueError: no"


def test_other_people_s_errors_count_too() -> None:
    logging.getLogger("asyncio").error("Task %s was destroyed", "x")
    assert said() == "asyncio: Task x was destroyed"


def test_an_error_shows_no_secret_and_is_cut_short() -> None:
    logs._secrets.add(["hunter22"])
    logs.get("upload").error("refused", error="key hunter22 " + "x" * 5000)
    text = said()
    assert text
    assert "hunter22" not in text
    assert len(text) == logs.LONGEST_ERROR


def test_an_error_that_cannot_be_shown_changes_nothing() -> None:
    logs.get("film").error("first")
    assert logs._State.errors  # handed to it alone: pytest's own handler would raise
    logs._State.errors.handle(logging.makeLogRecord({"msg": "%d", "args": ("x",)}))
    assert said() == "film: first"


def test_nothing_is_remembered_once_the_log_was_shut_down() -> None:
    logs.get("film").error("first")
    logs.shut_down()
    assert logs.last_error() is None
