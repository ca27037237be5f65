"""The state file: what the running recorder says of itself, for commands beside it. `device` writes it.

Apart from `device`, because a command that reads it should not have to load what the recorder needs.
"""

import json
from datetime import datetime
from typing import Any

import psutil

from ezrec.domain.clock import SECOND
from ezrec.folders import DataFolder

WRITE_EVERY_S = 5.0
STALE_S = 4 * WRITE_EVERY_S  # a file that is older tells nothing of now


def read(folder: DataFolder, now_us: int) -> dict[str, Any] | None:
    """What the recorder on a data folder said of itself last: a row of `system_status` with `pid`, `run` and
    `written_mb_per_hour` (what an hour of recording writes to the disk).

    None if none runs there, if it has not said anything for `STALE_S`, or if this user may not read it.
    """
    try:
        if now_us - folder.state.stat().st_mtime_ns // 1000 > STALE_S * SECOND:
            return None
        row = json.loads(folder.state.read_text("utf-8"))
        return dict(row) if psutil.pid_exists(int(row["pid"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def last_words(folder: DataFolder) -> tuple[int, int] | None:
    """Which run wrote the state file that lies there, and when (UTC µs); None if there is none, or it tells nothing.

    One that stopped in order has taken it away. Blocks.
    """
    try:
        row = json.loads(folder.state.read_text("utf-8"))
        return int(row["run"]), round(datetime.fromisoformat(row["updated_at"]).timestamp() * SECOND)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
