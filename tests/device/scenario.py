"""What a device goes through, under a real systemd: installed, booked, frozen, upgraded well and badly, taken away.

Run as root by `make test-device`; `--short` is what CI runs: the installation, one upgrade and one going back. Each
step prints a line with the time that it took; the first one that fails ends the run.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a command it is started with this folder on the path only

from tests.device.guest import PROJECT, Guest, missing
from tests.device.versions import wheel_of
from tests.fakes.predecessor import SECRETS, Predecessor
from tests.fakes.waiting import wait_until

SETTINGS = """\
[site]
timezone = "Europe/Berlin"
[paths]
data = "/var/lib/ezrec"
logs = "/var/log/ezrec"
[cameras]
source = "simulated"
width = 640
height = 360
bitrate = 600000
preflight_s = 0
[film]
preset = "ultrafast"
maxrate = 800000
bufsize = 1600000
[disk]
min_free_mb = 200
"""
SECURITY = 2.5  # systemd-analyze's exposure, at most
FILM_S = 60.0  # from a window's end to its film, on a busy machine


class Device:
    """The guest as its owner uses it."""

    def __init__(self, guest: Guest, folder: Path) -> None:
        self.guest, self._folder, self._booked = guest, folder, 0

    def install(self, version: str, bad: str = "", *more: str) -> tuple[int, str]:
        """Install a version; the exit status, and what was said."""
        words = self.installer(version, bad)
        return self.guest.status(*words, "--watch", "14", "--ready", "25", *more, limit_s=300)

    def installer(self, version: str, bad: str = "") -> list[str]:
        """The command that installs a version."""
        wheel = wheel_of(self._folder, version, bad)
        shutil.copy(wheel, self.guest.root / "root")
        return ["env", f"PYTHONPATH=/root/{wheel.name}", "python3", "-m", "ezrec.device", "install", "--wheels",
                "/wheels", "--no-packages"]

    def active(self) -> bool:
        """Whether the recorder is ready."""
        return self.guest.show("ActiveState") == "active"

    def version(self) -> str:
        """The release that is used."""
        return (self.guest.root / "opt/ezrec-backend/current").readlink().name

    def book(self, seconds: float, after_s: float = 2) -> str:
        """Book a match; its id."""
        self._booked += 1
        name = f"match-{self._booked}"
        self.guest.run("ezrec", "bookings", "add", "--id", name, "--in", f"{after_s:g}s", "--for", f"{seconds:g}s")
        return name

    def films(self) -> dict[str, dict[str, object]]:
        """What `ezrec films list` says, by booking."""
        return {str(one["booking_id"]): one for one in json.loads(self.guest.run("ezrec", "films", "list", "--json"))}

    def wait_film(self, name: str, seconds: float) -> None:
        """Wait for a match to be published, and see that its film has its length."""
        wait_until(lambda: bool(self.films().get(name, {}).get("url")), seconds + FILM_S, f"the film of {name}")

    def said(self, key: str) -> object:
        """What the recorder says of itself."""
        try:
            return json.loads((self.guest.root / "var/lib/ezrec/state.json").read_text())[key]
        except (OSError, ValueError, KeyError):
            return None

    def recording(self) -> str:
        """The booking that is being recorded."""
        return str(self.said("current_booking_id"))


def installation(device: Device) -> None:
    """Installed by one command, ready, hardened; the command and the secrets are there."""
    guest = device.guest
    guest.put("/etc/ezrec/config.toml", SETTINGS)
    (guest.root / "etc/ezrec/config.toml").chmod(0o640)
    status, said = device.install("1.0.0")
    assert status == 0, said
    print(said)
    assert device.active(), guest.journal()
    assert device.version() == "1.0.0"
    score = _score(guest)
    assert score <= SECURITY, f"systemd-analyze security: {score}"
    modes = guest.run("stat", "-c", "%U:%G %a", "/var/lib/ezrec", "/var/log/ezrec").splitlines()
    assert modes == ["ezrec:ezrec 750"] * 2, modes
    groups = guest.run("id", "-nG", "ezrec").split()
    assert {"video", "systemd-journal"} <= set(groups), groups  # those of them that there are
    guest.run("ezrec", "check")


def _score(guest: Guest) -> float:
    last = guest.run("systemd-analyze", "security", "ezrec", "--no-pager").strip().splitlines()[-1]
    print(f"  {last.strip()}")
    return float(last.split(": ")[1].split()[0])


def booking(device: Device) -> None:
    """A booking is recorded and published by the installed recorder."""
    name = device.book(6)
    device.wait_film(name, 8)


def secrets(device: Device) -> None:
    """A secret of the credential store reaches the recorder, and root's commands; nobody else may read it."""
    guest = device.guest
    guest.put("/etc/credstore/ezrec.supabase.key", "not-a-real-key")
    (guest.root / "etc/credstore/ezrec.supabase.key").chmod(0o600)
    guest.status("systemctl", "restart", "ezrec")  # the key without its project is refused: so it was read
    wait_until(lambda: "supabase.url" in guest.journal(), 20, "the recorder to have read its secret")
    assert "supabase.url" in guest.status("ezrec", "check")[1]
    assert guest.status("setpriv", "--reuid=nobody", "--clear-groups", "cat", "/etc/credstore/ezrec.supabase.key")[0]
    (guest.root / "etc/credstore/ezrec.supabase.key").unlink()
    wait_until(device.active, 20, "the recorder without that secret")


