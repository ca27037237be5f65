"""The outbox: tells the cloud what it must still be told, each booking's messages in order, exactly once in effect.

A message is written with the fact that it tells of (store/outbox.py) and dropped when it was confirmed, so that a lost
answer or a crash only has it told again; whoever is told takes a repeated message as the same one. What fails is tried
again with full-jitter backoff; what is refused is parked with its reason, and tried
again slowly if that may pass.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from ezrec import logs
from ezrec.adapters.bookings import StatusBoard
from ezrec.adapters.publishing import Publisher
from ezrec.adapters.storage import Storage
from ezrec.domain import backoff
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import ParkError, RetryError
from ezrec.domain.messages import StatusReport, UploadAbort, Video
from ezrec.store import Store
from ezrec.store.rows import Message

log = logs.get("outbox")

CHECK_EVERY_S = 1.0  # how often new messages are looked for; those of this process are announced by `notify`
LINES = frozenset({"abort"}), frozenset({"status", "video"})  # kinds of messages, by where they go
EVERY = frozenset[str]().union(*LINES)
ATTEMPTS = 3  # of a message that fails in an unforeseen way, before it is parked


class Outbox:
    """The outbox task. `delivered` is called after each message that arrived.

    Without a `board` (no source of bookings that wants to be told) statuses wait. Kinds of messages that stand `apart`
    go elsewhere than the others and do not wait for them.
    """

    def __init__(self, store: Store, clock: Clock, storage: Storage, publisher: Publisher, board: StatusBoard | None,
                 delivered: Callable[[], None], apart: frozenset[str] = frozenset({"abort"})) -> None:
        self._store = store
        self._clock = clock
        self._storage = storage
        self._publisher = publisher
        self._apart = apart
        self._delivered = delivered
        self._news = asyncio.Event()
        self._unforeseen: Counter[int] = Counter()  # message → failures that nobody foresaw
        self._rests: dict[int, int] = {}  # message → monotonic µs before which it is not tried again
        self._ways: dict[str, Callable[[Message], Awaitable[None]]] = {"video": self._publish, "abort": self._abort}
        if board:
            self._ways["status"] = partial(self._report, board)

    def notify(self) -> None:
        """There is something new to tell."""
        self._news.set()

    def retry_now(self) -> None:
        """The network is back: try everything now."""
        self._rests.clear()
        self._news.set()

    async def run(self) -> None:
        """Send what there is to send until stopped; a storage that hangs holds up nobody else."""
        async with asyncio.TaskGroup() as group:
            for line in LINES:
                group.create_task(self._run(line), name="outbox")

    async def _run(self, kinds: frozenset[str]) -> None:
        while True:
            self._news.clear()
            while await self.run_once(kinds):
                pass
            try:
                async with asyncio.timeout(CHECK_EVERY_S):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def run_once(self, kinds: frozenset[str] = EVERY) -> bool:
        """Try what each booking would have told next, if it is due, oldest first, until one is out of the way.

        Returns whether one is: what then is the oldest comes first again, so that a backlog drains in its order.
        """
        for message in await self._store.outbox_heads(self._apart):
            rested = message.retry_at is None or self._clock.mono_us() >= self._rests.get(message.id, 0)
            if rested and message.kind in kinds & self._ways.keys() and await self._try(message):
                return True
        return False

    async def _try(self, message: Message) -> bool:
        try:
            await self._ways[message.kind](message)
        except RetryError as error:
            await self._failed(message, str(error), error.after_s)
            return False
        except ParkError as error:
            await self._refused(message, str(error), passing=error.passing)
            return not message.parked_reason
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            self._unforeseen[message.id] += 1
            log.exception("message failed in an unforeseen way", booking=message.booking_id, kind=message.kind)
            if self._unforeseen[message.id] < ATTEMPTS:
                await self._failed(message, reason)
            else:
                await self._refused(message, reason)
            return False
        had_failed = self._rests.pop(message.id, None) is not None
        video = message.body if isinstance(message.body, Video) else None
        await self._store.delivered(message)
        if video:
            log.info("film published", booking=message.booking_id, url=video.video_url)
        if message.attempts:
            log.info("message told after all", booking=message.booking_id, kind=message.kind, attempts=message.attempts)
        if had_failed:  # what failed beside it may work as well now
            self._rests.clear()
        self._delivered()
        return True

    async def _refused(self, message: Message, reason: str, *, passing: bool = False) -> None:
        self._rests.pop(message.id, None)
        self._unforeseen.pop(message.id, None)
        attempts = message.attempts + 1 if message.parked_reason else 0
        rest_us = round(backoff.slow_wait_s(attempts) * SECOND) if passing else None
        if rest_us is not None:
            self._rests[message.id] = self._clock.mono_us() + rest_us
        await self._store.message_refused(message, reason, attempts,
                                          None if rest_us is None else self._clock.wall_us() + rest_us)
        say = log.debug if message.parked_reason else log.error
        say("message refused", booking=message.booking_id, kind=message.kind, reason=reason,
            **{} if rest_us is None else {"retry_s": round(rest_us / SECOND)})

    async def _failed(self, message: Message, reason: str, after_s: float = 0) -> None:
        attempts = message.attempts + 1
        rest_us = round(max(backoff.wait_s(attempts), after_s) * SECOND)
        self._rests[message.id] = self._clock.mono_us() + rest_us
        await self._store.message_failed(message, attempts, self._clock.wall_us() + rest_us)
        say = log.warning if attempts in (1, 10, 100) else log.debug  # a week without network is said a few times
        say("message not told, trying again", booking=message.booking_id, kind=message.kind, attempt=attempts,
            retry_s=round(rest_us / SECOND, 1), error=reason)

    # ---- the ways

    async def _report(self, board: StatusBoard, message: Message) -> None:
        if isinstance(report := message.body, StatusReport):
            log.debug("writing status", booking=message.booking_id, status=report.status)
            await board.tell_status(message.booking_id, report.status, report.reason)
            log.debug("status written", booking=message.booking_id, status=report.status)

    async def _publish(self, message: Message) -> None:
        if isinstance(message.body, Video):
            log.debug("writing row", booking=message.booking_id)
            await self._publisher.publish(message.body)
            log.debug("row written", booking=message.booking_id)

    async def _abort(self, message: Message) -> None:
        if not isinstance(abort := message.body, UploadAbort):
            return
        film = await self._store.film(message.booking_id)
        if film and film.upload_id and film.object_key == abort.key and abort.upload_id in ("", film.upload_id):
            return  # it stands again, and its upload has taken over what was open
        log.debug("aborting upload", booking=message.booking_id, key=abort.key)
        await self._storage.abort(abort.key, abort.upload_id)
        log.debug("upload aborted", booking=message.booking_id, key=abort.key)
