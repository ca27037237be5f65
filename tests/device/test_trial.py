"""An upgrade proves itself, or goes back; the power may fail in between."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ezrec.device import releases, store_copy, trial
from ezrec.device.machine import State
from ezrec.device.places import Places
from ezrec.device.trial import Trial
from ezrec.domain.errors import EzrecError


@dataclass
class Unit:
    """A unit on made-up time: what it is like at each second, and what is done to it."""

    like: Callable[[float], State]
    now_s: float = 0.0
    done: list[str] = field(default_factory=list)

    def state(self) -> State:
        return self.like(self.now_s)

    def start(self) -> None:
        self.done.append("start")

    def stop(self) -> None:
        self.done.append("stop")

    def reload(self) -> None:
        self.done.append("reload")

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def healthy(_: float) -> State:
    return State(True, 0, "active (running)")


def never_ready(_: float) -> State:
    return State(False, 0, "activating (start)")


def crashing_each_minute(second: float) -> State:
    return State(second % 60 > 2, int(second // 60), "active (running)")


def crashing_once(second: float) -> State:
    return State(True, int(second > 100), "active (running)")


def failing_in_the_end(second: float) -> State:
    return State(second < 890, 0, "failed (failed)")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A device with two releases, the newer one current and on trial, and a store that it has changed."""
    found = Places(tmp_path)
    for name in ("1.0", "2.0"):
        release = found.releases / name
        release.mkdir(parents=True)
        for file in releases.DEVICE_FILES:
            (release / file).write_text(name)
        (release / "complete").touch()
    for folder in (found.units, found.command.parent, found.data):
        folder.mkdir(parents=True)
    write(found, "old")
    assert store_copy.copy(found.data, found.releases / "1.0/ezrec.db")
    write(found, "new")
    (tmp_path / "wheel").write_text("wheel")
    trial.begin(found, Trial("1.0", "2.0", str(found.data), str(found.releases / "1.0/ezrec.db"), 900),
                tmp_path / "wheel")
    releases.activate(found, "2.0")
    return found


def write(places: Places, word: str) -> None:
    with closing(sqlite3.connect(places.data / "ezrec.db")) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE IF NOT EXISTS word (word)")
        db.execute("DELETE FROM word")
        db.execute("INSERT INTO word VALUES (?)", (word,))


def word_in(store: Path) -> str:
    with closing(sqlite3.connect(store)) as db:
        return str(db.execute("SELECT word FROM word").fetchone()[0])


def watch(places: Places, unit: Unit) -> bool:
    return trial.watch(places, unit, lambda _: None, mono=lambda: unit.now_s, sleep=unit.sleep)


def is_old(places: Places) -> None:
    assert releases.current(places) == "1.0"
    assert (places.units / "ezrec.service").read_text() == "1.0"
    assert trial.read(places) is None
    assert trial.outcome(places)["outcome"] == "gone back"


@pytest.mark.parametrize("like", [healthy, crashing_once])
def test_a_release_that_is_healthy_for_the_whole_time_stays(places: Places, like: Callable[[float], State]) -> None:
    unit = Unit(like)
    assert watch(places, unit)
    assert unit.now_s >= 900
    assert unit.done == []
    assert releases.current(places) == "2.0"
    assert trial.outcome(places)["outcome"] == "kept"
    assert trial.read(places) is None
    assert word_in(places.data / "ezrec.db") == "new"


@pytest.mark.parametrize("like", [crashing_each_minute, failing_in_the_end])
def test_a_release_that_was_ready_and_falls_ill_goes_and_what_it_wrote_stays(
        places: Places, like: Callable[[float], State]) -> None:
    unit = Unit(like)
    assert not watch(places, unit)
    assert unit.done == ["stop", "reload", "start"]
    is_old(places)
    assert word_in(places.data / "ezrec.db") == "new"


def test_a_release_that_never_gets_ready_goes_and_the_store_is_what_it_was_before(places: Places) -> None:
    unit = Unit(never_ready)
    assert not watch(places, unit)
    assert trial.READY_S < unit.now_s < trial.READY_S + 5
    is_old(places)
    assert word_in(places.data / "ezrec.db") == "old"
    assert word_in(places.data / "aside/ezrec.db-2.0") == "new"


def test_an_upgrade_that_was_cut_off_before_the_link_changed_is_none(places: Places) -> None:
    releases.activate(places, "1.0")
    assert not watch(places, Unit(healthy))
    is_old(places)
    assert word_in(places.data / "ezrec.db") == "new"  # the old release's own: it went on running


@pytest.mark.parametrize("like", [never_ready, crashing_each_minute])
def test_a_power_cut_at_any_step_of_going_back_leaves_what_the_next_boot_ends(
        places: Places, monkeypatch: pytest.MonkeyPatch, like: Callable[[float], State]) -> None:
    class PowerCut(BaseException):
        """Nothing runs behind it."""

    steps = [(releases, "_put"), (Path, "replace"), (Path, "unlink"), (Path, "symlink_to"), (trial, "_write"),
             (trial, "fsync_folder"), (store_copy, "fsync_file"), (store_copy, "fsync_folder")]
    for owner, name in steps:
        for nth in range(12):
            calls, real = 0, getattr(owner, name)

            def cut(*words: object, real: Callable[..., object] = real, nth: int = nth, **more: object) -> object:
                nonlocal calls
                calls += 1
                if calls == nth + 1:
                    raise PowerCut
                return real(*words, **more)

            with monkeypatch.context() as patch:
                patch.setattr(owner, name, cut)
                try:
                    watch(places, Unit(like))
                except PowerCut:
                    pass
                else:
                    break
            assert releases.current(places) in ("1.0", "2.0")  # at any moment one of them runs
            watch(places, Unit(like))
            is_old(places)
            assert word_in(places.data / "ezrec.db") == ("old" if like is never_ready else "new")
            again(places)


def again(places: Places) -> None:
    """The same trial once more."""
    write(places, "new")
    trial.begin(places, Trial("1.0", "2.0", str(places.data), str(places.releases / "1.0/ezrec.db"), 900),
                places.root / "wheel")
    releases.activate(places, "2.0")


def test_a_trial_that_cannot_be_read_is_said_and_nothing_is_done(places: Places) -> None:
    (places.trial / "trial.json").write_text("{")
    with pytest.raises(EzrecError, match=r"trial\.json cannot be read"):
        watch(places, Unit(healthy))
    assert releases.current(places) == "2.0"


def test_nothing_on_trial_is_nothing_to_watch(places: Places) -> None:
    (places.trial / "trial.json").unlink()
    unit = Unit(never_ready)
    assert watch(places, unit)
    assert unit.now_s == 0


def test_a_store_is_copied_while_another_process_writes_to_it(places: Places, tmp_path: Path) -> None:
    with closing(sqlite3.connect(places.data / "ezrec.db")) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE word SET word = 'later'")
        assert store_copy.copy(places.data, tmp_path / "copy.db")
        db.execute("COMMIT")
    assert word_in(tmp_path / "copy.db") == "new"


def test_a_copy_that_does_not_fit_leaves_nothing_of_itself(places: Places, tmp_path: Path) -> None:
    (places.data / "ezrec.db").write_bytes(b"no store " * 1000)
    with pytest.raises(EzrecError, match="cannot be copied"):
        store_copy.copy(places.data, tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy*"))


def test_a_device_without_a_store_has_none_to_copy(tmp_path: Path) -> None:
    assert not store_copy.copy(tmp_path, tmp_path / "copy.db")
