"""What a run's folder says of the run, so that its footage can be laid onto the calendar without a store.

`segments/<run>/run.json` holds the boot, and the wall clock's offsets as they came to be. It is written before the
run's first segment and again whenever the wall clock steps. Where there is none (an older version's run, a damaged
file), the times at which the segments were written tell the offset to about a second.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

from ezrec import files
from ezrec.domain.clock import SECOND
from ezrec.domain.timeline import Offset

LARGEST = 1 << 20  # bytes
LATEST_US = 4_102_444_800 * SECOND  # UTC, the year 2100: what lies behind it, or before 1970, is damage


@dataclass(frozen=True)
class RunFacts:
    """One run, as its folder tells it."""

    boot_id: str
    offsets: tuple[Offset, ...]  # oldest first, at least one
    estimated: bool = False  # they come from the times of its files


def write(path: Path, facts: RunFacts) -> None:
    """Write a run's facts, durably; the folder above its own must be there. Raises OSError.

    The first ones need a single sync's time: they must be there before the run's first footage is.
    """
    files.make_folders(path.parent, below=path.parent.parent, durable=False)
    offsets = [[offset.from_us, offset.wall_us] for offset in facts.offsets]
    data = json.dumps({"boot_id": facts.boot_id, "offsets": offsets}).encode()
    if path.exists():
        files.write_atomically(path, data)
        return
    path.write_bytes(data)
    path.chmod(files.FILE_MODE)
    files.all_soon(*(partial(files.fsync_folder, folder) for folder in (path.parent.parent, path.parent)),
             partial(files.fsync_file, path))


def read(path: Path) -> RunFacts | None:
    """A run's facts; None if there are none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        raw = json.loads(path.read_text("utf-8"))
        offsets = sorted((int(from_us), int(wall_us)) for from_us, wall_us in raw["offsets"])
        if not offsets or not all(from_us >= 0 and 0 <= from_us + wall_us < LATEST_US for from_us, wall_us in offsets):
            return None
        return RunFacts(str(raw["boot_id"])[:64], tuple(Offset(*offset) for offset in offsets))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def estimate(cameras: Iterable[Sequence[tuple[int, int]]]) -> RunFacts | None:
    """A run's facts from its files: of each camera, in order, a file's start (run-monotonic µs) and when it was last
    written to (UTC µs). None without any file.

    A file is last written to just before the next one starts. The last one of all tells less: it is as long as unknown.
    """
    every = [list(files) for files in cameras]
    starts = [start_us for files in every for start_us, _ in files]
    if not starts:
        return None
    told = [written_us - next_us for files in every for (_, written_us), (next_us, _) in pairwise(files)]
    told = told or [written_us - start_us - SECOND for files in every for start_us, written_us in files[-1:]]
    return RunFacts("", (Offset(min(starts), round(median(told))),), estimated=True)