def frozen(device: Device) -> None:
    """A recorder that stands still is ended by its watchdog and started again."""
    guest = device.guest
    guest.put("/etc/systemd/system/ezrec.service.d/quick.conf", "[Service]\nWatchdogSec=6\n")
    guest.run("systemctl", "daemon-reload")
    guest.run("systemctl", "restart", "ezrec")
    wait_until(device.active, 30, "the recorder to be ready")
    frozen_pid = guest.show("MainPID")
    guest.run("kill", "-STOP", frozen_pid)
    wait_until(lambda: guest.show("MainPID") not in ("0", frozen_pid) and device.active(), 60, "the watchdog's answer")
    assert "watchdog" in guest.journal().lower()
    (guest.root / "etc/systemd/system/ezrec.service.d/quick.conf").unlink()
    guest.run("systemctl", "daemon-reload")


def crash_loop(device: Device) -> None:
    """What keeps it from starting, however often, leaves a recording service once it is gone."""
    guest = device.guest
    guest.put("/etc/systemd/system/ezrec.service.d/loop.conf", "[Service]\nExecStartPre=/usr/bin/test -e /run/mended\n")
    guest.run("systemctl", "daemon-reload")
    guest.status("systemctl", "restart", "ezrec")
    wait_until(lambda: int(guest.show("NRestarts")) >= 7, 60, "seven tries")
    guest.run("touch", "/run/mended")
    wait_until(device.active, 30, "the recorder, by itself")
    (guest.root / "etc/systemd/system/ezrec.service.d/loop.conf").unlink()
    guest.run("systemctl", "daemon-reload")
    device.wait_film(device.book(4), 6)


def upgrade(device: Device) -> None:
    """A good upgrade stays; what was booked and filmed is there still; the command again changes nothing."""
    before = device.films()
    status, said = device.install("1.1.0")
    assert status == 0, said
    assert device.version() == "1.1.0"
    assert "kept" in said, said
    assert device.films().keys() == before.keys()
    pid = device.guest.show("MainPID")
    device.guest.run("env", "PYTHONPATH=/root/ezrec-1.1.0-py3-none-any.whl", "python3", "-m", "ezrec.device", "install",
                     "--no-packages")
    assert device.guest.show("MainPID") == pid


