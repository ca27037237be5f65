"""The heartbeat's row in a real `system_status`, through a network that fails in every way and heals."""

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ezrec.actions.device import Device as Machine
from ezrec.adapters.metrics import Meter
from ezrec.adapters.status.court import CourtStatus
from ezrec.adapters.status.supabase import SupabaseStatus
from ezrec.adapters.supabase import Supabase
from ezrec.adapters.supabase.functions import Functions, Mark, Ways
from ezrec.config.sections import Secret
from ezrec.config.sections import SupabaseSettings as Section
from ezrec.domain.stages import Stage
from ezrec.tasks import heartbeat as heartbeat_module
from ezrec.tasks.heartbeat import Heartbeat
from ezrec.tasks.recording.preflight import PreflightResult
from tests.fakes.cloud.chaos import SUPABASE_FAULTS, ChaosProxy
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.desk import Desk, a_desk

INTERVAL_S = 60.0  # a beat that can go through has all the time it needs on a busy machine
QUICK = 0.005  # share of that for one which cannot
PASSABLE = ("slow", "continue withheld")  # a row is small, and is sent without asking first


class Idle:
    """A recorder with nothing to do."""

    def delivering(self) -> dict[str, tuple[int, int]]:
        return {}

    def current_booking(self) -> None:
        return None

    def health(self) -> dict[str, Any]:
        return {}


class Device:
    """A device whose heartbeat goes to a project, with a court of its own."""

    def __init__(self, desk: Desk, project: Project, url: str) -> None:
        self.project, self.desk = project, desk
        self.user, self.court = f"user-{uuid.uuid4()}", f"court-{uuid.uuid4()}"
        self.heals = 0
        self.beat, self.status = self.make(url, key=Secret(project.service_key))
        self.table = self.status._table

    def make(self, url: str, **credential: Secret) -> tuple[Callable[[], Any], CourtStatus]:
        site = self.desk.settings(site={"user_id": self.user, "camera_id": self.court}).site
        supabase, clock = Supabase(Section(url=url, **credential)), self.desk.clock
        functions = Functions(supabase, site, Ways(), clock, device="device_token" in credential)
        status = CourtStatus(functions, Mark(clock), 30, SupabaseStatus(supabase))
        meter = Meter(self.desk.data, self.desk.clock)
        found = PreflightResult("match", self.desk.clock.wall_us(), ["camera left: no frame came"])
        preflight = SimpleNamespace(newest=found)
        device = Machine(self.desk.store, self.desk.clock, self.desk.folder, Idle(), preflight,  # type: ignore[arg-type]
                        meter, site, lambda: ["upload"])
        self.collect = device.row
        heartbeat = Heartbeat(self.desk.clock, status, device.row, INTERVAL_S, self._healed)
        return heartbeat.run_once, status

    def _healed(self) -> None:
        self.heals += 1

    def rows(self) -> list[dict[str, Any]]:
        return self.project.rows("select * from system_status where user_id = :'user'", user=self.user)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


@pytest.fixture
async def device(desk: Desk, supabase: Project, supabase_net: ChaosProxy) -> AsyncIterator[Device]:
    one = Device(desk, supabase, supabase_net.url)
    yield one
    await one.status.close()


async def test_a_device_has_one_row_and_it_is_the_newest(device: Device) -> None:
    await device.desk.film(Stage.RENDERED, parked_step="upload", parked_reason="no such bucket")
    for _ in range(3):
        assert await device.beat()
        device.desk.clock.forward(3_000_000)
    (row,) = device.rows()
    assert (row["camera_id"], row["uptime_s"], row["degraded"]) == (device.court, 6, ["upload"])
    assert row["queues"] == {
        "films": {"rendered": 1}, "parked": 1, "outbox": 0, "refused": 0, "reason": "no such bucket"}
    assert row["cameras"] == {}
    assert row["recording"] is False
    assert row["memory_mb"] > 0
    assert device.heals == 0


async def test_the_table_takes_every_column_of_the_row(device: Device) -> None:
    row = dict(await device.collect(60.0))
    kept = []
    for way in (device.status, device.table):
        await way.put(row, limit_s=60.0)
        (found,) = device.rows()
        kept.append({name: found[name] for name in row})
        device.project.run("delete from system_status where user_id = :'u'", u=device.user)
    assert kept[0] == kept[1]
    assert not any(device.table._supabase._lacking.values())


@pytest.mark.parametrize("name", SUPABASE_FAULTS)
async def test_the_heartbeat_is_back_with_its_next_beat_after_the_network_heals(
        device: Device, supabase_net: ChaosProxy, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert await device.beat()  # with a connection that the fault will find open
    SUPABASE_FAULTS[name](supabase_net)
    with monkeypatch.context() as hasty:
        hasty.setattr(heartbeat_module, "PUT_SHARE", QUICK)
        for _ in range(2):
            device.desk.clock.forward(3_000_000)
            assert await device.beat(), "no network can refuse for good"
    supabase_net.heal()
    device.desk.clock.forward(3_000_000)
    assert await device.beat()
    (row,) = device.rows()
    assert row["uptime_s"] == 9
    assert device.heals == 1 or name in PASSABLE


async def test_a_device_s_own_credential_is_enough(desk: Desk, supabase: Project) -> None:
    device = Device(desk, supabase, supabase.url)
    token = supabase.device_token(device.user, device.court)
    beat, status = device.make(supabase.url, key=Secret(supabase.publishable_key), device_token=Secret(token))
    assert await beat()
    assert await beat()
    (row,) = device.rows()
    assert (row["device_id"] is not None, row["heard_at"] is not None) == (True, True)
    stranger = supabase.device_token("stranger", device.court)
    other, status_too = device.make(supabase.url, key=Secret(supabase.publishable_key), device_token=Secret(stranger))
    assert not await other()  # refused for good: it is somebody else's row
    for one in (device.status, status, status_too):
        await one.close()
