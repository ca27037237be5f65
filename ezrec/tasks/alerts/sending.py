"""Sending: what waits for people goes out, each recipient's in its order, again until it is taken.

A notice is dropped when its receiver has said that it took it. A kill between the two has it sent once more under the
same id, by which the receiver knows it (docs/decisions/0057-never-twice.md).
"""

import asyncio

from ezrec import logs
from ezrec.adapters.mail import Mailer
from ezrec.adapters.webhook import Webhook
from ezrec.domain import backoff
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import ParkError, RetryError
from ezrec.store import Store
from ezrec.store.alerts import Notice
from ezrec.tasks.alerts.letters import MAIL, WEBHOOK, letter_of

log = logs.get("alerts")

CHECK_EVERY_S = 2.0


class Sending:
    """The task that sends notices. A channel that the settings do not name any more drops what waits for it."""

    def __init__(self, store: Store, clock: Clock, mailer: Mailer | None, webhook: Webhook | None) -> None:
        self._store, self._clock = store, clock
        self._mailer, self._webhook = mailer, webhook
        self._rests: dict[str, int] = {}  # notice → monotonic µs before which it is not tried again
        self._news = asyncio.Event()

    def notify(self) -> None:
        """There is something new to send."""
        self._news.set()

    def retry_now(self) -> None:
        """The network is back: try everything now."""
        self._rests.clear()
        self._news.set()

    async def run(self) -> None:
        """Send what there is to send until stopped."""
        while True:
            self._news.clear()
            while await self.run_once():
                pass
            try:
                async with asyncio.timeout(CHECK_EVERY_S):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def run_once(self) -> bool:
        """Try what each recipient is to get next, if it is due; whether something is out of the way."""
        due = [one for one in await self._store.notice_heads()
               if self._clock.mono_us() >= self._rests.get(one.id, 0)]
        return any(await asyncio.gather(*map(self._try, due)))

    async def _try(self, notice: Notice) -> bool:
        log.debug("sending notice", notice=notice.id, channel=notice.channel)
        try:
            await self._send(notice)
        except RetryError as error:
            attempts = notice.attempts + 1
            rest_us = round(max(backoff.wait_s(attempts), error.after_s) * SECOND)
            self._rests[notice.id] = self._clock.mono_us() + rest_us
            say = log.warning if attempts in (1, 10, 100) else log.debug
            say("alert not sent, trying again", channel=notice.channel, attempt=attempts, error=str(error),
                retry_s=round(rest_us / SECOND, 1))
            await self._store.notice_failed(notice.id, attempts, self._clock.wall_us() + rest_us, None)
            return False
        except Exception as error:  # whatever is wrong with one, the next ones are sent
            known = isinstance(error, ParkError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            log.error("alert refused", channel=notice.channel, reason=reason,  # noqa: TRY400 - foreseen
                      exc_info=None if known else error)
            await self._store.notice_failed(notice.id, notice.attempts, None, reason)
        else:
            await self._store.notice_sent(notice.id)
            log.debug("notice sent", notice=notice.id, channel=notice.channel)
        self._rests.pop(notice.id, None)
        return True

    async def _send(self, notice: Notice) -> None:
        if notice.channel == MAIL and self._mailer:
            await self._mailer.send(letter_of(notice))
        elif notice.channel == WEBHOOK and self._webhook:
            await self._webhook.post(notice.id, notice.body)
        else:
            raise ParkError(f"the settings name no {notice.channel} any more")