def upgrade_waits(device: Device) -> None:
    """An upgrade in mid-recording waits for its end; the match has no gap."""
    name = device.book(25, 1)
    wait_until(lambda: device.recording() == name, 20, "the match to be recorded")
    pid = device.guest.show("MainPID")
    process = device.guest.start(*device.installer("1.3.0"), "--watch", "10")
    wait_until((device.guest.root / "opt/ezrec-backend/releases/1.3.0/complete").exists, 60, "the release")
    assert device.guest.show("MainPID") == pid
    assert process.wait(200) == 0, process.stdout and process.stdout.read()
    said = process.stdout.read() if process.stdout else ""
    assert f"booking {name} is being recorded" in said, said
    assert device.version() == "1.3.0"
    device.wait_film(name, 5)
    story = device.guest.run("ezrec", "films", "show", name)
    assert "gap" not in story.lower() or "no gap" in story.lower(), story


def _going_back(bad: str, version: str) -> Callable[[Device], None]:
    def step(device: Device) -> None:
        before, films = device.version(), device.films()
        status, said = device.install(version, bad)
        assert status == 1, said
        assert "gone back" in said, said
        assert device.version() == before
        wait_until(device.active, 30, "the release before")
        assert device.films().keys() == films.keys()
        assert all(device.films()[name].get("url") == one.get("url") for name, one in films.items())
        device.wait_film(device.book(4), 6)
    step.__doc__ = f"An upgrade that is bad ({bad}) goes back by itself, and nothing is lost."
    return step


def full_disk(device: Device) -> None:
    """A disk without room for a release, or one that is full while it is installed, changes nothing."""
    guest, before, pid = device.guest, device.version(), device.guest.show("MainPID")
    release = guest.root / "opt/ezrec-backend/releases/3.0.0"
    ballast = guest.root / "ballast"
    _fill(ballast, leaving_mb=300)
    status, said = device.install("3.0.0")
    assert status == 1, said
    assert "nothing was changed" in said, said
    ballast.unlink()

    process = guest.start(*device.installer("3.1.0"))
    release = release.with_name("3.1.0")
    wait_until((release / "constraints.txt").exists, 60, "the new release to be filled")
    _fill(ballast, leaving_mb=8)
    status, said = process.wait(300), process.stdout.read() if process.stdout else ""
    assert status == 1, said
    assert "nothing was changed" in said, said
    ballast.unlink()
    assert device.version() == before
    assert guest.show("MainPID") == pid
    assert not [path.name for path in release.parent.iterdir() if path.name.startswith("3.")]
    device.wait_film(device.book(4), 6)


def _fill(ballast: Path, leaving_mb: int) -> None:
    """Take all of the disk's room but so much."""
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(ballast.parent).free - (leaving_mb << 20))


def upgrade_looks_ahead(device: Device) -> None:
    """An upgrade just before a booking waits for that booking's end."""
    name = device.book(10, 30)
    pid = device.guest.show("MainPID")
    wait_until(lambda: device.said("next_booking_at") is not None, 20, "the recorder to know of it")
    process = device.guest.start(*device.installer("1.4.0"), "--watch", "10")
    wait_until(lambda: device.recording() == name, 90, "the match to be recorded")
    assert device.guest.show("MainPID") == pid
    status, said = process.wait(200), process.stdout.read() if process.stdout else ""
    assert status == 0, said
    assert device.version() == "1.4.0"
    device.wait_film(name, 5)


def power_cut_in_trial(device: Device) -> None:
    """A machine whose power fails during a bad upgrade's trial goes back after the next boot."""
    guest, before = device.guest, device.version()
    process = guest.start(*device.installer("4.0.0", "never ready"), "--ready", "20", "--watch", "10")
    wait_until(lambda: device.version() == "4.0.0", 90, "the new release")
    guest.run("sync")
    guest.off()
    process.wait(30)
    guest.boot()
    wait_until(lambda: device.version() == before, 60, "going back")
    wait_until(device.active, 30, "the release before")


OLD_UNITS = ("dual_recorder.service", "video_worker.service", "ezrec-api.service", "system_status.timer")


