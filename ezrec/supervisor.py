"""The supervisor: the whole program on one page. It builds every object, names every task, and stops in order.

Recording is vital: if it ends, the process ends, and systemd starts it again. Any other task that ends is started
again with a growing delay. The first signal stops in order and keeps everything resumable, the
second leaves at once.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

from ezrec import files, logs
from ezrec.actions.checks import Surroundings
from ezrec.actions.checks.by_itself import own_looks
from ezrec.actions.device import Device
from ezrec.actions.state import last_words
from ezrec.adapters import system
from ezrec.adapters.cameras import Camera
from ezrec.adapters.metrics import Meter
from ezrec.adapters.publishing.local import LocalPublisher
from ezrec.adapters.segments import Sealed, SegmentWriter
from ezrec.adapters.storage import Storage
from ezrec.adapters.syncing import SyncPace
from ezrec.adapters.workers import RenderPool
from ezrec.config import Settings
from ezrec.config.doubts import doubts, key_risk
from ezrec.domain.clock import SECOND, Clock, SystemClock
from ezrec.domain.errors import EzrecError, LeaveError, StoreDamaged
from ezrec.domain.stages import MAKING, UPLOADING, Stage
from ezrec.factories import (
    leftovers,
    make_cameras,
    make_cloud,
    make_log_ship,
    make_mailer,
    make_sources,
    make_storage,
    make_webhook,
)
from ezrec.folders import DataFolder, DataLock
from ezrec.pipeline import Pipeline, Step
from ezrec.store import Store
from ezrec.store.damage import condemn, damage
from ezrec.store.watching import StoreFiles
from ezrec.tasks import capacity, opening, privacy
from ezrec.tasks.alerts.sending import Sending
from ezrec.tasks.alerts.telling import Telling
from ezrec.tasks.alerts.trials import Trials
from ezrec.tasks.bookings import Bookings
from ezrec.tasks.checkup import Checkups
from ezrec.tasks.cleanup import Cleanup
from ezrec.tasks.cooling import Cooling
from ezrec.tasks.film.making import FilmMaking
from ezrec.tasks.film.recipe import Recipes
from ezrec.tasks.heartbeat import Heartbeat
from ezrec.tasks.night import Night
from ezrec.tasks.outbox import Outbox
from ezrec.tasks.publish import Publish
from ezrec.tasks.recording.lane import Lane
from ezrec.tasks.recording.preflight import Preflight
from ezrec.tasks.recording.windows import Recording
from ezrec.tasks.recovery import Recovery
from ezrec.tasks.upload import Upload
from ezrec.tasks.wear import Wear, bytes_written

log = logs.get("supervisor")

RESTART_S, LONGEST_RESTART_S = 1.0, 60.0  # delay before a side task is started again, doubled each time
THREADS = 64  # made as needed; a dead name server holds one for 20 s for each call that is given up meanwhile
FIRST_ANSWER_S = 1.5  # what the bookings' sources get at start before the cameras do; they are asked again at once
QUICK_S = 1.0  # what a usual crash left is known before READY, cameras run meanwhile; what takes longer is known later
WATCH_EVERY_S = 1.0  # how often it is looked whether data folder and store are still there
STORE_EVERY = 20  # of these looks one reads the store's file
WORKER_S, WORKER_TIMES = 60.0, 15  # a worker may take so long for a call, or this many times a chunk's length
SEEN_ALIVE_S = 10.0  # the watchdog is fed while the recorder has looked at its windows within this time


@dataclass(frozen=True)
class Task:
    """A named task: a coroutine function that goes on until it is stopped."""

    name: str
    run: Callable[[], Awaitable[None]]
    vital: bool = False


class Supervisor:
    """One recorder on one data folder."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.ready = asyncio.Event()
        self._clock = clock or SystemClock()
        self._folder = DataFolder(settings.paths.data)
        self._leaving = asyncio.Event()
        self._error: BaseException | None = None
        self._ended_us: dict[str, int] = {}  # when a side task last ended, monotonic µs
        self._alerts: Callable[[], list[str]] = list  # that were told and last, in words
        self._pace = SyncPace()  # of the data folder's disk

    async def run(self) -> int:
        """Run until a signal, `stop` or an error that the process must leave for; returns the exit status.

        Raises:
            AlreadyRunning: another recorder owns the data folder.
        """
        system.spare_memory()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "loop"))
        await opening.wait_for_folder(self._folder, must_exist=self.settings.paths.wait_for_data)
        with DataLock(self._folder) as lock, self._signals():
            store = await opening.open_store(self._folder, self._clock)
            try:
                await self._run(store, lock)
            finally:
                await store.close()
                if store.damage and not system.on_trial():
                    with contextlib.suppress(OSError):  # the folder is gone, or full: the next start finds it by itself
                        condemn(self._folder.store, store.damage)
        if self._error:
            log.error("leaving", error=reason_of(self._error), exc_info=self._error)
        return status_of(self._error) if self._error else 0

    def stop(self) -> None:
        """Stop in order; harmless if it is stopping already."""
        self._leaving.set()

    # ---- building and running

    async def _run(self, store: Store, lock: DataLock) -> None:
        """Everything that exists while the recorder runs, built in the order of what needs what."""
        settings, clock, folder = self.settings, self._clock, self._folder
        _say_doubts(settings)
        zone = ZoneInfo(settings.site.timezone)
        cameras = make_cameras(settings, clock)
        pool = RenderPool(settings.film.workers, limit_s=max(WORKER_S, WORKER_TIMES * settings.film.chunk_s),
                          memory_bytes=settings.film.worker_mb << 20)

        pipeline = Pipeline(store, clock)
        recovery = Recovery(store, clock, folder, {camera.name: camera.rate for camera in cameras}, pipeline.notify)
        recording = Recording(store, clock, folder, settings, [self._lane_of(camera) for camera in cameras],
                              system.boot_id(), files.free_bytes, pipeline.notify, recovery.pending_from_us)
        recipes = Recipes(settings, folder, pool, cameras[0].rate, {camera.name: camera.turned for camera in cameras})
        wear = Wear(clock, lambda: recording.active, partial(bytes_written, folder.root))
        cooling = Cooling(store, clock, settings.alerts.hot_c, lambda: recording.active, lambda: device.machine(),  # noqa: PLW0108
                          pipeline.notify)
        films = FilmMaking(store, clock, folder, pool, recipes, recording, settings.film.chunk_s,
                           {camera.name: camera.rate for camera in cameras}, settings.film.workers,
                           pipeline.notify, lambda film: cooling.waits or pipeline.gives_way(film))
        storage = make_storage(settings, folder, lambda: recording.active)
        upload = Upload(store, clock, storage, settings, zone, films.growth, films.make_again,
                        pipeline.gives_way, pipeline.notify)

        cloud = make_cloud(settings, clock, lambda: bookings.wake())  # noqa: PLW0108 - they are made later
        publisher = cloud.publisher or LocalPublisher(store)
        outbox = Outbox(store, clock, storage, publisher, cloud.bookings,
                        pipeline.notify, frozenset({"abort"} if cloud.publisher else {"abort", "video"}))
        publish = Publish(store, settings.site, zone, outbox.notify)
        cleanup = Cleanup(store, clock, folder, settings, lambda: recording.run_id if recording.active else None,
                          films.forget)
        preflight = Preflight(store, clock, folder, settings, recording, files.free_bytes)

        def changed() -> None:
            recording.notify()
            pipeline.notify()

        def healed() -> None:
            pipeline.retry_now()
            outbox.retry_now()
            sending.retry_now()

        bookings = Bookings(store, clock, make_sources(settings, cloud), settings.bookings, zone, changed, publisher,
                            recovery.spans)
        device = Device(store, clock, folder, recording, preflight, Meter(folder.root, clock), settings.site,
                        lambda: [*self._degraded(), *cloud.troubles()], lambda: bookings.refused,
                        lambda: wear.mb_per_hour)
        telling, sending, self._alerts = _alerting(settings, store, clock, recording, device, cloud.troubles)
        pipeline.steps = (
            Step("film", MAKING, partial(cooling.work, films.work), films.release),
            Step("upload", UPLOADING, upload.work, upload.forget),
            Step("publish", frozenset({Stage.UPLOADED}), publish.work),
            Step("cleanup", frozenset({Stage.PUBLISHED}), cleanup.work),
        )

        await recording.begin_at_once(above=await asyncio.to_thread(_highest_run, folder))
        side = (
            Task("bookings", bookings.run),
            Task("outbox", outbox.run),
            Task("pipeline", pipeline.run),
            *(Task(step.name, partial(pipeline.work, step)) for step in pipeline.steps),
            Task("retention", cleanup.run),
            Task("night", Night(store, clock, folder, settings, cleanup, lambda: recording.active,
                                leftovers(settings, store, clock)).run),
            Task("recovery", recovery.run),
            *([Task("heartbeat", Heartbeat(clock, cloud.status, device.row, settings.supabase.heartbeat_s, healed).run)]
              if cloud.status else []),
            *([Task("logship", ship.run)] if (ship := make_log_ship(settings, clock, folder, storage)) else []),
            Task("device", device.run),
            Task("preflight", preflight.run),
            Task("cooling", cooling.run),
            Task("wear", wear.run),
            Task("checkup", _checkups(settings, store, clock, zone, recording).run),
            Task("alerts", telling.run),
            Task("alerts.sending", sending.run),
        )
        in_order = asyncio.Event()
        put_in_order = partial(self._put_in_order, store, cleanup, partial(recovery.begin, before=recording.run_id),
                               storage, bookings, partial(_end_last_run, store, last_words(folder)))
        recorder, *others = self._begin(
            Task("recording", recording.run, vital=True),
            Task("folder", partial(_watch, folder, lock, store, recording)),
            Task("watchdog", partial(_feed_watchdog, self._clock, recording, store, self._degraded)),
            Task("side", partial(self._go_on, recording, put_in_order, in_order, side), vital=True),
        )
        await _until_known(in_order, recovery)
        log.info("ready", data=str(folder.root), cameras=[camera.name for camera in cameras], run=recording.run_id,
                 bookings=settings.bookings.source, storage=settings.storage.kind, publishing=settings.publishing.kind)
        await self._serve()
        log.info("stopping", waiting_for="films and uploads under way")
        await _cancel(others)
        await films.close()
        await storage.close()
        await cloud.close()
        await pool.close()
        log.info("stopping", waiting_for="cameras and their segments")
        await _cancel([recorder])
        await _end_run(store, clock, recording, device)
        log.info("stopped")

    def _begin(self, *tasks: Task) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._guard(task), name=task.name) for task in tasks]

    async def _go_on(self, recording: Recording, put_in_order: Callable[[], Awaitable[None]], in_order: asyncio.Event,
                     side: Iterable[Task]) -> None:
        """Cameras first: then what earlier runs left, then everything else until stopped."""
        await recording.looked.wait()
        await put_in_order()
        recording.earlier_known()
        in_order.set()
        tasks = self._begin(*side)
        try:
            await asyncio.wait(tasks)
        finally:
            await _cancel(tasks)

    async def _serve(self) -> None:
        """Tell systemd that the recorder is ready, and wait until it is to leave."""
        system.notify("READY=1")
        self.ready.set()
        await self._leaving.wait()
        system.notify("STOPPING=1")

    async def _guard(self, task: Task) -> None:
        """Keep a task going; a vital one that ends, or any that must leave for its error, ends the process."""
        delay_s = RESTART_S
        while not self._leaving.is_set():
            started_us = self._clock.mono_us()
            error: BaseException | None = None
            try:
                await task.run()
            except Exception as caught:  # noqa: BLE001 - a bug in one duty must never cost a match
                error = caught
            if task.vital or isinstance(error, LeaveError):
                self._error = error or LeaveError(f"the task {task.name} has ended")
                self._leaving.set()
                return
            if self._clock.mono_us() - started_us > LONGEST_RESTART_S * SECOND:
                delay_s = RESTART_S
            why = {"error": str(error)} if isinstance(error, EzrecError) else {"exc_info": error}  # foreseen, or a bug
            log.error("task ended, starting it again", ended=task.name, in_s=delay_s, **why)
            self._ended_us[task.name] = self._clock.mono_us()
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_RESTART_S)

    def _degraded(self) -> list[str]:
        """The side tasks that ended lately, what is wrong with the disk, and the alerts."""
        now = self._clock.mono_us()
        ended = [name for name, ended in self._ended_us.items() if now - ended < LONGEST_RESTART_S * SECOND]
        return [*ended, *([f"disk: {self._pace.trouble}"] if self._pace.trouble else []), *self._alerts()]

    # ---- start

    async def _put_in_order(self, store: Store, cleanup: Cleanup, find_footage: Callable[[], Awaitable[None]],
                            storage: Storage, bookings: Bookings, end_last_run: Callable[[], Awaitable[None]]) -> None:
        """What earlier runs left unfinished; nothing that lies in the folder keeps the recorder from recording."""
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "deletions": cleanup.run_once,
            "end of the last run": end_last_run,
            "footage of earlier runs": find_footage,
            "unfinished files": partial(asyncio.to_thread, lambda: files.remove(*self._folder.unfinished_files())),
            "unfinished films": partial(_drop_unfinished, store, self._folder, storage),
            "bookings": partial(_first_answer, bookings),
            "private files": partial(asyncio.to_thread, privacy.close_to_strangers, self.settings),
            "size of files": partial(asyncio.to_thread, capacity.say_too_small, self.settings),
        }
        for what, work in steps.items():
            try:
                await work()
            except LeaveError:
                raise
            except (EzrecError, OSError) as error:
                log.error("start goes on, not put in order", left=what, error=str(error))  # noqa: TRY400 - foreseen
            except Exception:  # whatever it is, the cameras do not wait for it
                log.exception("start goes on, not put in order", left=what)

    def _lane_of(self, camera: Camera) -> Callable[[int, Callable[[Sealed], None]], Lane]:
        recorder = self.settings.recorder

        def make_lane(run: int, sealed: Callable[[Sealed], None]) -> Lane:
            def make_writer(on_sealed: Callable[[Sealed], None],
                            on_failed: Callable[[Exception], None]) -> SegmentWriter:
                return SegmentWriter(self._folder.segments, camera.name, run, rate=camera.rate,
                                     segment_us=round(recorder.segment_s * SECOND), queue_bytes=recorder.queue_mb << 20,
                                     clock=self._clock, sealed=on_sealed, failed=on_failed, pace=self._pace)

            return Lane(camera, make_writer, self._clock, recorder, sealed,
                        keep_warm=self.settings.cameras.keep_warm)

        return make_lane

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """First SIGTERM or SIGINT: stop in order. Second: leave now."""
        def on_signal() -> None:
            if self._leaving.is_set():
                os._exit(1)
            log.info("signal received, stopping")
            self.stop()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def status_of(error: BaseException) -> int:
    """The exit status of a process that leaves for `error`."""
    if isinstance(error, BaseExceptionGroup):
        return max(map(status_of, error.exceptions))
    return error.status if isinstance(error, LeaveError) else 1


