"""The heartbeat: what a row says, that it comes at fixed times or not at all, and what a table's trouble costs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ezrec import __version__, logs
from ezrec.actions.device import MOST_REFUSED, Device
from ezrec.adapters.metrics import Measured
from ezrec.adapters.status import Row
from ezrec.domain.booking import RefusedRow
from ezrec.domain.clock import SECOND, SystemClock, utc_datetime
from ezrec.domain.errors import CredentialError, ParkError, RetryError
from ezrec.domain.stages import Stage
from ezrec.tasks import heartbeat as heartbeat_module
from ezrec.tasks.heartbeat import COLLECT_SHARE, PUT_SHARE, REFUSED_S, Heartbeat, next_due
from ezrec.tasks.recording.lane import LaneHealth
from ezrec.tasks.recording.preflight import PreflightResult
from tests.fakes.desk import MONO_S, Desk, a_desk
from tests.fakes.records import VIDEO
from tests.fakes.waiting import eventually

INTERVAL_S = 30.0  # ten times the setting's default, so that a busy machine is never late in earnest
COLUMNS = {"user_id", "camera_id", "updated_at", "cpu_percent", "memory_percent", "memory_mb", "disk_free_mb",
           "disk_percent", "temperature_c", "throttled", "recording", "current_booking_id", "cameras", "preflight",
           "queues", "last_error", "last_error_at", "version", "uptime_s", "started_at", "degraded"}


class Enough(Exception):
    """Ends a heartbeat."""


class Recorder:
    """A recorder that is asked how it is doing."""

    def __init__(self) -> None:
        self.sizes: dict[str, tuple[int, int]] = {}
        self.booking: str | None = None

    def delivering(self) -> dict[str, tuple[int, int]]:
        return self.sizes

    def current_booking(self) -> str | None:
        return self.booking

    def health(self) -> dict[str, LaneHealth]:
        return {"left": LaneHealth("streaming", 900, 2, 4096, 33, 1), "right": LaneHealth("off", 0, 0, 0, None, 0)}


class Gauge:
    """A meter whose reading is set by hand."""

    def __init__(self) -> None:
        self.measured = Measured(cpu_percent=12.5, memory_mb=300)
        self.limits: list[float] = []

    async def read(self, limit_s: float) -> Measured:
        self.limits.append(limit_s)
        return self.measured


class Table:
    """A table that keeps every row, or does what it is told with it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.asked = 0
        self.given_up = 0
        self.limits: list[float] = []
        self.acts: Callable[[], Any] | None = None

    async def put(self, row: Row, *, limit_s: float) -> None:
        self.asked += 1
        self.limits.append(limit_s)
        if self.acts:
            try:
                await self.acts()
            except asyncio.CancelledError:
                self.given_up += 1
                raise
        self.rows.append(row)

    async def close(self) -> None:
        """Nothing to let go of."""

    def fails(self, error: Exception) -> None:
        async def act() -> None:
            raise error

        self.acts = act

    def hangs(self) -> None:
        self.acts = asyncio.Event().wait


class Rig:
    """A heartbeat over all that; its pauses let time pass at once and are written down."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, interval_s: float = INTERVAL_S) -> None:
        self.desk, self.clock = desk, desk.clock
        self.recording, self.table, self.gauge = Recorder(), Table(), Gauge()
        self.preflight = SimpleNamespace(newest=None)
        self.degraded: list[str] = []
        self.refused: list[RefusedRow] = []
        self.heals = 0
        self.beats: list[float] = []  # when they began, in seconds after the start
        self.on_beat: Callable[[], None] = lambda: None
        self.heartbeat = self.make(interval_s)
        self._stop_after = 0
        real = self.heartbeat.run_once

        async def run_once() -> bool:
            self.beats.append(self.clock.mono_us() / SECOND - MONO_S)
            self.on_beat()
            return await real()

        async def pause(seconds: float) -> None:
            if len(self.beats) >= self._stop_after:
                raise Enough
            self.clock.forward(round(seconds * SECOND))

        monkeypatch.setattr(self.heartbeat, "run_once", run_once)
        monkeypatch.setattr(self.heartbeat, "_pause", pause)

    def make(self, interval_s: float) -> Heartbeat:
        site = self.desk.settings(site={"user_id": "u1", "camera_id": "court-7"}).site
        device = Device(self.desk.store, self.clock, self.desk.folder, self.recording, self.preflight,  # type: ignore[arg-type]
                        self.gauge, site, lambda: self.degraded, lambda: self.refused)
        self.device = device
        return Heartbeat(self.clock, self.table, device.row, interval_s, self._healed)

    def _healed(self) -> None:
        self.heals += 1

    async def beat(self, number: int) -> list[float]:
        """Let it run for so many more beats; when they began."""
        seen = len(self.beats)
        self._stop_after = seen + number
        with pytest.raises(Enough):
            await self.heartbeat.run()
        return self.beats[seen:]

    async def row(self) -> Row:
        await self.heartbeat.run_once()
        return self.table.rows[-1]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


@pytest.fixture
def rig(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(desk, monkeypatch)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the task logs: (level, event)."""
    lines: list[tuple[str, str]] = []

    class Log:
        def __getattr__(self, level: str) -> Callable[..., None]:
            return lambda event, **_: lines.append((level, event))

    monkeypatch.setattr(heartbeat_module, "log", Log())
    return lines


