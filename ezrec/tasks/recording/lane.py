"""A lane: one camera from its device to its segments, kept alive.

All of a camera's blocking calls run on one daemon thread of its own, each with a limit. A camera that falls silent is
flushed, stopped and started again; if that does not help, or comes too often, it is closed and opened again; one that
fails is tried again with growing delays. One whose thread hangs cannot be repaired inside the process, so the process
leaves. One lane's trouble never touches the other's frames.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ezrec import logs
from ezrec.adapters.cameras import Camera, Frame
from ezrec.adapters.cameras.inspection import Sample, Verdict, judge
from ezrec.adapters.segments import Sealed, SegmentWriter
from ezrec.config.sections import RecorderSettings
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import CameraLost
from ezrec.tasks.recording.device import CameraDevice
from ezrec.tasks.recording.stamps import Stamps
from ezrec.tasks.recording.watermark import Watermark

log = logs.get("recording")

FLUSH_LIMIT_S = 10.0  # for the writer to seal what it holds
CHECK_EVERY_S = 0.1  # how often a streaming camera is looked at
FIRST_RETRY_S = 0.5
TRIAL_S = 5.0  # for two pictures of a camera that is tried out
REVIVED_S = 1.0  # a camera that was silent and was only started again must give a frame within this time
REVIVE_AGAIN_S = 30.0  # one that falls silent again sooner is opened anew


@dataclass(frozen=True)
class LaneHealth:
    """How a lane is doing; frames are counted since the run began."""

    state: str  # off, warm, starting, streaming, or lost (silent for longer than the stall limit, or never there)
    frames: int  # written to segments
    dropped: int  # missing in sealed segments, as the sensor times tell
    queue_bytes: int  # waiting to be written
    last_frame_ms: int | None  # age of the newest frame; None if none came yet
    restarts: int
    temperature_c: float | None = None  # of the sensor, where it tells
    note: str = ""  # what the camera itself has to say


class Lane:
    """One camera and its writer. `sealed` is called in the loop with every closed, fsynced segment."""

    def __init__(self, camera: Camera, make_writer: Callable[[Callable[[Sealed], None],
                 Callable[[Exception], None]], SegmentWriter], clock: Clock, settings: RecorderSettings,
                 sealed: Callable[[Sealed], None], *, keep_warm: bool = False) -> None:
        self.camera = camera
        self.name = camera.name
        self.restarts = 0  # starts that a trouble made necessary
        self.failures = 0  # tries since the last frame that came to nothing
        self.delivered = 0  # frames that the camera handed over
        self.late_frames = 0  # of these, frames for a time that had been given up, or that cannot be
        self._clock = clock
        self._settings = settings
        self._device = CameraDevice(camera, clock, keep_warm=keep_warm)
        self._loop = asyncio.get_running_loop()
        self._hand_over = sealed
        self._watermark = Watermark()
        self._writer = make_writer(self._on_sealed, lambda error: log.error(
            "segment not written", camera=camera.name, error=str(error)))
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._unwanted.set()
        self._called = asyncio.Event()  # there is something to do: it is wanted, or to be tried out
        self._trial: asyncio.Future[Sample | Verdict | None] | None = None
        self._sample: Sample | None = None  # takes part in the frames while somebody looks at them
        self._active = False  # between the first call to open and the end of stop and flush
        self._alive_us = 0  # when the camera last gave a sign of life, or was first asked for one
        self._stamps = Stamps(camera.name, clock)  # of all frames, whether they are written yet: a disk may stall

    @property
    def streaming(self) -> bool:
        """Whether frames came within the last stall limit."""
        return self._active and self._clock.mono_us() - self._stamps.newest_us < self._settings.stall_s * SECOND

    @property
    def idle(self) -> bool:
        """Whether the camera is off and everything it gave is sealed."""
        return not self._active

    def last_frame_us(self) -> int:
        """Sensor time of the newest frame, run-monotonic µs; 0 if none came yet."""
        return self._stamps.newest_us

    def health(self) -> LaneHealth:
        """How the lane is doing now; quick, for the heartbeat and for people."""
        so_far, newest_us = self._writer.counters, self._stamps.newest_us
        age_ms = max(0, self._clock.mono_us() - newest_us) // 1000 if newest_us else None
        camera_health = self.camera.health()
        return LaneHealth(self._state(), so_far.frames, so_far.dropped, so_far.queue_bytes, age_ms, self.restarts,
                          camera_health.temperature_c, camera_health.note)

    def _state(self) -> str:
        if not self._active:
            return "warm" if self._device.warm else "off"
        if self.streaming:
            return "streaming"
        silent_us = self._clock.mono_us() - max(self._alive_us, self._stamps.newest_us)
        return "lost" if silent_us >= self._settings.stall_s * SECOND else "starting"

    def want(self, wanted: bool) -> None:
        """Turn the lane on or off; it gets there by itself."""
        if wanted and not self._wanted.is_set():
            self._alive_us = self._clock.mono_us()
            self._active = True
            self._watermark.give_up(self._alive_us)
            self._unwanted.clear()
            self._wanted.set()
            self._called.set()
        elif not wanted and self._wanted.is_set():
            self._wanted.clear()
            self._unwanted.set()

    def cut_after(self, us: int) -> None:
        """Begin a new segment at the first key frame at or after `us`."""
        self._writer.cut_after(us)

    def recorded(self, sealed: Sealed) -> None:
        """A sealed segment's row is in the store."""
        self._watermark.recorded(sealed)

    def watermark_us(self) -> int:
        """The time up to which this camera's footage is durable, or will never come, in run-monotonic µs.

        A camera that has been silent for `lost_s` gives the past up: what it delivers for it later is not used.
        """
        now, pending_us = self._clock.mono_us(), self._writer.pending_from_us
        silent_us = now - max(self._alive_us, self._stamps.newest_us)
        silent = not self._active or silent_us > self._settings.lost_s * SECOND
        return self._watermark.now_us(pending_us, give_up_us=now if silent else None)

    async def run(self) -> None:
        """Keep the camera delivering while it is wanted, until stopped."""
        first_s = min(FIRST_RETRY_S, self._settings.retry_max_s)
        delay_s = first_s
        if not self._wanted.is_set():
            await self._device.warm_up()
        while True:
            await self._called.wait()
            if not self._wanted.is_set():
                self._called.clear()
                await self._try_out()
                continue
            started_us, delivered = self._clock.mono_us(), self.delivered
            try:
                await self._deliver()
                delay_s = first_s
            except CameraLost as error:
                self.restarts += 1
                self.failures = 1 if self.delivered > delivered else self.failures + 1
                if self._clock.mono_us() - started_us > 2 * self._settings.retry_max_s * SECOND:
                    delay_s = first_s
                log.warning("camera lost", camera=self.name, error=str(error), retry_s=delay_s)
                await self._pause(delay_s)
                delay_s = min(delay_s * 2, self._settings.retry_max_s)
            if not self._wanted.is_set():
                self._active = False

    async def try_out(self, reference: Path | None) -> Verdict | None:
        """Look at the camera's picture, whether it is on or not; None if it was wanted before there was one to judge.

        Raises:
            CameraStuck: a call on it hangs.
        """
        if self._active:
            sample = self._sample = Sample(self.camera.rate)
            await _until_ready(sample, self._unwanted, self._clock)
            self._sample = None
            return await asyncio.to_thread(judge, sample, reference)
        if self._trial is not None:  # one at a time
            return None
        self._trial = self._loop.create_future()
        self._called.set()
        try:
            got = await self._trial
        finally:
            self._trial = None
        return await asyncio.to_thread(judge, got, reference) if isinstance(got, Sample) else got

    async def _try_out(self) -> None:
        """Switch a camera on that is off, only to look at it."""
        trial = self._trial
        if trial is None or trial.done():
            return
        sample = Sample(self.camera.rate)
        got: Sample | Verdict | None = None
        try:
            await self._device.open()
            await self._device.start(sample)
            await _until_ready(sample, self._wanted, self._clock)
            got = sample if sample.ready or not self._wanted.is_set() else None
        except CameraLost as error:
            got = Verdict([str(error)])
        finally:
            try:
                if not (isinstance(got, Sample) and await self._device.rest()):
                    await self._device.stop()
                    await self._device.close()
            finally:
                if not trial.done():  # nobody waits any more, when leaving
                    trial.set_result(got)

    async def stop(self) -> None:
        """Seal everything and give the device back; the lane is of no use afterwards."""
        self.want(False)
        await self._halt()
        await asyncio.to_thread(self._writer.close, FLUSH_LIMIT_S)

    async def _deliver(self) -> None:
        """Open, start and watch until the lane is no longer wanted.

        Raises:
            CameraLost: the camera is not there, does not start or has fallen silent.
            CameraStuck: a call on it hangs.
        """
        try:
            log.info("camera starting", camera=self.name)
            await self._device.open()
            revived = False
            while not self._unwanted.is_set():
                started_us, delivered = self._clock.mono_us(), self.delivered
                await self._device.start(self._take)
                silence = await self._watch(REVIVED_S if revived else self._settings.stall_s)
                if silence is None:
                    return
                worked_s = (self._stamps.newest_us - started_us) / SECOND
                if self.delivered == delivered or (revived and worked_s < REVIVE_AGAIN_S):
                    raise silence
                revived = True
                self.restarts += 1
                log.warning("camera silent, starting it again", camera=self.name, error=str(silence))
                await self._quiet()
        finally:
            await self._halt(rest=self._unwanted.is_set())

    async def _watch(self, first_s: float) -> CameraLost | None:
        """Look at a camera that was just started until it is no longer wanted; its silence, if that comes first.

        The first frame may take `first_s`.
        """
        started_us, delivered = self._clock.mono_us(), self.delivered
        while not self._unwanted.is_set():
            limit_s = self._settings.stall_s if self.delivered > delivered else first_s
            silent_us = self._clock.mono_us() - max(started_us, self._stamps.newest_us)
            if silent_us > limit_s * SECOND:
                return CameraLost(f"no frame for {silent_us / SECOND:.1f} s")
            await self._pause(CHECK_EVERY_S)
        return None

    async def _quiet(self) -> None:
        """Stop the camera and seal what it gave."""
        await self._device.stop()
        await asyncio.to_thread(self._writer.flush, FLUSH_LIMIT_S)

    async def _halt(self, *, rest: bool = False) -> None:
        """Stop the camera, seal what it gave and give the device back, or let it `rest` if it is to be kept warm."""
        if rest and await self._device.rest():
            await asyncio.to_thread(self._writer.flush, FLUSH_LIMIT_S)
        else:
            await self._quiet()
            await self._device.close()
        so_far = self._writer.counters  # all counted since the run began
        log.info("camera stopped", camera=self.name, delivered=self.delivered, written=so_far.frames,
                 dropped=so_far.dropped, overflowed=so_far.overflowed, discarded=so_far.discarded,
                 late_max_ms=so_far.late_max_us // 1000, call_max_ms=round(self._device.longest_call_s * 1000))

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than the lane is wanted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._unwanted.wait()

    def _take(self, frame: Frame) -> None:
        """The camera's sink, on its thread: never blocks, never raises."""
        self.delivered += 1
        self.failures = 0
        us = self._stamps.take(frame)
        sample = self._sample  # the loop may take it away at any moment
        if sample is not None and us is not None:
            sample(frame)
        if us is None or not self._watermark.takes(us):
            self.late_frames += 1
            return
        self._writer.put(frame)

    def _on_sealed(self, sealed: Sealed) -> None:
        """From the writer's thread, before the writer forgets that the segment was pending."""
        self._watermark.sealed(sealed.start_us)
        with suppress(RuntimeError):  # the loop has gone; the segment is adopted at the next start
            self._loop.call_soon_threadsafe(self._hand_over, sealed)


async def _until_ready(sample: Sample, enough: asyncio.Event, clock: Clock) -> None:
    """Wait until there is enough to judge, for as long as a camera may take, or until `enough`."""
    until_us = clock.mono_us() + round(TRIAL_S * SECOND)
    while not (sample.ready or enough.is_set() or clock.mono_us() >= until_us):  # noqa: ASYNC110 - as frames come
        await asyncio.sleep(CHECK_EVERY_S)
