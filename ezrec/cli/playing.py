"""A made-up booking that the real recorder records, makes into a film and puts into a library: for `ezrec demo` and
`ezrec check --record`.
"""

import asyncio
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from ezrec.cli import words
from ezrec.cli.settings import opened
from ezrec.domain.booking import Booking
from ezrec.domain.certificate import Certificate
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia, EzrecError
from ezrec.domain.events import StageChanged
from ezrec.domain.film import Film
from ezrec.domain.showing import visible
from ezrec.domain.stages import Stage
from ezrec.store import Store

PATIENCE_S = 600  # after the window's end, on a very slow machine
LOCAL: dict[str, dict[str, Any]] = {
    "bookings": {"source": "local", "file": "", "poll_s": 1, "pre_roll_s": 0, "post_roll_s": 0},
    "storage": {"kind": "local"}, "publishing": {"kind": "local"},
    "supabase": {"url": "", "key": "", "device_token": ""},
    "alerts": {"webhook": "", "webhook_secret": "", "mail_to": []}, "logs": {"ship": "off"},
}
"""Settings over a venue's own: nothing real is booked, published or told."""
STEPS = {
    Stage.RECORDING: "footage of the window reached the disk",
    Stage.RECORDED: "the window closed, all footage durable",
    Stage.RENDERED: "film joined, closed and validated",
    Stage.UPLOADED: "film in the library, length and checksum verified",
    Stage.PUBLISHED: "videos row written",
    Stage.CLEANED: "working files deleted, the film kept",
}


@dataclass
class Run:
    """What was booked, and when which stage was seen (wall clock, s)."""

    booking_id: str
    ends_at_s: float
    reached: dict[Stage, float] = field(default_factory=dict)
    film: Film | None = None
    stopped: bool = False  # by a signal

    @property
    def steps(self) -> list[tuple[bool, str]]:
        """Whether each step was done, and what it is in words."""
        return [(self.reached.get(stage) is not None, said) for stage, said in STEPS.items()]


async def play(settings: Any, seconds: float, console: Console, name: str) -> Run:
    """Book, run the recorder, watch the film until nothing is left to do, stop; the booking's id begins with `name`.

    Raises:
        EzrecError: the recorder does not start.
    """
    from ezrec.supervisor import Supervisor  # noqa: PLC0415

    supervisor = Supervisor(settings)
    async with opened(settings, create=True) as store:
        recorder = asyncio.create_task(supervisor.run(), name="supervisor")
        ready = asyncio.create_task(supervisor.ready.wait())
        await asyncio.wait({recorder, ready}, return_when=asyncio.FIRST_COMPLETED)
        if recorder.done():
            ready.cancel()
            recorder.result()
            raise EzrecError(f"the recorder did not start; its log says why: {settings.paths.log_folder}")
        starts_at_s = time.time() + settings.cameras.lead_s + 1
        run = Run(f"{name}-{int(starts_at_s)}", starts_at_s + seconds)
        await store.put_booking(Booking(run.booking_id, "cli", round(starts_at_s * SECOND),
                                        round(run.ends_at_s * SECOND), "scheduled"))
        try:
            await _watch(store, run, starts_at_s, recorder, console)
            run.stopped = recorder.done() and recorder.result() == 0
        finally:
            supervisor.stop()
            await recorder
    return run


async def _watch(store: Store, run: Run, starts_at_s: float, recorder: asyncio.Task[int], console: Console) -> None:
    seconds = run.ends_at_s - starts_at_s
    with Progress(TextColumn("{task.description:9}"), BarColumn(),
                  TextColumn("{task.completed:5.1f} of {task.total:.1f} s"), TimeElapsedColumn(),
                  TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True)), console=console,
                  transient=not sys.stdout.isatty()) as progress:
        recorded = progress.add_task("recorded", total=seconds, note="")
        made = progress.add_task("made", total=seconds, note="waits for the first seconds of footage")
        while not recorder.done() and time.time() < run.ends_at_s + PATIENCE_S:
            progress.update(recorded, completed=min(max(0.0, time.time() - starts_at_s), seconds))
            run.film = await store.film(run.booking_id)
            if run.film and run.film.recipe:
                rows = await store.chunks(run.booking_id, run.film.generation)
                done = sum(row.chunk.ticks for row in rows if row.rendered) / run.film.recipe.rate
                progress.update(made, completed=max(float(done), progress.tasks[made].completed),
                                note="" if done else "the first piece is being made")
            for entry in await store.events(run.booking_id):
                if isinstance(entry.event, StageChanged):
                    run.reached.setdefault(Stage(entry.event.after), entry.at / SECOND)
            if run.film and (run.film.stage in (Stage.CLEANED, Stage.MISSED) or run.film.parked_reason):
                return
            await asyncio.sleep(0.1)


def say_steps(console: Console, steps: Sequence[tuple[bool, str]]) -> None:
    """Verdict and words, a line each."""
    grid = Table.grid(padding=(0, 2))
    for done, said in steps:
        grid.add_row(Text("  ok", "green") if done else Text("  failed", "red"), Text(visible(said)))
    console.print(grid)


def verdicts(path: Path, film: Film, *, simulated: bool) -> list[tuple[bool, str]]:
    """What the film itself says, against its certificate."""
    from ezrec.adapters.cameras.synthetic.counters import look_at  # noqa: PLC0415 - PyAV, wanted by no other command

    certificate = film.certificate or Certificate()
    cameras = list(certificate.cameras) if simulated else []
    intro = film.recipe.intro.ticks if film.recipe and film.recipe.intro else 0
    try:
        seen = look_at(path, intro, cameras)
    except BadMedia as error:
        return [(False, f"the film decodes from end to end: {error}")]
    shown = next(iter(certificate.cameras.values()))
    found = [(seen.ticks == shown.shown_ticks + shown.filled_ticks,
              f"the film decodes: {seen.ticks} pictures, all there")]
    for camera in cameras:
        said = certificate.cameras[camera]
        counted = seen.repeats(camera), seen.skips(camera)
        text = (f"camera {camera}: {words.many(counted[0], 'frame')} shown twice, {counted[1]} left out, "
                f"and the certificate says {said.repeats} and {said.skips}")
        found.append((counted == (said.repeats, said.skips), text))
    return found


class Nowhere(io.StringIO):
    """A stream that shows nothing: the log is in its file."""

    def write(self, text: str) -> int:
        """Take it."""
        return len(text)