# ---- what a row says


async def test_a_row_has_exactly_the_columns_of_the_table_and_is_json(rig: Rig) -> None:
    row = await rig.row()
    assert set(row) == COLUMNS
    assert json.loads(json.dumps(row)) == row


async def test_a_row_says_how_the_device_is_doing(rig: Rig) -> None:
    rig.recording.sizes, rig.recording.booking = {"left": (1920, 1080)}, "match"
    rig.degraded = ["upload", "bookings"]
    rig.clock.forward(90 * SECOND + SECOND // 4)
    row = await rig.row()
    assert (row["user_id"], row["camera_id"], row["version"]) == ("u1", "court-7", __version__)
    assert (row["cpu_percent"], row["memory_mb"], row["throttled"]) == (12.5, 300, None)
    assert (row["recording"], row["current_booking_id"]) == (True, "match")
    assert row["cameras"]["left"] == {"state": "streaming", "frames": 900, "dropped": 2, "queue_bytes": 4096,
                                      "last_frame_ms": 33, "restarts": 1, "temperature_c": None,
                                      "note": ""}
    assert row["degraded"] == ["bookings", "upload"]
    assert row["updated_at"] == "2027-01-15T08:01:30.250+00:00"
    assert (row["started_at"], row["uptime_s"]) == ("2027-01-15T08:00:00.000+00:00", 90)


async def test_a_row_says_what_the_last_pre_flight_found(rig: Rig) -> None:
    assert (await rig.row())["preflight"] is None
    rig.preflight.newest = PreflightResult("match", rig.clock.wall_us(), ["camera right: the picture is black"])
    assert (await rig.row())["preflight"] == {"booking_id": "match", "at": "2027-01-15T08:00:00.000+00:00",
                                              "problems": ["camera right: the picture is black"]}


async def test_the_start_is_told_by_the_clock_as_it_was_set_since(rig: Rig) -> None:
    rig.clock.forward(10 * SECOND)
    rig.clock.step(3600)
    row = await rig.row()
    assert (row["started_at"], row["uptime_s"]) == ("2027-01-15T09:00:00.000+00:00", 10)


async def test_a_row_tells_what_waits_and_why(rig: Rig) -> None:
    await rig.desk.film(Stage.RENDERED, "a")
    await rig.desk.film(Stage.RENDERED, "b", parked_step="upload", parked_reason="no such bucket")
    await rig.desk.film(Stage.BOOKED, "c")
    for stage in (Stage.CLEANED, Stage.CANCELLED, Stage.MISSED):
        await rig.desk.film(stage, f"over-{stage}")
    await rig.desk.store.post_video("a", VIDEO)
    assert (await rig.row())["queues"] == {
        "films": {"booked": 1, "rendered": 2}, "parked": 1, "outbox": 1, "refused": 0, "reason": "no such bucket"}


async def test_a_row_tells_which_rows_are_no_bookings_and_why_as_far_as_there_is_room(rig: Rig) -> None:
    assert "refused_bookings" not in (await rig.row())["queues"]
    rig.refused = [RefusedRow("file", f"booking {at}: too long") for at in range(MOST_REFUSED + 5)]
    told = (await rig.row())["queues"]["refused_bookings"]
    assert told[0] == {"source": "file", "reason": "booking 0: too long"}
    assert len(told) == MOST_REFUSED


async def test_a_refused_message_is_a_reason_too(rig: Rig) -> None:
    await rig.desk.film(Stage.UPLOADED, "a")
    assert (await rig.row())["queues"]["reason"] is None
    await rig.desk.store.post_video("a", VIDEO)
    await rig.desk.store._do("UPDATE outbox SET parked_reason = 'no such table'")
    queues = (await rig.row())["queues"]
    assert (queues["outbox"], queues["refused"], queues["parked"], queues["reason"]) == (1, 1, 0, "no such table")


async def test_the_last_error_of_the_log_is_told_with_its_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    row = await rig.row()
    assert (row["last_error"], row["last_error_at"]) == (None, None)
    at = utc_datetime(1_800_000_000 * SECOND)
    monkeypatch.setattr(logs, "last_error", lambda: logs.LastError("film: it broke", at))
    row = await rig.row()
    assert (row["last_error"], row["last_error_at"]) == ("film: it broke", "2027-01-15T08:00:00.000+00:00")


async def test_a_store_that_does_not_answer_leaves_the_rest_of_the_row_true(rig: Rig) -> None:
    heartbeat = rig.make(interval_s=0.4)
    async with rig.desk.store._turn:  # as a transaction does that waits for the disk
        while not rig.table.rows:
            await heartbeat.run_once()
    assert rig.table.rows[-1]["queues"] is None
    assert rig.table.rows[-1]["cpu_percent"] == 12.5


async def test_a_store_with_a_full_disk_leaves_the_rest_of_the_row_true(
        rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def backlog() -> None:
        raise RetryError("the store: disk I/O error")

    monkeypatch.setattr(rig.desk.store, "backlog", backlog)
    assert (await rig.row())["queues"] is None


# ---- when it beats


@pytest.mark.parametrize(("now", "due"), [
    (0, 3), (2.9, 3), (3, 3), (3.001, 6), (8.9, 9), (9.5, 12), (3600.5, 3603)])
def test_the_next_beat_is_the_first_of_the_cadence_that_is_not_late(now: float, due: float) -> None:
    assert next_due(0, round(now * SECOND), 3 * SECOND) == due * SECOND


async def test_beats_keep_their_times_however_long_each_takes(rig: Rig) -> None:
    took = iter([5, 29, 0, 10])

    async def act() -> None:
        rig.clock.forward(next(took) * SECOND)

    rig.table.acts = act
    assert await rig.beat(4) == [0, 30, 60, 90]


async def test_a_beat_that_would_be_late_is_left_out_and_none_follows_in_a_burst(rig: Rig) -> None:
    rig.on_beat = lambda: rig.clock.forward(80 * SECOND) if len(rig.beats) == 2 else None  # the machine slept, say
    assert await rig.beat(4) == [0, 30, 120, 150]
    assert rig.table.asked == 4


async def test_a_clock_that_is_set_does_not_move_the_beats(rig: Rig) -> None:
    rig.on_beat = lambda: rig.clock.step(-7200)
    assert await rig.beat(3) == [0, 30, 60]


async def test_everything_of_a_beat_has_to_be_over_before_the_next(rig: Rig) -> None:
    await rig.row()
    assert rig.gauge.limits == [COLLECT_SHARE * INTERVAL_S]
    assert rig.table.limits == [PUT_SHARE * INTERVAL_S]
    assert COLLECT_SHARE + PUT_SHARE < 1


# ---- what a table's trouble costs


async def test_a_beat_that_hangs_is_given_up_and_the_next_one_goes_through(rig: Rig) -> None:
    heartbeat = rig.make(interval_s=0.2)
    rig.table.hangs()
    while rig.table.asked < 2:
        await heartbeat.run_once()
    assert (rig.table.given_up, rig.heals) == (2, 0)
    rig.table.acts = None
    while not rig.table.rows:
        await heartbeat.run_once()
    assert len(rig.table.rows) == 1  # the newest, and nothing that was queued
    assert rig.heals == 1


async def test_rows_are_new_when_they_are_told(rig: Rig) -> None:
    rig.table.fails(RetryError("no route"))
    await rig.beat(3)
    rig.table.acts = None
    await rig.beat(1)
    assert [row["uptime_s"] for row in rig.table.rows] == [60]


async def test_trouble_and_healing_are_said_once_and_healed_is_called_once(
        rig: Rig, said: list[tuple[str, str]]) -> None:
    rig.table.fails(RetryError("no route"))
    await rig.beat(5)
    assert said == [("warning", "heartbeat not taken")]
    rig.table.fails(CredentialError("expired"))
    await rig.beat(2)
    assert rig.heals == 0
    rig.table.acts = None
    await rig.beat(3)
    assert said == [("warning", "heartbeat not taken"), ("info", "heartbeat is back")]
    assert rig.heals == 1


async def test_a_device_without_trouble_heals_nothing(rig: Rig, said: list[tuple[str, str]]) -> None:
    await rig.beat(3)
    assert (rig.heals, said) == (0, [])


async def test_a_table_that_refuses_is_asked_more_rarely_and_said_once(rig: Rig, said: list[tuple[str, str]]) -> None:
    rig.table.fails(ParkError("no such table"))
    assert await rig.beat(3) == [0, REFUSED_S, 2 * REFUSED_S]
    assert said == [("error", "heartbeat refused")]
    rig.table.fails(ParkError("not yours"))
    await rig.beat(2)
    assert said == [("error", "heartbeat refused")] * 2
    rig.table.acts = None
    began = await rig.beat(2)
    assert began[1] - began[0] == INTERVAL_S
    assert (rig.heals, said[-1]) == (1, ("info", "heartbeat is back"))


async def test_a_rare_heartbeat_is_not_made_rarer_by_a_refusal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(desk, monkeypatch, interval_s=600)
    rig.table.fails(ParkError("no such table"))
    assert await rig.beat(3) == [0, 600, 1200]


async def test_a_bug_is_not_hidden(rig: Rig) -> None:
    rig.table.fails(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await rig.heartbeat.run_once()


async def test_it_beats_by_the_machine_s_own_clock_until_it_is_ended(rig: Rig) -> None:
    heartbeat = Heartbeat(SystemClock(), rig.table, rig.device.row, 0.05, lambda: None)
    began = time.monotonic()
    beating = asyncio.create_task(heartbeat.run())
    await eventually(lambda: asyncio.sleep(0, len(rig.table.rows) > 3))
    assert time.monotonic() - began > 3 * 0.05
    beating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beating
