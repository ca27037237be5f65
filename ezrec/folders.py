"""The data folder: where every file of a recorder lies, and who may write there.

All names below the data folder stand here and nowhere else. Paths in the store are relative to it, so that it can be
moved to another disk.
"""

import fcntl
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from ezrec import logs
from ezrec.domain.errors import AlreadyRunning, FolderGone, SettingsError
from ezrec.files import FILE_MODE, make_folders, temporary_beside

log = logs.get("opening")

CAMERAS = ("left", "right")

LARGEST_RUN = 2**40
"""A folder of a higher number is no run's: a number in the store must stay far from SQLite's end. New runs are counted
on from whatever folder lies here, so this is far from any number that somebody is likely to try."""


class DataFolder:
    """The places below one data folder. Nothing is made or read here."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.store = self.root / "ezrec.db"
        self.lock = self.root / "ezrec.lock"
        self.state = self.root / "state.json"  # what the running recorder says of itself, for commands beside it
        self.cameras = self.root / "cameras.json"  # which camera was left and which right
        self.trial = self.root / "check" / "film"  # a data folder of its own: what `ezrec check --record` made last
        self.reserve = self.root / "ezrec.db-reserve"  # room for the store that is given up when the disk is full
        self.calibration = self.root / "calibration.json"  # how both cameras look at the court
        self.calibration_picture = self.root / "calibration.jpg"  # the same for people
        self.segments = self.root / "segments"  # <run>/<camera>/<start_us>.ts
        self.aside = self.root / "aside"  # what was found and could not be used
        self.segments_aside = self.segments / "aside"  # the same of segments, which may be on another disk
        self.migrating = self.segments / "migrating"  # a predecessor's footage until it is a run's
        self.films = self.root / "films"  # a folder for each film while it is made
        self.media = self.root / "media"  # logos, intros and calibrations, under the names of their contents
        self.logs = self.root / "logs"
        self.logs_waiting = self.root / "logs-waiting"  # archives that are to be sent
        self.logs_shipped = self.root / "logs-shipped.json"  # up to where they go
        self.copies = self.root / "copies"  # of the store, a few
        self.housekept = self.root / "ezrec.db-housekeeping"  # the day of the newest nightly housekeeping
        self.cleanup_wanted = self.root / "cleanup.wanted"  # a person asks the recorder to clean up
        self.library = self.root / "library"  # finished films, where no cloud takes them

    def path(self, relative: str) -> Path:
        """The file that a row of the store names."""
        return self.root / relative

    def relative(self, path: Path) -> str:
        """A file's name in a row of the store."""
        return path.relative_to(self.root).as_posix()

    def film(self, recording_id: str) -> Path:
        """The folder of a film while it is made."""
        return self.films / recording_id

    def film_file(self, recording_id: str, generation: int) -> Path:
        """A generation's film, from its first chunk on."""
        return self.film(recording_id) / f"film-{generation}.mp4"

    def film_files(self, recording_id: str) -> list[Path]:
        """All generations' films that are on the disk."""
        return list(self.film(recording_id).glob("film-*.mp4"))

    def chunk(self, recording_id: str, generation: int, number: int) -> Path:
        """A rendered chunk."""
        return self.film(recording_id) / f"chunk-{generation}-{number:05d}.mp4"

    def chunks(self, recording_id: str) -> list[Path]:
        """All chunks of a film that are on the disk, of all generations."""
        return list(self.film(recording_id).glob("chunk-*.mp4"))

    def poster(self, recording_id: str) -> Path:
        """A film's poster picture."""
        return self.film(recording_id) / "poster.jpg"

    def picture(self, camera: str) -> Path:
        """What a camera saw when it was last inspected."""
        return self.root / "check" / f"{camera}.jpg"

    def reference(self, camera: str) -> Path:
        """What a camera should see: later pictures are compared with it."""
        return self.root / "reference" / f"{camera}.jpg"

    def run(self, run: int) -> Path:
        """A run's folder."""
        return self.segments / str(run)

    def run_facts(self, run: int) -> Path:
        """What a run's folder says of the run, for when there is no store."""
        return self.run(run) / "run.json"

    def runs(self) -> list[int]:
        """The runs that have a folder here, in order. Raises OSError."""
        return sorted(run for path in _inside(self.segments) if _is_own_folder(path) and (run := _number(path.name)))

    def segment_files(self) -> list[Path]:
        """Everything on the disk that has a segment's name, with a row or without, a file or not, run by run.

        A folder that cannot be read costs nothing but what lies in it.
        """
        found: list[Path] = []
        for place in [self.run(run) / camera for run in self.runs() for camera in CAMERAS]:
            with _costs_only_itself():
                found += [path for path in _inside(place) if path.suffix == ".ts"]
        return found

    def is_segment(self, path: Path) -> bool:
        """Whether a path, as a row of the store names it, can be a segment's: nothing else is deleted for one."""
        parts = path.parts[len(self.segments.parts):]
        return path.is_relative_to(self.segments) and len(parts) == 3 and parts[0].isdecimal() and parts[1] in CAMERAS

    def unusable(self) -> list[Path]:
        """What lies where a file or folder of ours should be, and is none. Raises OSError."""
        asides = [self.aside, self.segments_aside]  # first: everything else goes there
        folders = [self.segments, self.films, self.media, self.logs, self.library, self.copies, self.logs_waiting,
                   self.picture("").parent, self.reference("").parent]
        plain = [self.lock, self.state, self.cameras, self.reserve, self.housekept, self.cleanup_wanted,
                 self.calibration, self.calibration_picture, self.logs_shipped]
        found = [path for path in asides if os.path.lexists(path)
                 and not (path.is_dir() and os.access(path, os.W_OK | os.X_OK))]
        found += [path for path in folders if os.path.lexists(path) and not path.is_dir()]
        found += [path for path in plain if os.path.lexists(path) and not path.is_file()]
        if self.segments.is_dir():
            found += [path for path in _inside(self.segments) if path != self.segments_aside
                      if not _is_own_folder(path) or (path.name.isdecimal() and not _number(path.name))]
            found += [path for run in self.runs() for path in self._foreign_in(self.run(run))]
        if self.films.is_dir():
            found += [path for path in _inside(self.films) if not path.is_dir()]
        return found

    def _foreign_in(self, run: Path) -> list[Path]:
        """What lies in a run's folder and is neither a camera's folder nor the run's facts."""
        found: list[Path] = []
        with _costs_only_itself():
            found += [path for path in _inside(run)
                      if not (_is_own_folder(path) if path.name in CAMERAS else self._is_facts(path))]
        return found

    def _is_facts(self, path: Path) -> bool:
        return path.is_file() and (path.name == "run.json" or path.suffix == ".tmp")

    def set_aside(self) -> list[Path]:
        """What lies aside."""
        return [path for aside in (self.aside, self.segments_aside) for path in _inside(aside)]

    def put_aside(self, path: Path) -> Path:
        """Take anything below this folder out of the way, whole; where it lies now. A link goes, not what it names.

        Segments go to `segments_aside`, everything else to `aside`. It is not durable, so that thousands take no longer
        than a start may: what a power cut brings back goes again.

        Raises:
            OSError: it cannot be moved.
        """
        segment = path != self.segments and path.is_relative_to(self.segments)
        aside = self.segments_aside if segment else self.aside
        name = "-".join(path.relative_to(aside.parent).parts).lstrip(".")[-200:]
        if path == aside:  # what lies in that folder's own place makes room for it first
            path = path.rename(temporary_beside(path).with_suffix(".aside"))
        make_folders(aside, below=self.root)
        place, number = aside / name, 1
        while os.path.lexists(place):
            number += 1
            place = aside / f"{name}.{number}"
        return path.rename(place)

    def make_way(self, *files: Path) -> None:
        """Make the folders of files that are about to be written; what lies there and is none, or in a file's place and
        is a folder, goes aside. Raises OSError.
        """
        for path in files:
            if os.path.lexists(path.parent) and not path.parent.is_dir():
                self.put_aside(path.parent)
            make_folders(path.parent, below=self.root)
            if _is_own_folder(path):
                self.put_aside(path)

    def unfinished_files(self) -> list[Path]:
        """Files that were being written when a process was killed: `files.temporary_beside` names them.

        Version 0.1.0 also wrote `<name>.<pid>.tmp`.
        """
        folders = ("", "media/", "films/*/", "check/", "reference/", "segments/*/", "logs-waiting/")
        return [path for folder in folders for path in self.root.glob(f"{folder}*.tmp")
                if path.is_file() and not path.parent.is_symlink()]


