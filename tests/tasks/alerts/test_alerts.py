"""Alerts from what is wrong to whoever is told: over a real store, a real SMTP server and a real HTTP receiver."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ezrec.actions.alerts import send_test
from ezrec.adapters.mail import Mailer
from ezrec.adapters.webhook import Webhook
from ezrec.config import Settings
from ezrec.domain.alerts import Alert, AlertKind, Changes
from ezrec.domain.clock import SECOND
from ezrec.domain.stages import Stage
from ezrec.store.alerts import Notice
from ezrec.tasks.alerts.letters import notices
from ezrec.tasks.alerts.looks import Situation, findings
from ezrec.tasks.alerts.sending import Sending
from ezrec.tasks.alerts.telling import Telling
from tests.fakes.desk import Desk, a_desk
from tests.fakes.mail_server import Box, a_mail_server


class Receiver:
    """A webhook's receiver that checks signatures as docs/alerts.md says; `answers` come first."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        stamp, mark = (part.partition("=")[2] for part in request.headers["X-EZREC-Signature"].split(","))
        assert mark == hmac.new(b"k", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        assert int(stamp) > 1_700_000_000
        status = self.answers.pop(0) if self.answers else 204
        if status < 300:
            self.got.append((request.headers["Idempotency-Key"], json.loads(body)))
        return web.Response(status=status)


class Court:
    """A desk with a mail server and a receiver."""

    def __init__(self, desk: Desk, settings: Settings, box: Box, receiver: Receiver) -> None:
        self.desk, self.settings, self.box, self.receiver = desk, settings, box, receiver

    def sending(self) -> Sending:
        return Sending(self.desk.store, self.desk.clock, Mailer(self.settings.email), self.webhook)

    @property
    def webhook(self) -> Webhook:
        return Webhook(self.settings.alerts.webhook, "k", self.desk.clock)


class NoCameras:
    """A recorder that records nothing."""

    open_booking: str | None = None

    def health(self) -> dict[str, Any]:
        return {}

    def current_booking(self) -> str | None:
        return self.open_booking

    def delivering(self) -> dict[str, Any]:
        return {}


class NoTrials:
    def gone(self) -> dict[str, str]:
        return {}

    async def run_once(self, films: Any) -> None:
        pass


@pytest.fixture
async def court(tmp_path: Path) -> AsyncIterator[Court]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with a_desk(tmp_path) as desk, a_mail_server() as (box, port):
        settings = desk.settings(
            email={"host": "127.0.0.1", "port": port, "tls": False,
                   "sender": "box@court.example"},
            alerts={"webhook": f"http://127.0.0.1:{runner.addresses[0][1]}/hook", "webhook_secret": "k",
                    "mail_to": ["a@example.org", "nobody@example.org"], "after_s": 60}, disk={"min_free_mb": 1000})
        yield Court(desk, settings, box, receiver)
    await runner.cleanup()


def telling(court: Court, **more: Any) -> Telling:
    recorder: Any = NoCameras()
    trials: Any = NoTrials()
    return Telling(court.desk.store, court.desk.clock, court.settings, recorder, trials,
                   more.get("machine", lambda: (10, 50.0, "")), lambda: None, more.get("clock_set", lambda: True))


async def drain(sending: Sending) -> None:
    while await sending.run_once():
        pass


async def test_a_full_disk_is_told_once_on_each_channel_and_its_end_once_also_through_a_restart(court: Court) -> None:
    free = 10
    for _ in range(3):  # each a new process
        task = telling(court, machine=lambda: (free, None, ""))
        await task.run_once()
        court.desk.clock.forward(40 * SECOND)
        await task.run_once()
        await drain(court.sending())
    assert task.standing() == ["alert disk-low: the disk has 10 MiB free, 1000 are wanted (disk.min_free_mb)"]
    free = 5000
    for _ in range(3):
        await task.run_once()
        court.desk.clock.forward(40 * SECOND)
    await drain(court.sending())
    assert [(body["event"], body["kind"]) for _, body in court.receiver.got] == [
        ("begun", "disk-low"), ("over", "disk-low")]
    assert [str(one["Subject"]) for one in court.box.letters] == ["court-1: disk-low", "court-1: over: disk-low"]
    assert task.standing() == []
    assert {one.recipient for one in await court.desk.store.notices()} == {"nobody@example.org"}  # refused, and kept


async def test_a_disk_that_was_not_read_yet_after_a_restart_is_not_told_as_well_again(court: Court) -> None:
    values: list[int | None] = [10, None, None, 10]
    for free in values:  # each a new process
        task = telling(court, machine=lambda: (free, None, ""))  # noqa: B023 - used within the round
        for _ in range(3):
            await task.run_once()
            court.desk.clock.forward(40 * SECOND)
    await drain(court.sending())
    assert [body["event"] for _, body in court.receiver.got] == ["begun"]


async def test_a_booking_ahead_that_could_not_be_recorded_is_told_at_each_of_its_four_times(court: Court) -> None:
    await court.desk.film(Stage.BOOKED, start_s=30 * 3600, end_s=31 * 3600)
    task = telling(court, clock_set=lambda: False)
    for _ in range(30 * 12):
        await task.run_once()
        court.desk.clock.forward(300 * SECOND)
    await drain(court.sending())
    told = [body for _, body in court.receiver.got if body["kind"] == "booking-at-risk" and body["event"] == "begun"]
    assert len(told) == 4
    assert "not synchronised" in told[0]["text"]


async def test_a_kill_between_the_answer_and_its_row_sends_it_again_under_the_same_id(court: Court) -> None:
    now = court.desk.clock.wall_us()
    alert = Alert(AlertKind.HEAT, "", "hot", 0, now, now)
    await court.desk.store.change_alerts(Changes(begun=[alert]), notices(court.settings, "begun", alert, now), 0)
    waiting = {one.channel: one for one in reversed(await court.desk.store.notices())}
    await drain(court.sending())
    for one in waiting.values():
        await court.desk.store.post_notice(one)  # as if the row had never been dropped
    await drain(court.sending())
    assert len({key for key, _ in court.receiver.got}) == 1
    assert len({one["Message-ID"] for one in court.box.letters}) == 1


async def test_a_receiver_that_is_away_gets_everything_in_its_order_later(court: Court) -> None:
    court.receiver.answers += [503, 500]
    for number in range(2):
        await court.desk.store.post_notice(Notice(f"n{number}", "webhook", "", {"number": number}))
    sending = court.sending()
    for _ in range(4):
        await drain(sending)
        court.desk.clock.forward(120 * SECOND)
    assert [body["number"] for _, body in court.receiver.got] == [0, 1]


async def test_a_test_alert_says_which_channel_does_not_take_it(court: Court) -> None:
    tried = await send_test(court.settings, court.desk.clock, Mailer(court.settings.email), court.webhook)
    assert [one.error is None for one in tried] == [True, True, False]
    assert "no such user" in (tried[2].error or "")


async def test_films_that_are_parked_or_late_and_a_machine_in_trouble_are_found(court: Court) -> None:
    late = await court.desk.film(Stage.RECORDED, "late", start_s=-9 * 3600, end_s=-8 * 3600)
    parked = replace(late, booking_id="parked", parked_step="film", parked_reason="no footage")
    seen = Situation(
                court.desk.clock.wall_us(), {"left": "no frames come"}, "match", recording=False, disk_free_mb=5000,
                temperature_c=86, throttled="under-voltage now", films=[late, parked], failed_checks=["disk: slow"],
                two_boxes="box B records this court, too")
    assert {(one.kind, one.about) for one in findings(seen, court.settings)} == {
        (AlertKind.CAMERA, "left"), (AlertKind.RECORDING, ""), (AlertKind.LATE, "late"), (AlertKind.PARKED, "parked"),
        (AlertKind.HEAT, ""), (AlertKind.VOLTAGE, ""), (AlertKind.CHECK, ""), (AlertKind.TWO_BOXES, "")}
