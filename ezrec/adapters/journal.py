"""The unit's lines in systemd's journal, read by `journalctl` in a process of its own, with limits in time and size."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from ezrec.device.places import UNIT

COMMAND = "journalctl"
LIMIT_S = 30.0
MOST_BYTES = 8 << 20  # of journalctl's JSON that are read
MOST_LINES = 20_000  # the newest
FIRST = "-1h"  # how far back the first look goes
LONGEST_LINE = 1 << 20
KEPT = ("__REALTIME_TIMESTAMP", "_PID", "PRIORITY", "SYSLOG_IDENTIFIER", "MESSAGE")


@dataclass(frozen=True)
class Journal:
    """What was read."""

    lines: tuple[str, ...]  # JSON objects, oldest first
    cursor: str | None  # where the next look begins; None: nothing was read
    note: str = ""  # why it is not all there is


async def read_journal(cursor: str | None, command: str = COMMAND, limit_s: float = LIMIT_S) -> Journal:
    """The unit's lines behind `cursor`. Never raises: what cannot be read is said in `note`."""
    since = [f"--after-cursor={cursor}"] if cursor else [f"--since={FIRST}"]
    try:
        process = await asyncio.create_subprocess_exec(
            command, f"--unit={UNIT}", "--output=json", f"--lines={MOST_LINES}", "--no-pager", "--quiet", *since,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            limit=LONGEST_LINE)
    except OSError as error:
        return Journal((), cursor, f"no journal: {command}: {error.strerror}")
    lines, note, read = list[str](), "", 0
    newest = cursor
    try:
        async with asyncio.timeout(limit_s):
            async for raw in cast("asyncio.StreamReader", process.stdout):
                read += len(raw)
                if found := _line(raw):
                    newest, line = found
                    lines.append(line)
                if read > MOST_BYTES:
                    note = f"more than {MOST_BYTES >> 20} MiB: the rest comes with the next one"
                    break
            else:
                if await process.wait():
                    note = f"{command} ended with status {process.returncode}"
                    newest = newest if lines else None  # a cursor that is not there any more, say
    except TimeoutError:
        note = f"{command} took longer than {limit_s:g} s"
    except ValueError:
        note = f"a line of over {LONGEST_LINE >> 20} MiB"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return Journal(tuple(lines), newest, note)


def _line(raw: bytes) -> tuple[str, str] | None:
    """A line's cursor, and what is kept of it; None if it is none."""
    try:
        entry: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, Mapping) or not isinstance(entry.get("__CURSOR"), str):
        return None
    kept = {name: _text(entry[name]) for name in KEPT if entry.get(name) is not None}
    return entry["__CURSOR"], json.dumps(kept, ensure_ascii=False)


def _text(value: Any) -> Any:
    """A field; one that is not UTF-8 comes as a list of bytes (systemd.journal-fields)."""
    if isinstance(value, list):
        try:
            return bytes(value).decode("utf-8", "replace")
        except (TypeError, ValueError):
            return str(value)
    return value
