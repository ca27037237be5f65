"""The device's state: collected once for the heartbeat, for the state file, and for whoever asks.

The recorder keeps the state in a small file beside its lock, so that commands can say how it is doing. The file is
written without a fsync: it matters only while its process lives.
"""

import asyncio
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ezrec import __version__, logs
from ezrec.actions.state import STALE_S, WRITE_EVERY_S, read
from ezrec.adapters.metrics import Measured, Meter
from ezrec.adapters.status import Row
from ezrec.config.sections import SiteSettings
from ezrec.domain.booking import RefusedRow
from ezrec.domain.clock import SECOND, Clock, utc_text
from ezrec.domain.errors import RetryError
from ezrec.files import FILE_MODE, replacing
from ezrec.folders import DataFolder
from ezrec.logs import LastError
from ezrec.store import Store
from ezrec.store.rows import Backlog
from ezrec.tasks.recording.lane import LaneHealth
from ezrec.tasks.recording.preflight import Preflight, PreflightResult
from ezrec.tasks.recording.windows import Recording

log = logs.get("device")

__all__ = ["STALE_S", "Device", "DeviceState", "read"]

MOST_REFUSED = 20  # refused rows that are told of
AHEAD_US = 2 * 3600 * SECOND  # of the next booking: whoever wants to stop the recorder looks at it (device/bookings.py)
COLLECT_S = 2.0  # how long the machine and the store may take to answer for the file


@dataclass(frozen=True)
class DeviceState:
    """How a device is doing. What could not be found out in time is None."""

    measured: Measured
    at: int  # UTC µs
    up_us: int
    recording: bool
    current_booking_id: str | None
    cameras: Mapping[str, LaneHealth]
    preflight: PreflightResult | None
    backlog: Backlog | None
    last_error: LastError | None
    degraded: Collection[str]  # side tasks that ended lately, and a disk that is too slow
    refused: Sequence[RefusedRow] = ()  # rows of the bookings' sources

    def row(self, site: SiteSettings) -> Row:
        """The state as the columns of `system_status`."""
        error = self.last_error
        return asdict(self.measured) | {
            "user_id": site.user_id,
            "camera_id": site.camera_id,
            "updated_at": utc_text(self.at),
            "recording": self.recording,
            "current_booking_id": self.current_booking_id,
            "cameras": {name: asdict(health) for name, health in self.cameras.items()},
            "preflight": _preflight(self.preflight) if self.preflight else None,
            "queues": _queues(self.backlog, self.refused) if self.backlog else None,
            "last_error": error.text if error else None,
            "last_error_at": error.at.isoformat(timespec="milliseconds") if error else None,
            "version": __version__,
            "uptime_s": self.up_us // SECOND,
            # by the clock as it is now: at the start it may not have been set yet
            "started_at": utc_text(round((self.at - self.up_us) / SECOND) * SECOND),
            "degraded": sorted(self.degraded),
        }


class Device:
    """The device that this process records on."""

    def __init__(self, store: Store, clock: Clock, folder: DataFolder, recording: Recording, preflight: Preflight,
                 meter: Meter, site: SiteSettings, degraded: Callable[[], Collection[str]],
                 refused: Callable[[], Sequence[RefusedRow]] = tuple,
                 written: Callable[[], int | None] = lambda: None) -> None:
        """`written` gives the MiB that an hour of recording writes to the disk, once that is known."""
        self._store = store
        self._clock = clock
        self._folder = folder
        self._recording = recording
        self._preflight = preflight
        self._meter = meter
        self._site = site
        self._degraded = degraded
        self._refused = refused
        self._written = written
        self._begun_us = clock.mono_us()
        self._turn = asyncio.Lock()  # the meter has one caller at a time
        self._newest: tuple[int, DeviceState] | None = None  # and when it was collected, monotonic µs

    async def collect(self, limit_s: float) -> DeviceState:
        """The state as it is now; neither the machine nor the store is waited for longer than `limit_s`."""
        async with self._turn:
            measured, backlog = await asyncio.gather(self._meter.read(limit_s), self._backlog(limit_s))
            state = DeviceState(
                measured, self._clock.wall_us(), self._clock.mono_us() - self._begun_us,
                bool(self._recording.delivering()), self._recording.current_booking(), self._recording.health(),
                self._preflight.newest, backlog, logs.last_error(), self._degraded(), self._refused())
            self._newest = self._clock.mono_us(), state
            return state

    @property
    def newest(self) -> DeviceState | None:
        """The state that was collected last."""
        return self._newest[1] if self._newest else None

    def machine(self) -> tuple[int | None, float | None, str]:
        """Of what was collected last: MiB free on the disk, degrees Celsius, how the processor is held back."""
        measured = self.newest.measured if self.newest else Measured()
        return measured.disk_free_mb, measured.temperature_c, measured.throttled or ""

    async def row(self, limit_s: float) -> Row:
        """The state as the heartbeat's row."""
        return (await self.collect(limit_s)).row(self._site)

    async def _backlog(self, limit_s: float) -> Backlog | None:
        """What waits in the store; None if it does not answer, say because its disk stands still."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._store.backlog()
        except (TimeoutError, RetryError):
            return None

    async def run(self) -> None:
        """Keep the state file until stopped."""
        while True:
            await self.run_once()
            await asyncio.sleep(WRITE_EVERY_S)

    async def run_once(self) -> None:
        """Write the state file once; on a disk that does not take it the old one stays.

        What the heartbeat has just collected is not collected again.
        """
        collected_us, state = self._newest or (0, None)
        if state is None or self._clock.mono_us() - collected_us > WRITE_EVERY_S * SECOND:
            state = await self.collect(COLLECT_S)
        row = dict(state.row(self._site)) | {
            "pid": os.getpid(), "run": self._recording.run_id, "written_mb_per_hour": self._written(),
            "next_booking_at": await self._next_booking()}
        try:
            await asyncio.to_thread(_write, self._folder, row)
        except OSError as error:
            log.debug("state not written", error=str(error))

    async def _next_booking(self) -> str | None:
        """When the next booking of these hours begins; None if there is none, or the store does not answer."""
        now = self._clock.wall_us()
        try:
            async with asyncio.timeout(COLLECT_S):
                films = await self._store.booked_films(now, now + AHEAD_US)
        except (TimeoutError, RetryError):
            return None
        return utc_text(films[0].starts_at) if films else None

    def forget(self) -> None:
        """The recorder leaves in order: there is no state any more."""
        self._folder.state.unlink(missing_ok=True)


def _write(folder: DataFolder, row: Mapping[str, Any]) -> None:
    with replacing(folder.state) as temporary:  # not durable: it is old after a few seconds anyway
        temporary.write_text(json.dumps(row, indent=1), "utf-8")
        temporary.chmod(FILE_MODE)


def _preflight(found: PreflightResult) -> dict[str, Any]:
    return {"booking_id": found.booking_id, "at": utc_text(found.at), "problems": list(found.problems)}


def _queues(backlog: Backlog, refused: Sequence[RefusedRow]) -> dict[str, Any]:
    rows = [{"source": one.source, "reason": one.reason} for one in refused[:MOST_REFUSED]]
    waiting = {"films": {str(stage): count for stage, count in backlog.films.items()}, "parked": backlog.parked,
               "outbox": backlog.outbox, "refused": backlog.refused, "reason": backlog.reason}
    return waiting | ({"refused_bookings": rows} if rows else {})