def migrated(device: Device) -> None:
    """What the predecessor left in the same folder is taken over: services, settings, secrets, and each film once."""
    guest = device.guest
    base = guest.root / "opt/ezrec-backend"
    before = set(base.iterdir())
    old = Predecessor(base)
    old.session("old-match", 10)
    old.pending("old-film")
    old.media()
    old.bookings(old.ahead("next"))
    old.aged()
    for unit in (*OLD_UNITS[:3], "cloudflared.service", "system_status.service"):
        guest.put(f"/etc/systemd/system/{unit}", "[Service]\nExecStart=/usr/bin/sleep infinity\n"
                                                 "[Install]\nWantedBy=multi-user.target\n")
    guest.put("/etc/systemd/system/system_status.timer", "[Timer]\nOnUnitActiveSec=5m\n"
                                                         "[Install]\nWantedBy=timers.target\n")
    guest.run("systemctl", "daemon-reload")
    guest.run("systemctl", "enable", "--now", "cloudflared")
    for command in (name for name, step in RUN_FOR_DOCS.items() if step == "back again"):
        guest.run(*command.split())
    for unit in OLD_UNITS:
        assert guest.show("ActiveState", unit) == "active", unit
    plan = guest.run("ezrec", "migrate", "/opt/ezrec-backend", "--dry-run")
    assert "old-match" in plan, plan
    said = guest.run("ezrec", "migrate", "/opt/ezrec-backend", "--yes")
    print(said)
    assert not [secret for secret in SECRETS if secret in plan + said], said
    for unit in OLD_UNITS:
        assert (guest.show("ActiveState", unit), guest.show("UnitFileState", unit)) == ("inactive", "disabled"), unit
    assert guest.show("ActiveState", "cloudflared") == "active"
    secret = guest.run("stat", "-c", "%U %a", "/etc/credstore/ezrec.email.password").strip()
    assert secret == "root 600", secret
    owners = set(guest.run("find", "/var/lib/ezrec", "-printf", "%u\n").split())
    assert owners == {"ezrec"}, owners
    for command in ("systemctl daemon-reload", "systemctl enable ezrec", "systemctl restart ezrec"):
        guest.run(*command.split())
    for name in ("old-match", "old-film"):
        device.wait_film(name, 10)
    again = json.loads(guest.run("ezrec", "migrate", "/opt/ezrec-backend", "--yes", "--json"))
    assert not [one for one in again["recordings"] if one["taken"]], again
    for path in set(base.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def replaced(device: Device) -> None:
    """The data folder of a dead box goes on in a new one."""
    guest, films = device.guest, device.films()
    guest.run("mkdir", "-p", "/mnt/old/var/lib")
    for command in (name for name, step in RUN_FOR_DOCS.items() if step == "replaced"):
        if command.startswith("cp"):
            guest.run("mv", "/var/lib/ezrec", "/mnt/old/var/lib/ezrec")
            guest.run("mkdir", "-m", "750", "/var/lib/ezrec")
        guest.run(*command.split())
    wait_until(device.active, 30, "the recorder on the old folder")
    assert device.films().keys() == films.keys()
    device.wait_film(device.book(4), 6)


def uninstalled(device: Device) -> None:
    """Taken away, with its films and settings left."""
    guest = device.guest
    films = sorted(path.name for path in (guest.root / "var/lib/ezrec/library").rglob("*.mp4"))
    assert films
    said = guest.run("ezrec", "uninstall")
    assert "/var/lib/ezrec" in said, said
    assert sorted(path.name for path in (guest.root / "var/lib/ezrec/library").rglob("*.mp4")) == films
    assert guest.status("systemctl", "cat", "ezrec")[0]
    for path in ("opt/ezrec-backend", "usr/local/bin/ezrec", "etc/systemd/system/ezrec.service"):
        assert not (guest.root / path).exists(), path
    assert (guest.root / "etc/ezrec/config.toml").exists()


RUN_FOR_DOCS = {  # the commands of docs/, and the step that runs each
    "make install": "written",  # the Makefile's line is the wheel's, from the checkout
    "env PYTHONPATH=ezrec-…-py3-none-any.whl python3 -m ezrec.device install": "installation, upgrade",
    "ezrec setup": "written", "ezrec setup --swap": "written", "systemctl daemon-reload": "written",
    "systemctl restart ezrec": "written", "ezrec check": "written", "systemctl status ezrec": "written",
    "journalctl -u ezrec -n 50": "written", "ezrec films list": "written", "systemd-analyze security ezrec": "written",
    "journalctl -u ezrec-trial -n 50": "written", "ezrec uninstall": "uninstalled",
    "ezrec migrate /opt/ezrec-backend --dry-run": "migrated", "ezrec migrate /opt/ezrec-backend": "migrated",
    "systemctl disable --now ezrec": "back again",
    "systemctl enable --now dual_recorder video_worker ezrec-api system_status.timer": "back again",
    "systemctl stop ezrec": "replaced", "cp -a /mnt/old/var/lib/ezrec/. /var/lib/ezrec/": "replaced",
    "chown -R ezrec:ezrec /var/lib/ezrec": "replaced", "systemctl start ezrec": "replaced",
}


def written(device: Device) -> None:
    """What the pages on installing say works as they say it."""
    guest = device.guest
    shutil.copytree(PROJECT / "ezrec", guest.root / "root/checkout/ezrec", ignore=shutil.ignore_patterns("__pycache__"))
    (guest.root / "root/checkout/requirements").mkdir()
    for name in ("pyproject.toml", "requirements/lock.txt"):
        shutil.copyfile(PROJECT / name, guest.root / "root/checkout" / name)
    lines = (PROJECT / "Makefile").read_text("utf-8").splitlines()
    recipe = next(line for line in lines if "ezrec.device install" in line)
    words = recipe.strip().removeprefix("@").removesuffix(" $(ARGS)").split()
    packed = guest.run("env", "-C", "/root/checkout", "DESTDIR=/root/packed", *words, "--wheels", "/wheels",
                       limit_s=200)
    assert "is installed; nothing is started here" in packed, packed
    assert (guest.root / "root/packed/opt/ezrec-backend/current/venv/bin/python").exists()
    guest.run("ezrec", "setup", "--no-ask")
    for way in (("1", "0"), ("0", "1")):
        guest.run("ezrec", "setup", "--swap")
        text = (guest.root / "etc/ezrec/config.toml").read_text()
        assert tomllib.loads(text)["cameras"]["left"]["id"] == way[0], text
    assert guest.run("stat", "-c", "%U:%G %a", "/etc/ezrec/config.toml").strip() == "root:ezrec 640"
    for command in (name for name, step in RUN_FOR_DOCS.items() if step == "written"):
        if not command.startswith(("make", "ezrec setup")):
            guest.run(*command.split())
    wait_until(device.active, 30, "the recorder to be ready")


SHORT = (installation, written, booking, upgrade, _going_back("no start", "2.0.0"))
ALL = (installation, written, booking, secrets, frozen, crash_loop, upgrade, upgrade_waits, upgrade_looks_ahead,
       _going_back("no start", "2.0.0"), _going_back("crash after a while", "2.1.0"),
       _going_back("failed migration", "2.2.0"),
       _going_back("migration that SQLite does not understand", "2.4.0"),
       _going_back("never ready", "2.3.0"), full_disk, power_cut_in_trial, replaced, migrated,
       uninstalled)


def main() -> int:
    """Go through the steps; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="of the other steps those whose words match this pattern")
    parser.add_argument("--short", action="store_true", help="the installation, one upgrade and one going back")
    wanted = parser.parse_args()
    steps = SHORT if wanted.short else ALL
    steps = [one for one in steps if one is installation or re.search(wanted.only, str(one.__doc__))]
    if reason := missing():
        print(f"device: {reason}", file=sys.stderr)
        return 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ezrec-device-", dir="/var/tmp") as name, Guest(Path(name)) as guest:
        guest.boot()
        print(f"device: a Debian with systemd is up after {time.monotonic() - began:.0f} s", flush=True)
        device = Device(guest, Path(name))
        for step in steps:
            at = time.monotonic()
            try:
                step(device)
            except AssertionError as error:
                print(f"device: not so: {step.__doc__}\n{error}\n{guest.journal()}\n{guest.journal('ezrec-trial')}",
                      file=sys.stderr)
                return 1
            print(f"  ok  {step.__doc__} ({time.monotonic() - at:.0f} s)", flush=True)
    print(f"device: all well; {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