class DataLock:
    """The right to record into a data folder: a lock on a file in it, which the kernel drops when its owner dies.

    The file itself stays: removing it would let two processes hold locks on two files of one name.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._path = folder.lock
        self._handle: int | None = None

    def take(self) -> None:
        """Take the lock, or refuse at once.

        Raises:
            AlreadyRunning: another process (or another lock of this one) has it.
            SettingsError: the data folder is missing or cannot be written.
        """
        if self._handle is not None:
            raise AlreadyRunning(f"this process has locked {self._path.parent} already")
        try:
            if os.path.lexists(self._path) and not self._path.is_file():
                self._folder.put_aside(self._path)
            handle = self._open()
        except OSError as error:
            raise SettingsError(f"the data folder {self._path.parent} cannot be used: {error.strerror}"
                                f"{self._owner()}; make it, and give it to the user that runs EZREC") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(handle)
            os.close(handle)
            if not isinstance(error, BlockingIOError):
                raise SettingsError(f"{self._path} cannot be locked: {error.strerror}; "
                                    "put the data folder on a local disk") from error
            raise AlreadyRunning(f"{holder} uses {self._path.parent}; stop it first (`systemctl stop ezrec`, or end "
                                 "that process), or choose another data folder") from None
        with suppress(OSError):  # the disk is full: the lock holds, it only does not say whose it is
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except PermissionError:  # another user's, who ran EZREC here once: to be locked it need not be written
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def _owner(self) -> str:
        """Whose the lock's file is, if it is another user's: one who ran EZREC here once."""
        try:
            owner = self._path.stat().st_uid
        except OSError:
            return ""
        return f" ({self._path} belongs to {_user(owner)})" if owner != os.geteuid() else ""

    def check(self) -> None:
        """See that the folder is still the one that was locked. Blocks on the disk.

        Raises:
            FolderGone: it was moved, replaced or unmounted; what is written to its path from now on would be lost.
        """
        try:
            same = self._handle is not None and os.path.samestat(os.fstat(self._handle), self._path.stat())
        except OSError:
            same = False
        if not same:
            raise FolderGone(f"the data folder {self._path.parent} is not the one that was opened any more: "
                             "it was moved, replaced or unmounted")

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def _holder(handle: int) -> str:
    """Who holds the lock on an open file, in words. The file itself is asked last: who wrote into it may be dead, and
    its number another program's by now.
    """
    written = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
    for pid in _lockers(os.fstat(handle)):
        words, user = _program(pid)
        if _is_recorder(words):
            return f"another recorder (process {pid})"
        return f"a program that is no recorder ({' '.join(words)[:80] or 'unknown'}, user {user}, process {pid})"
    if written.isdecimal() and _is_recorder(_program(int(written))[0]):
        return f"another recorder (process {written})"
    dead = f"; process {written}, which the lock's file names, is none" if written else ""
    return f"a program that cannot be seen from here, in another container say{dead},"


def _is_recorder(words: list[str]) -> bool:
    return any(Path(word).name == "ezrec" for word in words)  # `ezrec run`, `python -m ezrec run`


def _program(pid: int) -> tuple[list[str], str]:
    """A process's command and user; nothing if there is none."""
    try:
        process = psutil.Process(pid)
        return list(process.cmdline()), str(process.username())
    except (psutil.Error, OverflowError):
        return [], ""


