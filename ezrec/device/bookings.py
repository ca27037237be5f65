"""Whether the recorder records now, or is about to: an upgrade waits for that.

The recorder says it in its state file. One that says nothing is none that could be disturbed.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

LOOK_EVERY_S = 5.0
SAY_EVERY_S = 300.0
STALE_S = 20.0  # a state that is older tells nothing of now; as ezrec.actions.state has it


def recorded(data: Path, now_s: float) -> str | None:
    """The booking that is being recorded; None if none is, or if no recorder runs."""
    try:
        state = data / "state.json"
        if now_s - state.stat().st_mtime > STALE_S:
            return None
        row = json.loads(state.read_text("utf-8"))
        os.kill(int(row["pid"]), 0)
        return str(row["current_booking_id"]) if row["current_booking_id"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def wait_for_end(data: Path, say: Callable[[str], None], *, now: Callable[[], float] = time.time,
                 sleep: Callable[[float], None] = time.sleep) -> None:
    """Return once nothing is recorded; two looks must agree, for one booking may follow another at once."""
    quiet, said_s = 0, -SAY_EVERY_S
    while True:
        booking = recorded(data, now())
        quiet = 0 if booking else quiet + 1
        if quiet >= 2 or (quiet and said_s < 0):
            return
        if booking and now() - said_s >= SAY_EVERY_S:
            said_s = now()
            say(f"booking {booking} is being recorded; the upgrade waits for its end (--now: it does not)")
        sleep(LOOK_EVERY_S)
