"""Whether the recorder records now, or is about to: an upgrade waits for that.

The recorder says it in its state file. One that says nothing is none that could be disturbed.
"""

import json
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

LOOK_EVERY_S = 5.0
SAY_EVERY_S = 300.0
AHEAD_S = 300.0  # a booking that begins so soon is waited for: a release that is never ready takes 3 minutes to go back
STALE_S = 20.0  # a state that is older tells nothing of now; as ezrec.actions.state has it


def recorded(data: Path, now_s: float) -> str | None:
    """The booking that is being recorded; None if none is, or if no recorder runs."""
    booking = _state(data, now_s).get("current_booking_id")
    return str(booking) if booking else None


def begins_in_s(data: Path, now_s: float) -> float | None:
    """In how many seconds the next booking begins; None if none is near, or if no recorder runs."""
    try:
        return datetime.fromisoformat(_state(data, now_s)["next_booking_at"]).timestamp() - now_s
    except (KeyError, TypeError, ValueError):
        return None


def _state(data: Path, now_s: float) -> dict[str, Any]:
    """What a recorder that lives says of itself; {} if none does."""
    try:
        state = data / "state.json"
        if now_s - state.stat().st_mtime > STALE_S:
            return {}
        row = json.loads(state.read_text("utf-8"))
        os.kill(int(row["pid"]), 0)
        return dict(row)
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def wait_for_end(data: Path, say: Callable[[str], None], *, now: Callable[[], float] = time.time,
                 sleep: Callable[[float], None] = time.sleep) -> None:
    """Return once nothing is recorded and no booking is near; two looks must agree, for one may follow another."""
    quiet, said_s = 0, -SAY_EVERY_S
    while True:
        why = _why_not(data, now())
        quiet = 0 if why else quiet + 1
        if quiet >= 2 or (quiet and said_s < 0):
            return
        if why and now() - said_s >= SAY_EVERY_S:
            said_s = now()
            say(f"{why}; the upgrade waits for its end (--now: it does not)")
        sleep(LOOK_EVERY_S)


def _why_not(data: Path, now_s: float) -> str:
    if booking := recorded(data, now_s):
        return f"booking {booking} is being recorded"
    near_s = begins_in_s(data, now_s)
    return f"a booking begins in {near_s:.0f} s" if near_s is not None and near_s < AHEAD_S else ""
