"""What a camera's faults cost, measured: the real program with the real Picamera2 on the stand-in for libcamera.

Each fault is made while both cameras record a booking; the log says when it was noticed, the film's certificate what
is missing. Where the process leaves, it is started again after a moment, as the systemd unit does. Writes the table
into docs/cameras.md.

    make faults
"""

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.fakes.site import Site  # noqa: E402
from tests.fakes.waiting import wait_until  # noqa: E402

DOCUMENT = ROOT / "docs" / "cameras.md"
BEGIN, END = "<!-- faults: made by `make faults` -->\n", "<!-- end of faults -->\n"
CAMERAS = {"source": "picamera2", "width": 640, "height": 360, "fps": 30, "bitrate": 1_000_000, "lead_s": 2.0,
           "keyframe_s": 1.0}
RESTART_S = 0.2  # RestartSec of the unit
LEAD_S, FAULT_AT_S = 4.0, 4.0  # before the window; into it


@dataclass(frozen=True)
class Fault:
    """One row: what happens, how it is made, and what of the log says that it was noticed."""

    name: str
    how: str
    faults: Mapping[str, Any]
    lasts_s: float | None  # None: until it is noticed
    noticed: str  # an event, or `exit`
    window_s: float = 18.0
    before_s: float = FAULT_AT_S
    kill: bool = False


FAULTS = [
    Fault("a camera stalls, a new start helps", "no frame, nothing said",
          {"stalls_until_restarted": True}, 1.0, "camera silent, starting it again"),
    Fault("a camera stalls, only opening it anew helps", "no frame, nothing said, before and after a new start",
          {"stalls_until_reopened": True}, 1.0, "camera silent, starting it again"),
    Fault("a camera is lost for 6 s", "not listed, no frame", {"absent": True}, 6.0,
          "camera silent, starting it again", 24.0),
    Fault("a camera stalls, and no memory can be had for 5 s", "no frame; no buffers for who opens it anew",
          {"stalls_until_reopened": True, "no_memory": True}, 5.0, "camera silent, starting it again", 24.0),
    Fault("somebody else has the camera for 5 s", "busy when the recorder opens it", {"busy": True}, 5.0,
          "camera lost", 18.0, before_s=-2.5),
    Fault("a camera stalls, and to stop it hangs", "no frame; `stop` never returns",
          {"stalled": True, "stop_hangs_s": 3600}, None, "exit", 24.0),
    Fault("the same, and libcamera keeps the interpreter", "no frame; `stop` never returns, nor lets Python run",
          {"stalled": True, "stop_holds_s": 3600}, None, "exit", 24.0),
    Fault("the process is killed", "SIGKILL", {}, None, "exit", kill=True),
]


@dataclass(frozen=True)
class Measured:
    """Seconds; `after` says from when the recovery counts."""

    fault: Fault
    noticed: float
    recovered: float
    lost: float
    other_lost: float
    status: int | None


def measure(fault: Fault) -> Measured:
    """Make one fault, and see what it costs."""
    with tempfile.TemporaryDirectory(prefix="ezrec-faults-") as folder:
        site = Site(Path(folder), cameras=CAMERAS, recorder={"segment_s": 4.0})
        try:
            return _measure(site, fault)
        finally:
            site.end()


def _measure(site: Site, fault: Fault) -> Measured:
    site.start()
    site.wait_said("ready")
    starts, ends = site.book("match", LEAD_S, LEAD_S + fault.window_s)
    wait_until(lambda: time.time() >= starts + fault.before_s, 60, "the moment")
    made = time.time()
    if fault.kill:
        site.kill()
    else:
        site.faults(left=fault.faults)
    status: int | None = None
    if fault.noticed == "exit":
        status = site.wait_dead()
        noticed = healed = time.time()
        site.faults()
        threading.Event().wait(RESTART_S)
        site.start()
    else:
        wait_until(lambda: time.time() >= made + (fault.lasts_s or 0), 60, "the end of the fault")
        site.faults()
        healed = time.time() if fault.lasts_s and fault.lasts_s > 2 else made
        site.wait_said(fault.noticed, camera="left")
        noticed = _said_at(site.said(fault.noticed, camera="left")[0])
    site.wait_stage("match", "cleaned", limit_s=ends - time.time() + 120)
    certificate, _ = site.check("match")
    left, both, right = (_gaps(certificate, camera) for camera in ("left", "both", "right"))
    back = max((_instant(gap["to"]) for gap in certificate["gaps"] if gap["camera"] in ("left", "both")),
               default=made)
    return Measured(fault, noticed - made, max(0.0, back - healed), left + both, right + both, status)


def _gaps(certificate: Mapping[str, Any], camera: str) -> float:
    return sum(gap["seconds"] for gap in certificate["gaps"] if gap["camera"] == camera)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _said_at(line: Mapping[str, Any]) -> float:
    return _instant(str(line["at"]))


def table(rows: list[Measured]) -> str:
    """The table, with what it was measured on."""
    lines = ["| fault | how it was made | noticed after | recovered after | lost: this camera | lost: the other one |",
             "|---|---|---|---|---|---|"]
    for row in rows:
        since = " (of its end)" if row.fault.lasts_s and row.fault.lasts_s > 2 else (
            f" (of the exit, {_how(row.status)})" if row.status is not None else "")
        lines.append(f"| {row.fault.name} | {row.fault.how} | {row.noticed:.1f} s | {row.recovered:.1f} s{since} | "
                     f"{row.lost:.1f} s | {row.other_lost:.1f} s |")
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    lines += ["", (f"Measured {datetime.now(UTC):%Y-%m-%d} on {where}, Picamera2 on the stand-in for libcamera, "
                   f"2 x 640x360 at 30 a second, films made meanwhile, started again {RESTART_S} s after it left.")]
    return "\n".join(lines) + "\n"


def _how(status: int | None) -> str:
    return f"status {status}" if status is None or status >= 0 else f"signal {-status}"


def put(text: str, document: Path = DOCUMENT) -> None:
    """Write the table into its place."""
    whole = document.read_text("utf-8")
    before, rest = whole.split(BEGIN)
    after = rest.split(END)[1]
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="measure faults with this word in their name, and only print")
    only = parser.parse_args().only
    rows = []
    for fault in FAULTS:
        if only and only not in fault.name:
            continue
        rows.append(measure(fault))
        say(f"{fault.name}: noticed {rows[-1].noticed:.2f} s, recovered {rows[-1].recovered:.2f} s, "
            f"lost {rows[-1].lost:.2f} s, the other {rows[-1].other_lost:.2f} s, exit {rows[-1].status}")
    if not only:
        put(table(rows))
    say(table(rows))


if __name__ == "__main__":
    main()
