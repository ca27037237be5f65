"""Syncing: a disk that is too slow is said once, and so is its end; one that stumbles is not spoken of."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from ezrec.adapters import syncing
from ezrec.adapters.syncing import LATELY, FileSyncs, SyncPace
from ezrec.domain.clock import SECOND
from tests.fakes.clocks import MadeUpClock
from tests.fakes.waiting import wait_until


@pytest.fixture
def said():
    with structlog.testing.capture_logs() as lines:
        yield lines


def told(lines: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(line["log_level"], line["event"]) for line in lines]


TOO_SLOW, WELL = ("error", "disk too slow"), ("info", "disk is fast enough again")


def test_a_disk_that_is_too_slow_is_said_once_in_words_and_so_is_its_end(said: list[dict[str, object]]) -> None:
    pace = SyncPace()
    for _ in range(50):
        pace.took(1_500_000)
    assert told(said) == [TOO_SLOW]
    assert pace.trouble == "a sync takes 1.5 s: a power cut may cost more than 2 s of footage"
    assert "faster" in str(said[0]["hint"])
    for _ in range(LATELY - 1):
        pace.took(100_000)
    assert pace.trouble
    pace.took(100_000)
    assert told(said) == [TOO_SLOW, WELL]
    assert not pace.trouble
    pace.took(1_500_000)
    pace.took(1_500_000)
    assert told(said) == [TOO_SLOW, WELL, TOO_SLOW]


def test_syncs_of_a_second_keep_the_promise_and_a_disk_that_stumbles_once_is_not_spoken_of(
        said: list[dict[str, object]]) -> None:
    pace = SyncPace()
    for took in [1_050_000] * 30 + [2_000_000] + [900_000] * 30:
        pace.took(took)
    assert (said, pace.trouble) == ([], "")


def test_a_disk_that_hangs_is_said_while_it_hangs(said: list[dict[str, object]]) -> None:
    clock, pace, go_on = MadeUpClock(1000, 0), SyncPace(), threading.Event()

    class File:
        def sync(self) -> None:
            assert go_on.wait(10)

        def seal(self, sync_is_over: object) -> int:
            return 0

    syncs = FileSyncs(File(), 1000 * SECOND, clock, pace, lambda: None)
    syncs.look(1001 * SECOND)
    for _ in range(5):
        clock.forward(SECOND)
        syncs.look(clock.mono_us())
        pace.took(1000)  # the other camera's go through
    assert told(said) == [TOO_SLOW]
    go_on.set()
    wait_until(lambda: syncs.is_sealed(0))
    assert told(said) == [TOO_SLOW]


def test_the_next_sync_begins_a_second_of_footage_after_the_last_one_began_and_never_beside_it() -> None:
    clock, begun, go_on = MadeUpClock(1000, 0), [], threading.Event()

    class File:
        def sync(self) -> None:
            begun.append(clock.mono_us() // SECOND)
            assert go_on.wait(10)

        def seal(self, sync_is_over: object) -> int:
            return 0

    syncs = FileSyncs(File(), 1000 * SECOND, clock, SyncPace(), lambda: None)
    for _ in range(4):
        clock.forward(SECOND)
        syncs.look(clock.mono_us())
    assert begun == [1001]
    go_on.set()
    wait_until(lambda: syncs.is_sealed(0))
    syncs.look(clock.mono_us())
    assert begun == [1001, 1004]  # at once: what came meanwhile is not on the disk


def test_a_file_is_sealed_beside_a_sync_that_is_under_way_and_told_when_that_is_over() -> None:
    clock, order, go_on = MadeUpClock(1000, 0), [], threading.Event()

    class File:
        def sync(self) -> None:
            assert go_on.wait(10)

        def seal(self, sync_is_over: Callable[[], object]) -> int:
            order.append("sealing")
            sync_is_over()
            order.append("sync over")
            return 0

    syncs = FileSyncs(File(), 1000 * SECOND, clock, SyncPace(), lambda: None)
    syncs.look(1001 * SECOND)
    syncs.seal()
    wait_until(lambda: order == ["sealing"])
    assert not syncs.is_sealed(0)
    go_on.set()
    wait_until(lambda: syncs.is_sealed(0))
    assert order == ["sealing", "sync over"]


def test_a_try_out_measures_the_disk_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    took = iter([0, 7_000_000, 0, 1_500_000_000, 0, 1, 0, 1])
    monkeypatch.setattr(syncing.time, "monotonic_ns", lambda: next(took))
    monkeypatch.setattr(os, "fdatasync", lambda handle: None)
    assert syncing.measure(tmp_path) == [7_000, 1_500_000, 0, 0]
    assert list(tmp_path.iterdir()) == []
