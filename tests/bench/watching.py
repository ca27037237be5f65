"""A running recorder seen from outside: memory and CPU of its processes, what they wrote to the disk."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

TICK_S = 2.0  # between two samples


@dataclass(frozen=True)
class Sample:
    """Resident memory at one moment, bytes; pages that processes share count in each."""

    at: float  # monotonic, s
    main: int
    workers: int

    @property
    def all(self) -> int:
        """Of all processes together."""
        return self.main + self.workers


@dataclass
class Watch:
    """Samples of a process and all below it."""

    pid: int
    samples: list[Sample] = field(default_factory=list)

    def look(self) -> None:
        """Take a sample, unless the last one is younger than `TICK_S`."""
        if self.samples and time.monotonic() - self.samples[-1].at < TICK_S:
            return
        main = psutil.Process(self.pid)
        workers = sum(map(_rss, main.children(recursive=True)))
        self.samples.append(Sample(time.monotonic(), main.memory_info().rss, workers))

    def peak(self) -> int:
        """The most that all processes together had."""
        return max(one.all for one in self.samples)

    def growth(self) -> float:
        """The peak of the last third over that of the middle third: 1.0 if memory does not grow.

        Peaks, because a worker that is replaced gives its memory back: a line through all samples would mostly tell
        where in that saw-tooth the measuring began.
        """
        third = len(self.samples) // 3
        middle, last = self.samples[third:2 * third], self.samples[2 * third:]
        return max(one.all for one in last) / max(one.all for one in middle) if third else 1.0

    def slope(self) -> float:
        """Bytes per minute that the main process grew over the last two thirds (least squares)."""
        late = self.samples[len(self.samples) // 3:]
        if len(late) < 3:
            return 0.0
        middle_at = sum(one.at for one in late) / len(late)
        middle = sum(one.main for one in late) / len(late)
        over = sum((one.at - middle_at) ** 2 for one in late)
        return 60 * sum((one.at - middle_at) * (one.main - middle) for one in late) / over


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def cpu_s(pid: int) -> float:
    """CPU seconds of one process so far, all its threads, without its children."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process, of its children that have ended and of those alive."""
    main = psutil.Process(pid)
    used = main.cpu_times()
    total = used.user + used.system + used.children_user + used.children_system
    for child in main.children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])
        except psutil.Error:
            continue
    return float(total)


def written(pid: int) -> int:
    """Bytes that a process, its ended children (the kernel adds theirs to it) and those alive sent to the disk."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            text = Path(f"/proc/{process.pid}/io").read_text("ascii")
        except OSError:
            continue
        total += int(dict(line.split(": ") for line in text.splitlines())["write_bytes"])
    return total
