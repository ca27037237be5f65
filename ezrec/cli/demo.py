"""`ezrec demo`: the whole job in half a minute, on simulated cameras or on two video files, with a verdict per step."""

import asyncio
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ezrec import logs
from ezrec.cli import story, words
from ezrec.cli.playing import LOCAL, Nowhere, Run, play, say_steps, verdicts
from ezrec.cli.settings import CommandContext, zone_of
from ezrec.config import Settings
from ezrec.domain.showing import visible
from ezrec.domain.stages import Stage

PICTURE = {"width": 1280, "height": 720, "bitrate": 4_000_000}
STOPPED = 130  # exit status of a program that Ctrl-C ended


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
    logs.set_up(settings.logs.level, folder / "logs", stream=Nowhere())
    console = words.console()
    what = f": {seconds} s of a match from {_cameras(left, right)}; data in {folder}"
    console.print(Text.assemble(("EZREC demo", "bold"), visible(what)), soft_wrap=True)
    run = asyncio.run(play(settings, seconds, console, "demo"))
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
    return LOCAL | {"cameras": cameras, "film": film, "disk": {"min_free_mb": 200},
                    "paths": {"library": "", "logs": ""}}


def _report(console: Console, run: Run, settings: Settings, *, simulated: bool) -> bool:
    """Say how every step went; whether all of them did."""
    folder, zone = settings.paths.data, zone_of(settings)
    steps = run.steps
    film = run.film
    if film is None or film.url is None or not all(done for done, _ in steps):
        say_steps(console, steps)
        reason = film.parked_reason if film and film.parked_reason else "the log says why"
        console.print(Text.assemble(("The demo did not come to its end", "red"),
                                    visible(f": {reason}: {folder / 'logs' / 'ezrec.log'}")), soft_wrap=True)
        return False
    path = Path(words.place(film.url))
    steps += verdicts(path, film, simulated=simulated)
    say_steps(console, steps)
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


def _cameras(left: Path | None, right: Path | None) -> str:
    return f"{left.name} and {right.name}" if left and right else "two simulated cameras"


