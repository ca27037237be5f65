"""`ezrec demo`: the whole job in half a minute, on simulated cameras or on two video files, with a verdict per step."""

import asyncio
import io
import shlex
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from ezrec import logs
from ezrec.cli import story, words
from ezrec.cli.settings import CommandContext, opened, zone_of
from ezrec.config import Settings
from ezrec.domain.booking import Booking
from ezrec.domain.certificate import Certificate
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia, EzrecError
from ezrec.domain.events import StageChanged
from ezrec.domain.film import Film
from ezrec.domain.showing import visible
from ezrec.domain.stages import Stage
from ezrec.store import Store

PICTURE = {"width": 1280, "height": 720, "bitrate": 4_000_000}
STOPPED = 130  # exit status of a program that Ctrl-C ended
PATIENCE_S = 600  # after the window's end, on a very slow machine
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
    """One demo: what was booked, and when which stage was seen (wall clock, s)."""

    booking_id: str
    ends_at_s: float
    reached: dict[Stage, float] = field(default_factory=dict)
    film: Film | None = None
    stopped: bool = False  # by a signal


def demo(
    context: typer.Context,
    seconds: Annotated[int, typer.Option(min=2, max=3600, help="How long the booked window is.")] = 12,
    left: Annotated[Path | None, typer.Option(
        exists=True, dir_okay=False, help="Video file instead of the left camera.")] = None,
    right: Annotated[Path | None, typer.Option(
        exists=True, dir_okay=False, help="Video file instead of the right camera.")] = None,
    overlap: Annotated[float | None, typer.Option(min=0, max=0.5, help="Part of a view's width that both see.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder.  [default: ezrec-demo]")] = None,
) -> None:
    """Record a made-up booking, make its film, publish it locally, and say how each step went.

    Everything is real but the cameras: segments, chunks, the growing film, the library, the videos row. With --left and
    --right two video files play the cameras, in real time and looped. Exit status 0 only if every step worked.
    """
    if (left is None) != (right is None):
        raise typer.BadParameter("--left and --right go together")
    from ezrec.media import demo_media  # noqa: PLC0415 - OpenCV and PyAV, wanted by no other command

    command: CommandContext = context.obj
    folder = (data or command.data or Path("ezrec-demo")).absolute()
    logos, intro = demo_media.make(folder / "venue")
    given = {key for key, _, origin in command.load().describe() if origin != "default"}
    settings = CommandContext(command.config, folder).load(**_overrides(logos, intro, left, right, overlap, given))
    logs.register_secrets(settings)
    logs.set_up(settings.logs.level, folder / "logs", stream=_Nowhere())
    console = words.console()
    what = f": {seconds} s of a match from {_cameras(left, right)}; data in {folder}"
    console.print(Text.assemble(("EZREC demo", "bold"), visible(what)), soft_wrap=True)
    run = asyncio.run(_play(settings, seconds, console))
    logs.shut_down()
    if run.stopped:
        words.say("stopped before the film was done; `ezrec demo` begins a new one", error=True)
        raise typer.Exit(STOPPED)
    if not _report(console, run, settings, simulated=left is None):
        raise typer.Exit(1)


def _overrides(logos: dict[str, Path], intro: Path, left: Path | None, right: Path | None, overlap: float | None,
               given: Collection[str]) -> dict[str, Any]:
    """The demo's settings over the venue's own: nothing real is booked, published or kept by a demo.

    `given` holds the keys that the venue's settings give; of the picture those count.
    """
    corners = {"sponsor": "top_left", "company": "top_right"}
    film: dict[str, Any] = {
        "intro": intro, "keep_segments_h": 0,
        "logos": [{"name": name, "file": file, "position": corners[name]} for name, file in logos.items()]}
    cameras: dict[str, Any] = {name: value for name, value in PICTURE.items() if f"cameras.{name}" not in given}
    cameras |= {"source": "simulated", "dual": True, "lead_s": 2}
    if left:
        cameras |= {"source": "replay", "replay": {"left": left, "right": right}}
        film["overlap"] = overlap or 0.0
    elif overlap is not None:
        film["overlap"] = overlap
        cameras["simulated"] = {"overlap": overlap}
    return {"cameras": cameras, "film": film, "disk": {"min_free_mb": 200}, "paths": {"library": "", "logs": ""},
            "bookings": {"source": "local", "file": "", "poll_s": 1, "pre_roll_s": 0, "post_roll_s": 0},
            "storage": {"kind": "local"}, "publishing": {"kind": "local"},
            "supabase": {"url": "", "key": "", "device_token": ""}}


async def _play(settings: Any, seconds: int, console: Console) -> Run:
    """Book, run the recorder, watch the film until nothing is left to do, stop."""
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
        run = Run(f"demo-{int(starts_at_s)}", starts_at_s + seconds)
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


def _report(console: Console, run: Run, settings: Settings, *, simulated: bool) -> bool:
    """Say how every step went; whether all of them did."""
    folder, zone = settings.paths.data, zone_of(settings)
    steps = [(run.reached.get(stage) is not None, said) for stage, said in STEPS.items()]
    film = run.film
    if film is None or film.url is None or not all(done for done, _ in steps):
        _say(console, steps)
        reason = film.parked_reason if film and film.parked_reason else "the log says why"
        console.print(Text.assemble(("The demo did not come to its end", "red"),
                                    visible(f": {reason}: {folder / 'logs' / 'ezrec.log'}")), soft_wrap=True)
        return False
    path = Path(words.place(film.url))
    steps += _verdicts(path, film, simulated=simulated)
    _say(console, steps)
    console.print()
    words.sentences(console, [*story.certificate_lines(film.certificate, zone), *story.reassurance(film.certificate)])
    good = all(done for done, _ in steps)
    console.print()
    asking = shlex.join(["films", "explain", run.booking_id, "--data", str(folder)])
    console.print(visible(f"its story: {words.program()} {asking}"), soft_wrap=True)
    console.print(visible(str(path)), style="bold", soft_wrap=True)
    console.print(f"available {max(0.0, run.reached[Stage.PUBLISHED] - run.ends_at_s):.1f} s after the window's end",
                  style="bold green" if good else "bold red")
    return good


def _say(console: Console, steps: Sequence[tuple[bool, str]]) -> None:
    """Verdict and words, a line each."""
    grid = Table.grid(padding=(0, 2))
    for done, said in steps:
        grid.add_row(Text("  ok", "green") if done else Text("  failed", "red"), Text(visible(said)))
    console.print(grid)


def _verdicts(path: Path, film: Film, *, simulated: bool) -> list[tuple[bool, str]]:
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


def _cameras(left: Path | None, right: Path | None) -> str:
    return f"{left.name} and {right.name}" if left and right else "two simulated cameras"


class _Nowhere(io.StringIO):
    """A stream that shows nothing: the demo's log is in its file."""

    def write(self, text: str) -> int:
        return len(text)
