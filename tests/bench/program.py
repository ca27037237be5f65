"""The bench's command line and its table."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
from rich.console import Console
from rich.status import Status
from rich.table import Table

from tests.bench import backlog, film_cost, fleet, idle, live, pi, recorder, upload
from tests.bench.result import LEFT_OUT, Plan, Row, Say

NAMES = ("film", "recorder", "backlog", "pi", "live", "idle", "upload", "fleet")


def run() -> int:
    """Measure what was asked for; the exit status."""
    asked = _arguments()
    console = Console(highlight=False)
    ffmpeg = find_ffmpeg() if "film" in asked.only else ""
    folder = Path(tempfile.mkdtemp(prefix="ezrec-bench-", dir=asked.folder))
    plan = Plan.of(folder, quick=asked.quick)
    steps: dict[str, Callable[[Say], list[Row]]] = {
        "film": lambda say: film_cost.measure(plan, ffmpeg, say),
        "recorder": lambda say: recorder.measure(plan, say),
        "backlog": lambda say: backlog.measure(plan, say),
        "pi": lambda say: pi.measure(plan, say),
        "live": lambda say: live.measure(plan, say),
        "idle": lambda say: idle.measure(plan, say),
        "upload": lambda say: upload.measure(plan, say),
        "fleet": lambda say: fleet.measure(plan, say),
    }
    facts = machine(ffmpeg)
    console.print("[bold]EZREC bench[/bold]" + (" (quick: short windows, few rounds)" if plan.quick else ""))
    for name, value in facts.items():
        console.print(f"  {name}: {value}", style="dim")
    rows: list[Row] = []
    try:
        for name in asked.only:
            rows += _step(console, name, steps[name])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(_table(rows, plan))
    if asked.json:
        asked.json.write_text(json.dumps({"machine": facts, "quick": plan.quick, "rows": [asdict(row) for row in rows]},
                                         indent=2), "utf-8")
    left_out = [row for row in rows if row.measured == LEFT_OUT]
    for row in left_out:
        console.print(f"[yellow]left out: {row.what}: {row.how}[/yellow]")
    missed = [row.what for row in rows if row.good is False]
    reached = f"[green]all {'other ' if left_out else ''}goals reached[/green]"
    console.print(f"[red]missed: {'; '.join(missed)}[/red]" if missed else reached)
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what the design promises, on this machine.")
    parser.add_argument("--quick", action="store_true", help="about seven minutes in place of 45")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--only", type=_names, default=NAMES, metavar="NAME,…", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--folder", type=Path, help="where to work, on the disk that counts; default: /tmp")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return names


def _step(console: Console, name: str, work: Callable[[Say], list[Row]]) -> list[Row]:
    """Run one part; on a terminal a line shows what it does, elsewhere each new thing is printed once."""
    if not console.is_terminal:
        said: set[str] = set()

        def say_once(text: str) -> None:
            what = text.partition(": ")[0] if " to go" in text or "waiting" in text else text
            if what not in said:
                said.add(what)
                console.print(f"  {name}: {what}")

        return work(say_once)
    # Refreshed by hand: a thread that draws a spinner would count as CPU time of what is measured.
    status = Status(name, console=console)
    live = status._live
    live.auto_refresh = False
    with status:
        def say(text: str) -> None:
            status.update(f"{name}: {text}")
            live.refresh()

        return work(say)


def _table(rows: list[Row], plan: Plan) -> Table:
    table = Table(title="Numbers to reach" + (" (quick)" if plan.quick else ""), show_lines=True)
    for column in ("what", "goal", "measured", "verdict", "how"):
        table.add_column(column, ratio=3 if column == "how" else None, min_width=8)
    words = {True: "[green]reached[/green]", False: "[red]missed[/red]", None: "-"}
    for row in rows:
        table.add_row(row.what, row.goal, row.measured, words[row.good], row.how)
    return table


def find_ffmpeg() -> str:
    """An ffmpeg with libx264 to compare with: the system's, or the one that the package imageio-ffmpeg brings."""
    found = shutil.which("ffmpeg")
    if found is None:
        try:
            from imageio_ffmpeg import get_ffmpeg_exe  # noqa: PLC0415 - a fallback that few have

            found = str(get_ffmpeg_exe())
        except (ImportError, RuntimeError):
            sys.exit("the bench compares with ffmpeg, which is not here: `apt-get install ffmpeg`, "
                     "or `pip install imageio-ffmpeg`, or leave that part out: --only recorder,live,idle,upload")
    encoders = subprocess.run([found, "-hide_banner", "-encoders"], text=True, capture_output=True, check=False).stdout
    if "libx264" not in encoders:
        sys.exit(f"{found} has no libx264 to compare with; install Debian's: apt-get install ffmpeg")
    return found


def machine(ffmpeg: str) -> dict[str, str]:
    """What this is measured on."""
    cpu = next((line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
                if line.startswith(("model name", "Model"))), platform.machine())
    versions = ""
    if ffmpeg:
        versions = subprocess.run([ffmpeg, "-version"], text=True, capture_output=True, check=False).stdout
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return {
        "machine": f"{cpu}, {len(os.sched_getaffinity(0))} cores, {psutil.virtual_memory().total / 1e9:.0f} GB, "
                   f"Linux {platform.release()}, load before {load}",
        "python": f"{platform.python_version()}, PyAV {av.__version__} (libavcodec {codec}), numpy {np.__version__}, "
                  f"OpenCV {cv2.__version__}",
    } | ({"ffmpeg": versions.split(" Copyright")[0].removeprefix("ffmpeg version ")} if ffmpeg else {})