def _say_doubts(settings: Settings) -> None:
    for doubt in doubts(settings):
        log.warning("a default that is probably wrong", what=doubt)
    if risk := key_risk(settings):
        log.warning("this device has the key of the whole project", what=risk)


def _highest_run(folder: DataFolder) -> int:
    """The highest number of a run that has a folder here. Blocks."""
    try:
        return max(folder.runs(), default=0)
    except OSError as error:
        log.error("folders of runs not looked through", error=str(error))  # noqa: TRY400 - foreseen
        return 0


async def _until_known(in_order: asyncio.Event, recovery: Recovery) -> None:
    """Wait until what earlier runs left is known, but not for long: a slow disk must not keep systemd waiting."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(QUICK_S):
            await in_order.wait()
    if in_order.is_set():
        await recovery.settled(QUICK_S)


def _alerting(settings: Settings, store: Store, clock: Clock, recording: Recording,
              device: Device, two_boxes: Callable[[], list[str]]) -> tuple[Telling, Sending, Callable[[], list[str]]]:
    """What tells of alerts, what sends them, and those that last, in words."""
    sending = Sending(store, clock, make_mailer(settings), make_webhook(settings, clock))
    trials = Trials(clock, lambda: recording.lanes, settings.cameras.lead_s, settings.cameras.preflight_s)
    telling = Telling(store, clock, settings, recording, trials, device.machine, sending.notify,
                      two_boxes=two_boxes)
    return telling, sending, telling.standing


def _checkups(settings: Settings, store: Store, clock: Clock, zone: ZoneInfo, recording: Recording) -> Checkups:
    """What looks at everything now and then."""
    around = Surroundings(settings, DataFolder(settings.paths.data), clock=clock)
    return Checkups(store, clock, zone, settings.cameras.lead_s, lambda: recording.current_booking() is not None,
                    own_looks(around))


async def _end_run(store: Store, clock: Clock, recording: Recording, device: Device) -> None:
    """Stop the cameras, and note that the recorder was stopped."""
    await recording.stop()
    with contextlib.suppress(EzrecError):  # the next start does not know when it was, then
        await store.run_ended(recording.run_id, clock.wall_us(), in_order=True)
    device.forget()


async def _end_last_run(store: Store, before: tuple[int, int] | None) -> None:
    """Note when the recorder before this one was last alive, if it did not stop in order."""
    if before:
        await store.run_ended(*before, in_order=False)


async def _first_answer(bookings: Bookings) -> None:
    """Ask for bookings. No network keeps the cameras waiting: what is known is recorded."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_ANSWER_S):
            await bookings.run_once()


