"""Cameras on a Raspberry Pi, through Picamera2: two of its instances in this one process.

Which camera is which is bound by identity (`pair.py`). What Picamera2 leaves to chance is put right
(`picamera2_patches.py`). The thread that encodes is ours and outlives errors (`frame_loop.py`). Every call that may
hang inside libcamera has a limit that holds without Python (`deadline.py`).

Limits: Picamera2 0.3.31 to 0.3.38 are known to work. libcamera holds the interpreter while a camera is opened, started
or stopped (0.1 to 0.7 s each). Methods are for the camera's own thread, as `Camera` says.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import libcamera
import structlog

from ezrec.adapters.cameras import CameraHealth, Sink
from ezrec.adapters.cameras.pi.deadline import at_most
from ezrec.adapters.cameras.pi.exposure import AUTOMATIC, Exposure
from ezrec.adapters.cameras.pi.frame_loop import FrameLoop
from ezrec.adapters.cameras.pi.holders import holders, words_for
from ezrec.adapters.cameras.pi.identity import DetectedCamera
from ezrec.adapters.cameras.pi.pair import Pair
from ezrec.adapters.cameras.pi.picamera2_patches import FrameOutput, SensorTimeEncoder, causes, closed, made
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import CameraLost

log = structlog.get_logger(task="recording")

OPEN_LIMIT_S = 11.0  # the lane gives such a call up a little sooner, if Python can still run
START_LIMIT_S = 9.0
STOP_LIMIT_S = 2.1
CLOSE_LIMIT_S = 8.5
BUFFERS = 6
ENCODED_BY_ONE = 1920 * 1080 * 30  # pixels per second that one thread of a Pi 5 encodes with room to spare
SYNC_PATIENCE_US = 10 * SECOND  # for both sensors to be in step; about 100 frames are usual
METADATA_EVERY = 15  # the metadata of one frame in so many is read
FREE = "sensors run freely"


@dataclass(frozen=True)
class Asked:
    """What a camera is asked for."""

    size: tuple[int, int]  # width and height in pixels, even
    rate: Fraction  # frames per second
    bitrate: int  # bit/s
    keyframe_s: float
    turned: bool = False  # head down: the camera turns its picture by 180 degrees
    sensor_mode: tuple[int, int] | None = None  # size in pixels of what the sensor is to read out
    lens: float | None = None  # dioptres: focus is held there; 0 is far away
    sync: bool = True  # keep the sensors in step where the platform can


def lens_controls(lens: float | None) -> dict[str, Any]:
    """Controls that hold the focus: a lens that hunts spoils more than one that is a little off."""
    return {} if lens is None else {"AfMode": 0, "LensPosition": lens}  # libcamera's AfModeManual is 0


class PicameraCamera:
    """One camera of the pair."""

    def __init__(self, name: str, asked: Asked, pair: Pair, clock: Clock) -> None:
        """Nothing is opened. `name` is left or right, and one of `pair.wanted`."""
        self.name, self.size, self.rate = name, asked.size, asked.rate
        self.turned = 180 if asked.turned else 0
        self._asked, self._pair, self._clock = asked, pair, clock
        self._camera: Any = None
        self._found: DetectedCamera | None = None
        self._encoder: Any = None
        self._output: Any = None  # of the last start
        self._controls: dict[str, Any] = {}  # what it is asked for with every start
        self._sync = ""
        self._metadata: dict[str, Any] = {}  # of the newest frame that was looked at
        self._frames_seen = 0
        self._started_us = 0
        self._trouble = ""  # of the last start
        self._note = ""  # of the last open

    # ---- Camera

    def open(self) -> None:
        """See `Camera.open`."""
        if self._camera is not None:
            return
        with self._pair.alone(), at_most(OPEN_LIMIT_S):
            self._pair.report_holders()
            place, found = self._pair.place(self.name)
            self._found = found
            try:
                camera = made(place)
                try:
                    self._configure(camera)
                except BaseException:
                    closed(camera)
                    raise
            except Exception as error:
                raise CameraLost(self._why("cannot be opened", error)) from error
            self._camera = camera
        log.info("camera opened", camera=self.name, id=found.id, model=found.model, note=self._note)

    def start(self, sink: Sink) -> None:
        """See `Camera.start`."""
        if self._camera is None:
            raise CameraLost(f"camera {self.name} is not open")
        if self._streaming:
            raise CameraLost(f"camera {self.name} is streaming already")
        asked, camera = self._asked, self._camera
        self._trouble, self._metadata = "", {}
        self._started_us = self._clock.mono_us()
        zero_us = self._started_us - SECOND
        encoder = SensorTimeEncoder(zero_us, bitrate=asked.bitrate, framerate=asked.rate, repeat=True,
                                    iperiod=max(1, round(asked.keyframe_s * asked.rate)))
        encoder.threads = math.ceil(asked.size[0] * asked.size[1] * asked.rate / ENCODED_BY_ONE)
        output = FrameOutput(sink, zero_us, self._failed)
        try:
            with at_most(START_LIMIT_S):
                self._encoder, self._output = encoder, output
                camera.start_encoder(encoder, output)
                self._start_sensor()
        except Exception as error:
            raise CameraLost(self._why("does not start", error)) from error

    def stop(self) -> None:
        """See `Camera.stop`. What the encoder still holds is handed over first."""
        if self._camera is None or not (self._streaming or self._camera.started):
            return
        try:
            with at_most(STOP_LIMIT_S):
                self._camera.cancel_all_and_flush()  # a job that timed out would make `stop` hang
                self._camera.stop()
                self._camera.post_callback = None
                self._stop_encoder()
        except Exception as error:
            raise CameraLost(self._why("does not stop well", error)) from error
        finally:
            self._ended()

    def rest(self) -> None:
        """See `Camera.rest`. Nothing is encoded, and the exposure is the camera's own."""
        if self._camera is None:
            raise CameraLost(f"camera {self.name} is not open")
        try:
            with at_most(START_LIMIT_S):
                self._stop_encoder()
                self._start_sensor()
                if self._pair.matcher.holds(self.name):
                    self._camera.set_controls(AUTOMATIC)
        except Exception as error:
            raise CameraLost(self._why("does not stay warm", error)) from error
        finally:
            self._ended()

    def close(self) -> None:
        """See `Camera.close`."""
        try:
            self.stop()
        finally:
            if self._camera is not None:
                with self._pair.alone(), at_most(CLOSE_LIMIT_S):
                    camera, self._camera = self._camera, None
                    try:
                        closed(camera)
                    except Exception as error:
                        raise CameraLost(self._why("does not close", error)) from error

    def health(self) -> CameraHealth:
        """See `Camera.health`."""
        state = "closed" if self._camera is None else "streaming" if self._streaming else "open"
        notes = filter(None, (self._note, self._sync, self._trouble))
        return CameraHealth(self._found.words if self._found else "picamera2", state,
                            frames=self._output.frames if self._output else 0, note="; ".join(notes),
                            temperature_c=self._metadata.get("SensorTemperature"))

    # ---- inside

    @property
    def _streaming(self) -> bool:
        """Whether it was started and not stopped."""
        return self._output is not None and not self._output.ended

    def _start_sensor(self) -> None:
        """Start the camera, unless it rests."""
        if not self._camera.started:
            self._frames_seen = 0
            if self._sync != FREE:
                self._sync = ""  # they have to get in step again
            self._camera.set_controls(self._controls)  # Picamera2 forgets them with every start
            self._camera.post_callback = self._read_metadata
            self._camera.start(show_preview=None)  # the loop is there since it was opened

    def _stop_encoder(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder in self._camera.encoders:
            self._camera.stop_encoder(encoder)

    def _ended(self) -> None:
        """The sink gets nothing more."""
        if self._output is not None:
            self._output.ended = True
        self._pair.matcher.forget(self.name)

    def _configure(self, camera: Any) -> None:
        """Ask for YUV420 without a raw stream: the default needs four times the memory, which the Pi runs short of."""
        asked, notes = self._asked, []
        period_us = round(SECOND / asked.rate)  # asked for as a rate it would be cut off, not rounded
        wishes: dict[str, Any] = {"FrameDurationLimits": (period_us, period_us)} | lens_controls(asked.lens)
        if asked.sync and (mode := self._pair.sync_mode(self.name)):
            wishes["SyncMode"] = mode
        known = camera.camera_controls
        refused = [name for name in wishes if name not in known]
        if odd := sorted(set(refused) - {"SyncMode"}):
            notes.append(f"this camera knows no {', '.join(odd)}")
        self._controls = {name: value for name, value in wishes.items() if name not in refused}
        self._sync = "" if "SyncMode" in self._controls else FREE
        configuration = camera.create_video_configuration(
            main={"size": asked.size, "format": "YUV420"}, raw=None, buffer_count=BUFFERS,
            transform=libcamera.Transform(hflip=int(asked.turned), vflip=int(asked.turned)),
            sensor={"output_size": asked.sensor_mode} if asked.sensor_mode else {},
            controls=self._controls)
        camera.configure(configuration)
        got = camera.camera_configuration()
        if tuple(got["main"]["size"]) != asked.size:
            raise CameraLost(f"asked for {asked.size[0]}x{asked.size[1]}, it gives "
                             f"{got['main']['size'][0]}x{got['main']['size'][1]}")
        sensor = (got.get("sensor") or {}).get("output_size")
        if asked.sensor_mode and sensor and tuple(sensor) != asked.sensor_mode:
            notes.append(f"sensor mode {sensor[0]}x{sensor[1]} instead of "
                         f"{asked.sensor_mode[0]}x{asked.sensor_mode[1]}")
        camera.start_preview(FrameLoop(f"camera-{self.name}-frames", self._failed))
        self._note = "; ".join(notes)

    def _read_metadata(self, request: Any) -> None:
        """On the frames' thread, for every frame before it is encoded: read what few frames tell."""
        self._frames_seen += 1
        if self._frames_seen % METADATA_EVERY or not self._streaming:
            return
        try:
            self._metadata = request.get_metadata()
            self._follow_sync()
            since_start_us = self._clock.mono_us() - self._started_us
            controls = self._pair.matcher.controls_for(self.name, Exposure.of(self._metadata), since_start_us)
            if controls is not None:
                self._camera.set_controls(controls)
        except Exception as error:  # noqa: BLE001 - nothing that is only looked at may cost a frame
            self._failed(error)

    def _follow_sync(self) -> None:
        if self._metadata.get("SyncReady") and not self._sync.startswith("sensors in step"):
            after_s = (self._clock.mono_us() - self._started_us) / SECOND
            self._sync = f"sensors in step after {after_s:.1f} s"
            log.info("sensors in step", camera=self.name, after_s=round(after_s, 1))
        elif not self._sync and self._clock.mono_us() - self._started_us > SYNC_PATIENCE_US:
            self._sync = "sensors not in step"
            log.warning("sensors not in step, going on without", camera=self.name)

    def _failed(self, error: Exception) -> None:
        """An error on the frames' thread; said once a start."""
        if not self._trouble:
            log.error("camera's frames failed", camera=self.name, exc_info=error)
        self._trouble = f"{type(error).__name__}: {error}"
        error.__traceback__ = None  # its frames hold the picture's buffer, which then could not be given back

    def _why(self, what: str, error: Exception) -> str:
        """Why something failed, for people; with who holds the camera, if somebody does."""
        if isinstance(error, CameraLost):
            return str(error)
        text = f"camera {self.name} ({self._found.words if self._found else 'unknown'}) {what}: {causes(error)}"
        if "busy" in text.lower():
            text += f". {words_for(holders())}"
        return text
