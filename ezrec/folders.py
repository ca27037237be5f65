"""The data folder: where every file of a recorder lies, and who may write there.

All names below the data folder stand here and nowhere else. Paths in the store are relative to it, so that it can be
moved to another disk.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from ezrec.domain.errors import AlreadyRunning, SettingsError
from ezrec.files import FILE_MODE


class DataFolder:
    """The places below one data folder. Nothing is made or read here."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.store = self.root / "ezrec.db"
        self.lock = self.root / "ezrec.lock"
        self.state = self.root / "state.json"  # what the running recorder says of itself, for commands beside it
        self.cameras = self.root / "cameras.json"  # which camera was left and which right
        self.segments = self.root / "segments"  # <run>/<camera>/<start_us>.ts
        self.aside = self.segments / "aside"  # what was found and could not be used
        self.films = self.root / "films"  # a folder for each film while it is made
        self.media = self.root / "media"  # logos and intros, under the names of their contents
        self.logs = self.root / "logs"
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

    def segment_files(self) -> list[Path]:
        """All segments on the disk, with a row or without, in the order of their names."""
        return sorted(self.segments.glob("[0-9]*/*/*.ts"))

    def unfinished_files(self) -> list[Path]:
        """Files that were being written when a process was killed: `files.temporary_beside` names them.

        Version 0.1.0 also wrote `<name>.<pid>.tmp`.
        """
        folders = ("", "media/", "films/*/", "check/", "reference/")
        return [path for folder in folders for path in self.root.glob(f"{folder}*.tmp") if path.is_file()]


class DataLock:
    """The right to record into a data folder: a lock on a file in it, which the kernel drops when its owner dies.

    The file itself stays: removing it would let two processes hold locks on two files of one name.
    """

    def __init__(self, folder: DataFolder) -> None:
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
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise SettingsError(f"the data folder {self._path.parent} cannot be used: {error.strerror}; "
                                "make it, and give it to the user that runs EZREC") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            os.close(handle)
            if not isinstance(error, BlockingIOError):
                raise SettingsError(f"{self._path} cannot be locked: {error.strerror}; "
                                    "put the data folder on a local disk") from error
            raise AlreadyRunning(
                f"another recorder (process {holder or 'unknown'}) uses {self._path.parent}; stop it first "
                "(`systemctl stop ezrec`, or end that process), or choose another data folder") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

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
