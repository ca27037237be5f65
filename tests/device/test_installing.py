"""What the installer decides before and beside pip: the system's versions, folders, the unit, whose turn it is."""

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ezrec.config.sections import SECRETS
from ezrec.device import bookings, constraints, folders_of, releases
from ezrec.device.__main__ import main
from ezrec.device.places import Places
from ezrec.domain.errors import EzrecError

ROOT = Path(__file__).parents[2]
UNIT = (ROOT / "ezrec/device/ezrec.service").read_text("utf-8")
BOOKWORM = {"numpy": "1.24.2", "av": "10.0.0"}
TRIXIE = {"numpy": "2.2.4", "av": "14.2.0", "picamera2": "0.3.31"}


def given(name: str) -> list[str]:
    """What the unit gives a setting."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


# ---- the system's versions


def test_the_systems_versions_go_over_the_pins_and_are_all_kept() -> None:
    merged = constraints.merged("# tested\nav==18.1.0\nnumpy==2.4.0\nPillow==13.0\npydantic==2.12.0\n",
                                TRIXIE | {"pillow": "11.1.0"})
    assert merged.splitlines() == ["av==14.2.0", "numpy==2.2.4", "picamera2==0.3.31", "pillow==11.1.0",
                                   "pydantic==2.12.0"]


def test_a_system_whose_pyav_is_too_old_is_refused_in_words() -> None:
    with pytest.raises(EzrecError, match=r"PyAV \(python3-av\) is 10\.0\.0, EZREC needs 12 .* must not be replaced"):
        constraints.check((3, 11), BOOKWORM)
    constraints.check((3, 11), BOOKWORM | {"av": "12.0.0"})
    constraints.check((3, 13), TRIXIE)
    constraints.check((3, 13), {})


def test_a_system_whose_python_is_too_old_is_refused_in_words() -> None:
    with pytest.raises(EzrecError, match=r"Python is 3\.9, EZREC needs 3\.11 .*Debian 12"):
        constraints.check((3, 9), {})


def test_the_oldest_pyav_is_the_one_that_the_project_asks_for() -> None:
    assert f'"av>={constraints.OLDEST_PYAV[0]}"' in (ROOT / "pyproject.toml").read_text("utf-8")


# ---- folders


def test_the_unit_may_write_to_every_folder_that_the_settings_name_and_waits_for_its_disk(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.settings.parent.mkdir(parents=True)
    places.settings.write_text('[paths]\ndata = "/mnt/my ssd/ezrec"\nlibrary = "films"\n')
    folders_of.write_drop_in(places)
    text = places.drop_in.read_text("utf-8")
    assert 'RequiresMountsFor="/mnt/my ssd/ezrec" "/var/lib/ezrec/films"\n' in text
    assert 'ReadWritePaths=-"/mnt/my ssd/ezrec" -"/var/lib/ezrec/films"\n' in text


def test_settings_that_are_no_toml_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.settings.parent.mkdir(parents=True)
    places.settings.write_text("[paths\n")
    with pytest.raises(EzrecError, match=r"config\.toml is not valid TOML"):
        folders_of.write_drop_in(places)
    assert not places.drop_in.exists()


# ---- the unit


def test_the_unit_hands_over_every_secret_there_is() -> None:
    assert given("LoadCredential") == [f"{key}:ezrec.{key}" for key in sorted(
        SECRETS, key=lambda key: UNIT.index(f"LoadCredential={key}:"))]


def test_the_unit_is_kept_alive_for_ever_and_its_watchdog_bears_a_disk_that_stands_still_for_half_a_minute() -> None:
    assert given("Type") == ["notify"]
    assert given("Restart") == ["always"]
    assert given("RestartSec") == ["200ms"]
    assert given("StartLimitIntervalSec") == ["0"]
    from ezrec.supervisor import SEEN_ALIVE_S  # noqa: PLC0415

    fed_every_s = int(given("WatchdogSec")[0]) / 2 / 3
    assert SEEN_ALIVE_S + fed_every_s + 30 <= int(given("WatchdogSec")[0])


def test_the_cameras_are_within_reach() -> None:
    assert given("DevicePolicy") == ["closed"]
    assert not given("PrivateDevices")
    allowed = " ".join(given("DeviceAllow"))
    for device in ("char-video4linux", "char-media", "char-dma_heap", "char-vcio", "char-gpiochip"):
        assert device in allowed


# ---- whose turn it is


def state(data: Path, **row: object) -> None:
    (data / "state.json").write_text(json.dumps({"pid": os.getpid(), "current_booking_id": None} | row))


def test_an_upgrade_waits_until_no_booking_is_recorded_and_says_so_once(tmp_path: Path) -> None:
    said: list[str] = []
    now_s = 1_000_000.0
    ends_s, next_s = now_s + 60, now_s + 63  # one match follows another

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        look()

    def look() -> None:
        booking = "first" if now_s < ends_s else "second" if next_s <= now_s < next_s + 60 else None
        state(tmp_path, current_booking_id=booking)
        os.utime(tmp_path / "state.json", (now_s, now_s))

    look()
    bookings.wait_for_end(tmp_path, said.append, now=lambda: now_s, sleep=sleep)
    assert now_s >= next_s + 60
    assert len(said) == 1
    assert "booking first is being recorded" in said[0]
    assert "--now" in said[0]


def test_an_upgrade_waits_for_a_booking_that_begins_within_minutes_and_not_for_one_of_the_evening(
        tmp_path: Path) -> None:
    said: list[str] = []
    now_s = 1_800_000_000.0
    starts_s, ends_s = now_s + 240, now_s + 300

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        look()

    def look() -> None:
        start_s = starts_s if now_s < starts_s else ends_s + 3600
        state(tmp_path, current_booking_id="match" if starts_s + 4 <= now_s < ends_s else None,
              next_booking_at=datetime.fromtimestamp(start_s, UTC).isoformat())
        os.utime(tmp_path / "state.json", (now_s, now_s))

    look()
    bookings.wait_for_end(tmp_path, said.append, now=lambda: now_s, sleep=sleep)
    assert ends_s <= now_s < ends_s + 60
    assert "a booking begins in 240 s" in said[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x", "current_booking_id": "a"}',
                                  '{"pid": 4194305, "current_booking_id": "a"}'])
def test_a_recorder_that_is_not_there_is_not_waited_for(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert bookings.recorded(tmp_path, (tmp_path / "state.json").stat().st_mtime) is None
    assert bookings.begins_in_s(tmp_path, (tmp_path / "state.json").stat().st_mtime) is None
    state(tmp_path, current_booking_id="a")
    written_s = (tmp_path / "state.json").stat().st_mtime
    assert bookings.recorded(tmp_path, written_s) == "a"
    assert bookings.recorded(tmp_path, written_s + 60) is None


# ---- releases


def test_old_releases_go_but_the_newest_few_and_those_that_are_needed(tmp_path: Path) -> None:
    places = Places(tmp_path)
    for number in range(7):
        release = places.releases / f"1.{number}"
        release.mkdir(parents=True)
        (release / "complete").touch()
        os.utime(release, (number, number))
    (places.releases / "cut-off").mkdir()
    (places.base / "current").symlink_to("releases/1.1")
    releases.prune(places, "1.0")
    assert {path.name for path in places.releases.iterdir()} == {"1.0", "1.1", "1.5", "1.6"}


def test_a_link_to_a_release_that_is_not_complete_is_none(tmp_path: Path) -> None:
    places = Places(tmp_path)
    (places.releases / "1.0").mkdir(parents=True)
    places.current.symlink_to("releases/1.0")
    assert releases.current(places) is None


# ---- the command


def test_an_upgrade_beside_one_that_is_on_trial_is_refused(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DESTDIR", str(tmp_path))
    places = Places(tmp_path)
    places.trial.mkdir(parents=True)
    (places.trial / "trial.json").write_text(json.dumps(
        {"old": "1", "new": "2", "data": "/x", "copy": None, "watch_s": 1}))
    assert main(["install", "--no-packages"]) == 1
    assert "still on trial" in capsys.readouterr().err


def test_what_was_never_installed_can_be_taken_away(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DESTDIR", str(tmp_path))
    assert main(["uninstall"]) == 0
    assert "left as they are: nothing" in capsys.readouterr().out


@pytest.mark.parametrize("everything", [False, True])
def test_taking_it_away_leaves_what_is_the_owners_unless_all_is_to_go(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool) -> None:
    monkeypatch.setenv("DESTDIR", str(tmp_path))
    places = Places(tmp_path)
    own = [places.data / "library/film.mp4", places.settings, places.secrets / "ezrec.supabase.key"]
    ours = [places.releases / "1.0/complete", places.units / "ezrec.service", places.command, places.drop_in]
    others = [places.secrets / "other", places.base / "recordings/match.mp4", places.drop_in.parent / "mine.conf"]
    for path in (*own, *ours, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert main(["uninstall", *(["--everything"] if everything else [])]) == 0
    assert [path for path in ours if path.exists()] == []
    assert [path.exists() for path in own] == [not everything] * 3
    assert all(path.exists() for path in others)
