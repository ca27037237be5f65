"""What a person may ask about alerts: which there are, and whether they would arrive."""

import asyncio
from dataclasses import dataclass
from uuid import uuid4

from ezrec.adapters.mail import Mailer
from ezrec.adapters.webhook import Webhook
from ezrec.config import Settings
from ezrec.domain.alerts import Alert, AlertKind
from ezrec.domain.clock import Clock
from ezrec.domain.errors import EzrecError
from ezrec.store.alerts import Notice
from ezrec.tasks.alerts.letters import MAIL, letter_of, notices


@dataclass(frozen=True)
class Tried:
    """What became of a test alert on one channel."""

    channel: str
    recipient: str
    error: str | None  # None: it was taken


async def send_test(settings: Settings, clock: Clock, mailer: Mailer | None, webhook: Webhook | None) -> list[Tried]:
    """Send a test alert to every channel of the settings at once, past the queue."""
    now = clock.wall_us()
    alert = Alert(AlertKind.CHECK, "", "this is a test: nothing is wrong", 0, now, now)
    made = notices(settings, "test", alert, now, lambda: f"test-{uuid4().hex}")
    return list(await asyncio.gather(*(_try(one, mailer, webhook) for one in made)))


async def _try(notice: Notice, mailer: Mailer | None, webhook: Webhook | None) -> Tried:
    error: str | None = None
    try:
        if notice.channel == MAIL and mailer:
            await mailer.send(letter_of(notice))
        elif webhook:
            await webhook.post(notice.id, notice.body)
    except EzrecError as refused:
        error = str(refused)
    return Tried(notice.channel, notice.recipient, error)
