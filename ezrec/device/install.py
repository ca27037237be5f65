"""Installing and upgrading: the order of things, and what is said of them.

What runs goes on running until the new release is complete and no match is recorded. From then on the release before
it comes back by itself if the new one does not get healthy (`trial`).
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ezrec.device import accounts, bookings, constraints, folders_of, machine, releases, store_copy, trial
from ezrec.device.machine import SYSTEM_PYTHON, Service
from ezrec.device.places import Places
from ezrec.device.trial import Trial
from ezrec.device.wheel import wheel_into
from ezrec.domain.errors import EzrecError

WATCH_S = 900.0

FIRST_SETTINGS = """\
# EZREC's settings on this device. `ezrec setup` asks for what it needs; config.example.toml has every key.
[site]
timezone = "{zone}"

[paths]
data = "/var/lib/ezrec"
logs = "/var/log/ezrec"

[cameras]
source = "{source}"
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wishes:
    """What the person asked for."""

    wheel: Path | None = None  # instead of the one that this installer is
    wheels: Path | None = None  # all dependencies, for a machine without a network
    packages: bool = True  # install Debian packages that are missing
    now: bool = False  # do not wait for a recording to end
    watch_s: float = WATCH_S
    ready_s: float = trial.READY_S


def install(places: Places, wishes: Wishes, say: Say) -> int:
    """Install or upgrade; the exit status: 0 if the release that was asked for runs.

    Raises:
        EzrecError: it could not be done; what ran before goes on running.
        OSError: the disk is full, or fails; the same.
    """
    service = Service()
    _refuse_early(places)
    if wishes.packages and places.real and (missing := machine.missing_packages()):
        say(f"Debian packages: {', '.join(missing)}")
        machine.install_packages(missing)
    system = constraints.of_system()
    accounts.make_user(places)
    accounts.make_folders(places, places.data, places.logs)
    _first_settings(places, system, say)
    folders = folders_of.read(places)
    with tempfile.TemporaryDirectory(prefix="ezrec-") as temporary:
        wheel = wheel_into(Path(temporary), wishes.wheel)
        name = releases.build(places, wheel, say, system=system, wheels=wishes.wheels)
        before = releases.current(places)
        systemd = places.real and service.there()
        if before and before != name and systemd:
            wanted = Trial(before, name, str(folders.data), None, wishes.watch_s, wishes.ready_s)
            return _upgrade(places, wishes, service, wanted, wheel, say)
    releases.activate(places, name)
    folders_of.write_drop_in(places)
    if not systemd:
        say(f"release {name} is installed; nothing is started here, for systemd does not run")
        return 0
    service.reload()
    service.enable()
    service.start()
    return _until_ready(service, name, say)


def _refuse_early(places: Places) -> None:
    if places.real and not accounts.is_root():
        raise EzrecError("only root can install: sudo make install (or set DESTDIR to a folder, to look at it)")
    if not Path(SYSTEM_PYTHON).exists():
        raise EzrecError(f"{SYSTEM_PYTHON} is missing: apt-get install python3")
    if trial.read(places):
        raise EzrecError("an upgrade is still on trial; `journalctl -fu ezrec-trial` shows it, wait for its end")


def _first_settings(places: Places, system: dict[str, str], say: Say) -> None:
    """Settings to begin with, where there are none; the owner's are never touched."""
    if places.settings.exists():
        accounts.give(places, places.settings, user="root")  # the recorder must be able to read them
        return
    try:
        zone = (places.at("/etc/timezone")).read_text("ascii").strip() or "UTC"
    except (OSError, ValueError):
        link = places.at("/etc/localtime").resolve().as_posix()
        zone = link.partition("/zoneinfo/")[2] or "UTC"
    source = "picamera2" if "picamera2" in system else "simulated"
    places.settings.write_text(FIRST_SETTINGS.format(zone=zone, source=source), "utf-8")
    places.settings.chmod(accounts.SETTINGS_MODE)
    accounts.give(places, places.settings, user="root")
    say(f"settings to begin with: {places.settings}")


def _upgrade(places: Places, wishes: Wishes, service: Service, wanted: Trial, installer: Path, say: Say) -> int:
    """Change from one release to another, and watch it."""
    data = Path(wanted.data)
    if not wishes.now:
        bookings.wait_for_end(data, say)
    copied = places.releases / wanted.old / store_copy.NAME
    say(f"release {wanted.old} stops; its store is copied")
    service.stop()
    try:
        there = store_copy.copy(data, copied)
        trial.begin(places, replace(wanted, copy=str(copied) if there else None), installer)
    except (EzrecError, OSError):
        service.start()
        raise
    releases.activate(places, wanted.new)
    folders_of.write_drop_in(places)
    service.reload()
    service.enable()
    service.start()
    service.watch()
    say(f"release {wanted.new} starts. It is watched (journalctl -fu ezrec-trial), and {wanted.old} comes back by "
        "itself if it does not get healthy; Ctrl-C ends this command, not the watch")
    while trial.read(places):
        time.sleep(1)
    found = trial.outcome(places)
    say(f"release {wanted.new}: {found.get('outcome', 'unknown')}: {found.get('why', '')}")
    if found.get("outcome") != "kept":
        return 1
    releases.prune(places, wanted.old)
    return _check(say)


def _until_ready(service: Service, name: str, say: Say) -> int:
    """Wait for the first release to be ready, then let it check everything."""
    began = time.monotonic()
    while not service.state().active:
        if time.monotonic() - began > trial.READY_S:
            raise EzrecError(f"release {name} is installed, but not ready after {trial.READY_S:.0f} s: "
                             f"{service.state().doing}; `journalctl -u ezrec` says why")
        time.sleep(0.2)
    say(f"release {name} runs; ready after {time.monotonic() - began:.1f} s")
    return _check(say)


def _check(say: Say) -> int:
    """Say what `ezrec check` finds. What it does not like is no failed installation."""
    content, words = machine.told(str(Places().command), "check", limit_s=120)
    say(f"`ezrec check` says:\n{words.rstrip()}")
    if not content:
        say("installed, but `ezrec check` is not content: put right what it names, then `ezrec check` again")
    return 0