def _lockers(file: os.stat_result) -> list[int]:
    """The processes that hold a lock of flock(2) on a file (proc(5), /proc/locks)."""
    wanted = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    try:
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return []
    found = [line.split() for line in lines if "->" not in line]  # "->": one that waits for the lock
    return [int(words[4]) for words in found if words[1] == "FLOCK" and words[5] == wanted and int(words[4]) > 0]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder, by name; numbers in their order. Nothing if there is no such folder. Raises OSError."""
    try:
        return sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name) if path.stem.isdecimal()
                      else (1 << 16, path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_own_folder(path: Path) -> bool:
    """Whether it is a folder and no link to one: what a link names may be anybody's. Raises OSError."""
    return path.is_dir() and not path.is_symlink()


@contextmanager
def _costs_only_itself() -> Iterator[None]:
    """A folder that cannot be read is said to be so, and whoever looks through all of them goes on with the next."""
    try:
        yield
    except OSError as error:
        log.error("folder cannot be read, left as it is", error=str(error))  # noqa: TRY400 - foreseen


def _number(name: str) -> int:
    """The run that a folder of this name belongs to; 0 if it is none's."""
    return int(name) if name.isascii() and name.isdecimal() and len(name) <= len(str(LARGEST_RUN)) \
        and str(int(name)) == name and int(name) < LARGEST_RUN else 0
