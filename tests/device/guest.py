"""A device: real systemd and journald in a Debian of its own, in a disk image, without a network.

The Debian tree and the wheels are made once and kept. systemd-nspawn boots the image; commands run in it through
nsenter, and its end is that of its PID 1.

Never boot a folder of this machine instead: with an fstab, systemd's remount would hit this machine's own root. That is
refused here: the root must be a loop device, without an fstab, and with systemd-remount-fs masked.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ezrec.device.constraints import merged
from tests.fakes.waiting import wait_until

PROJECT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
HOME = Path(os.environ.get("LAB_HOME") or CACHE / "ezrec-lab")
SUITE, PYTHON = "trixie", "3.13"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "python3-numpy", "python3-av",
            "ca-certificates", "procps")
SYSTEMS = ("numpy", "av")  # come from the tree's Debian packages
IMAGE_MB = 4096
LIMIT_S = 120.0


def missing() -> str:
    """What this machine lacks, in one line; empty if nothing."""
    if os.geteuid() != 0:
        return "only root can boot a Debian of its own"
    for words, why in ((["losetup", "-f"], "no loop devices"), (["unshare", "-m", "true"], "no mount namespaces")):
        if subprocess.run(words, capture_output=True, check=False).returncode:
            return f"{why} here ({' '.join(words)})"
    if "cgroup2" not in Path("/proc/filesystems").read_text("ascii"):
        return "no cgroup2 in this kernel"
    tools = {"systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap", "mkfs.ext4": "e2fsprogs",
             "nsenter": "util-linux"}
    return "; ".join(f"{tool} not found: apt-get install {package}" for tool, package in tools.items()
                     if not shutil.which(tool))


def do(*words: str, **more: Any) -> str:
    """Run a command; its stdout."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, f"{' '.join(words)}: {(done.stderr or done.stdout)[-2000:]}"
    return done.stdout


def tree() -> Path:
    """The Debian tree, built once."""
    stamp = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    folder = HOME / f"device-{stamp}"
    if (folder / ".complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    mirror = next((line for line in do("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages")
                   .splitlines() if "-security" not in line), "http://deb.debian.org/debian")
    print(f"device: building {folder}", flush=True)
    valid = ['--aptopt=Acquire::Check-Valid-Until "false"'] if os.environ.get("LAB_SNAPSHOT") else []
    do("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", *valid, f"--include={','.join(PACKAGES)}", SUITE,
       str(folder), mirror)
    (folder / "etc/fstab").unlink(missing_ok=True)
    (folder / "etc/systemd/system/systemd-remount-fs.service").symlink_to("/dev/null")
    (folder / "etc/hostname").write_text("court\n")
    (folder / ".complete").touch()
    return folder


def wheels(debian: Path) -> Path:
    """All wheels that an installation in the tree needs, fetched once."""
    ask = ("import json; from importlib.metadata import version; "
           f"print(json.dumps({{name: version(name) for name in {SYSTEMS}}}))")
    brought = json.loads(do("chroot", str(debian), "/usr/bin/python3", "-c", ask))
    pins = (PROJECT / "requirements/lock.txt").read_text("utf-8")
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    stamp = hashlib.sha256(f"{pins}{brought}{wanted}".encode()).hexdigest()[:12]
    folder = HOME / f"wheels-{PYTHON}-{stamp}"
    if (folder / ".complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"device: fetching {folder}", flush=True)
    limits = folder / "constraints.txt"
    limits.write_text(merged(pins, brought), "utf-8")
    do(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version", PYTHON,
       *(f"--platform=manylinux{kind}_{os.uname().machine}" for kind in ("2014", "_2_17", "_2_28", "_2_34")),
       "--dest", str(folder), "--constraint", str(limits), *wanted)
    (folder / ".complete").touch()
    return folder


class Guest:
    """A device that is booted from an image of its own."""

    def __init__(self, folder: Path) -> None:
        """`folder`: an empty one, for the image and the place where it is mounted."""
        self.folder, self.root = folder, folder / "root"
        self._image = folder / "disk.img"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self.pid = 0  # of its PID 1, as this machine sees it

    def __enter__(self) -> Self:
        """Make the image and mount it."""
        debian = tree()
        self.root.mkdir(parents=True)
        with self._image.open("xb") as file:
            file.truncate(IMAGE_MB << 20)
        do("mkfs.ext4", "-q", "-F", "-m", "0", "-d", str(debian), str(self._image))
        self.mount()
        shutil.copytree(wheels(debian), self.root / "wheels")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.off()
        subprocess.run(["umount", str(self.root)], check=False, capture_output=True)
        self._image.unlink(missing_ok=True)

    def mount(self) -> None:
        """Mount the image."""
        do("mount", "-o", "loop", str(self._image), str(self.root))

    def boot(self) -> None:
        """Boot, and wait until all its units were started."""
        device = do("findmnt", "--noheadings", "--output", "SOURCE", "--mountpoint", str(self.root)).strip()
        assert device.startswith("/dev/loop"), f"{self.root} is {device}, no loop device: refused"
        assert not os.path.lexists(self.root / "etc/fstab"), "an fstab in the image: refused"
        masked = self.root / "etc/systemd/system/systemd-remount-fs.service"
        assert os.path.realpath(masked) == "/dev/null", "remounting is not masked: refused"
        with (self.folder / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", "-q", "-D", str(self.root), "--private-network", "--register=no", "--keep-unit",
                 "-b", "--console=read-only"], stdout=console, stderr=console, stdin=subprocess.DEVNULL,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        wait_until(self._found, LIMIT_S, "the guest's PID 1")
        wait_until(lambda: self.status("systemctl", "is-system-running")[1].strip() in ("running", "degraded"), LIMIT_S,
                   "the guest to be up")

    def _found(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, (self.folder / "console").read_text("utf-8", "replace")[-2000:]
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text("ascii").split()
        self.pid = int(children[0]) if children else 0
        return bool(self.pid) and Path(f"/proc/{self.pid}/root/run/systemd/private").exists()

    def off(self) -> None:
        """Pull the plug: its PID 1 is killed, and with it everything in it."""
        if self._nspawn is None:
            return
        with suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
        self._nspawn.wait(LIMIT_S)
        self._nspawn, self.pid = None, 0

    # ---- in it

    def _words(self, *words: str) -> list[str]:
        clean = ["env", "-i", "-C", "/", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                 "HOME=/root", "LANG=C.UTF-8"]
        return ["nsenter", "-t", str(self.pid), "-a", *clean, *words]

    def status(self, *words: str, limit_s: float = LIMIT_S) -> tuple[int, str]:
        """Run a command in it; its exit status, and what it said."""
        done = subprocess.run(self._words(*words), capture_output=True, text=True, check=False,
                              timeout=limit_s)
        return done.returncode, done.stdout + done.stderr

    def run(self, *words: str, limit_s: float = LIMIT_S) -> str:
        """Run a command in it that must end well; what it said."""
        status, said = self.status(*words, limit_s=limit_s)
        assert status == 0, f"in the guest: {' '.join(words)} ({status}): {said[-3000:]}"
        return said

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in it, and do not wait."""
        return subprocess.Popen(self._words(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def show(self, name: str, unit: str = "ezrec") -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", unit, "-p", name, "--value").strip()

    def put(self, path: str, text: str) -> None:
        """Write a file in it."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")

    def journal(self, unit: str = "ezrec", lines: int = 60) -> str:
        """What a unit said last."""
        return self.status("journalctl", "-u", unit, "-n", str(lines), "-o", "cat", "--no-pager")[1]