def reason_of(error: BaseException) -> str:
    """Why a process leaves for `error`: a group of errors says of itself only how many they are."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(reason_of, error.exceptions))
    return str(error) or type(error).__name__


async def _drop_unfinished(store: Store, folder: DataFolder, storage: Storage) -> None:
    """Uploads into the library, and folders of films, that the store knows nothing of."""
    await storage.sweep({film.upload_id for film in await store.films_brief(*UPLOADING) if film.upload_id})
    unknown = await store.not_of_films([path.name for path in folder.films.iterdir()])
    await asyncio.to_thread(opening.put_aside, folder, *(folder.films / name for name in unknown))


async def _watch(folder: DataFolder, lock: DataLock, store: Store, recording: Recording) -> None:
    """Leave when the data folder or the store goes away or shows damage: the next process waits for it, or mends it.

    What SQLite holds in memory hides damage on the disk, so the file is looked at now and then. A row that could not
    be read costs no match: the rest goes on until no camera is on.

    Raises:
        FolderGone, StoreDamaged: it is so.
    """
    looks, opened = 0, StoreFiles(folder.store)
    while True:
        await asyncio.to_thread(lock.check)
        await asyncio.to_thread(opened.check)
        looks += 1
        doubted, store.doubted = store.doubted and not recording.active, store.doubted and recording.active
        if not store.damage and (doubted or looks % STORE_EVERY == 0):
            store.damage = await asyncio.to_thread(partial(damage, folder.store, in_use=True))
        if store.damage:
            raise StoreDamaged(f"the store is damaged: {store.damage}")
        await asyncio.sleep(WATCH_EVERY_S)


async def _feed_watchdog(clock: Clock, recording: Recording, store: Store, degraded: Callable[[], list[str]]) -> None:
    """Tell systemd that the recorder lives, as long as it does: this loop, the store and the look at the windows.

    A store that answers with an error is alive. One whose disk stands still does not answer, and nothing is told until
    it does: the unit's WatchdogSec says how long that may take.
    """
    limit_s, told = system.watchdog_interval_s(), ""
    while True:
        if limit_s:  # or nobody wants to know
            with contextlib.suppress(EzrecError):  # what must leave for it notices by itself
                await store.version_of_data()
        if clock.mono_us() - recording.checked_us < SEEN_ALIVE_S * SECOND:
            system.notify("WATCHDOG=1")
        doing = "; ".join([*(["recording"] if recording.active else []), *degraded()])
        if doing != told and system.notify(f"STATUS={doing}"):
            told = doing
        await asyncio.sleep((limit_s or SEEN_ALIVE_S) / 3)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
