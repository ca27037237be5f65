"""A stand-in for libcamera's Python bindings, so that the real Picamera2 class runs where there is no camera.

With this folder on the path, `import picamera2` gets this module, and with it buffers in shared memory instead of DMA
heaps and a platform that is a Pi 5's; everything else is Picamera2's own: its threads, locks, requests, allocator and
encoders. Two cameras look at the simulated court, each on a thread of its own that fills one queued request a frame
time; a frame is handed over one frame time after its sensor time, as by real sensors.

$STANDIN_FAULTS names a JSON file that is read while running, as the simulated cameras' faults file is:

    {"left": {"stalled": true}, "right": {"stop_hangs_s": 3600}}

$STANDIN_CAMERAS is a JSON list of the cameras there are: [{"id": …, "model": …, "side": …}, …] in libcamera's
order. Which faults there are is told by `FAULTS`.
"""

import ctypes
import importlib.util
import json
import mmap
import os
import random
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Iterator
from enum import Enum
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

__version__ = "0.7.2+standin"  # whose bindings it stands in for

FAULTS: dict[str, Any] = {
    "absent": False,  # not in the list; a stream that runs gives nothing more
    "stalled": False,  # gives no frames and says nothing, as libcamera's own time-outs do
    "stalls_until_restarted": False,  # the same, and a new start helps
    "stalls_until_reopened": False,  # the same, and only `release` helps
    "late_s": 0.0,  # how long `start` takes
    "drop": 0.0,  # the share of frames that never come
    "rate_ppm": 0.0,  # how much too fast its clock runs
    "start_fails": False,
    "stop_hangs_s": 0.0,  # how long `stop` takes
    "hold_s": 0.0,  # how long `configure`, `start` and `stop` each hold the interpreter, as the real ones do
    "stop_holds_s": 0.0,  # how long `stop` holds the interpreter
    "busy": False,  # somebody else has it
    "no_memory": False,  # no buffers can be had
    "failed_frames": False,  # frames come with an error status
    "slow_ready": 0,  # frames until the sensors are in step
    "exposure_us": 10_000,  # what the automatic exposure comes to
    "black": False,
}

_CAMERAS = [
    {"id": "/base/axi/pcie@1000120000/rp1/i2c@88000/imx708@1a", "model": "imx708", "side": "left"},
    {"id": "/base/axi/pcie@1000120000/rp1/i2c@80000/imx708@1a", "model": "imx708", "side": "right"},
]
_SENSOR = (4608, 2592)
_MODES = ((1536, 864), (2304, 1296), _SENSOR)
_OVERLAP = 0.1
_READY_FRAMES = 100  # until sensor sync is reached, as on a Pi


class _Faults:
    """The faults of one side, looked at no more than twenty times a second."""

    def __init__(self, side: str) -> None:
        self._side, self._at, self._now = side, 0.0, dict(FAULTS)

    def __getitem__(self, name: str) -> Any:
        if time.monotonic() - self._at > 0.05:
            self._at = time.monotonic()
            try:
                with open(os.environ["STANDIN_FAULTS"], encoding="utf-8") as file:  # noqa: PTH123
                    self._now = FAULTS | json.load(file).get(self._side, {})
            except (KeyError, OSError):
                self._now = dict(FAULTS)
        return self._now[name]


def _hold(seconds: float) -> None:
    """Wait without giving the interpreter to anybody else: PyDLL calls do not release its lock."""
    if seconds:
        ctypes.PyDLL(None).usleep(min(int(seconds * 1e6), 4_000_000_000))


# ---- plain values


class Transform:
    def __init__(self, other: "Transform | None" = None, *, hflip: int = 0, vflip: int = 0, transpose: int = 0) -> None:
        source = other or SimpleNamespace(hflip=hflip, vflip=vflip, transpose=transpose)
        self.hflip, self.vflip, self.transpose = source.hflip, source.vflip, source.transpose

    def __str__(self) -> str:
        return f"hflip={self.hflip} vflip={self.vflip} transpose={self.transpose}"

    def __hash__(self) -> int:
        return hash((self.hflip, self.vflip, self.transpose))


class ColorSpace:
    YcbcrEncoding = SimpleNamespace(Null=0, Rec601=1, Rec709=2)
    Range = SimpleNamespace(Full=0, Limited=1)

    def __init__(self, other: "ColorSpace | None" = None, name: str = "") -> None:
        self.name = other.name if other else name
        self.primaries = self.transferFunction = self.name
        self.ycbcrEncoding, self.range = 2, 1

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)

    Sycc = classmethod(lambda cls: cls(name="sYCC"))
    Smpte170m = classmethod(lambda cls: cls(name="SMPTE170M"))
    Rec709 = classmethod(lambda cls: cls(name="Rec709"))
    Raw = classmethod(lambda cls: cls(name="RAW"))


class Size:
    def __init__(self, width: int = 0, height: int = 0) -> None:
        self.width, self.height = width, height


class Rectangle:
    def __init__(self, x: int = 0, y: int = 0, width: int = 0, height: int = 0) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height


class PixelFormat:
    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


class SensorConfiguration:
    bit_depth = 0
    output_size = Size()


Orientation = Enum("Orientation", ["Rotate0", "Rotate0Mirror", "Rotate180", "Rotate180Mirror", "Rotate90Mirror",
                                   "Rotate270", "Rotate270Mirror", "Rotate90"])
StreamRole = Enum("StreamRole", ["Raw", "StillCapture", "VideoRecording", "Viewfinder"])
ControlType = Enum("ControlType", ["Null", "Bool", "Integer32", "Float", "Rectangle", "Size"])
FrameMetadata = SimpleNamespace(Status=Enum("Status", ["Success", "Error", "Cancelled"]))
_libcamera = sys.modules[__name__]


class _Id:
    def __init__(self, name: str) -> None:
        self.name, self.type = name, ControlType.Null


_CONTROLS: dict[str, tuple[Any, Any, Any]] = {
    "FrameDurationLimits": (8000, 1_000_000, 33333), "ExposureTime": (100, 1_000_000, 20000),
    "ExposureTimeMode": (0, 1, 0), "AnalogueGain": (1.0, 16.0, 1.0), "AnalogueGainMode": (0, 1, 0),
    "AeEnable": (False, True, True), "AwbEnable": (False, True, True), "ColourGains": (0.0, 32.0, 0.0),
    "NoiseReductionMode": (0, 4, 0), "AfMode": (0, 2, 0), "LensPosition": (0.0, 15.0, 1.0), "SyncMode": (0, 2, 0),
}
_TOLD = ("SensorTimestamp", "FrameDuration", "SyncReady", "SensorTemperature", "Lux")
_IDS = {name: _Id(name) for name in (*_CONTROLS, *_TOLD)}
controls = SimpleNamespace(
    **_IDS, AfModeEnum=SimpleNamespace(Manual=0, Auto=1, Continuous=2), AfTriggerEnum=SimpleNamespace(Start=0),
    AfStateEnum=SimpleNamespace(Idle=0, Scanning=1, Focused=2, Failed=3),
    draft=SimpleNamespace(NoiseReductionModeEnum=SimpleNamespace(Off=0, Fast=1, HighQuality=2, Minimal=3)),
    rpi=SimpleNamespace(SyncModeEnum=SimpleNamespace(Off=0, Server=1, Client=2)))
properties = SimpleNamespace(draft=SimpleNamespace(ColorFilterArrangementEnum=SimpleNamespace(MONO=4)))


# ---- configuration and buffers


class _Formats:
    pixel_formats = (PixelFormat("SBGGR10_CSI2P"),)

    def sizes(self, _: PixelFormat) -> list[Size]:
        return [Size(*mode) for mode in _MODES]


class _Stream:
    def __init__(self, configuration: "_StreamConfiguration") -> None:
        self.configuration = configuration


class _StreamConfiguration:
    formats = _Formats()

    def __init__(self) -> None:
        self.size, self.pixel_format, self.buffer_count, self.stride = Size(), PixelFormat("YUV420"), 4, 0
        self.color_space: ColorSpace | None = None
        self.frame_size = 0
        self.stream = _Stream(self)


class CameraConfiguration:
    Status = Enum("Status", ["Valid", "Adjusted", "Invalid"])

    def __init__(self, streams: int) -> None:
        self.orientation = Orientation.Rotate0
        self.sensor_config: SensorConfiguration | None = None
        self._streams = [_StreamConfiguration() for _ in range(streams)]

    def at(self, index: int) -> _StreamConfiguration:
        return self._streams[index]

    def __iter__(self) -> Iterator[_StreamConfiguration]:
        return iter(self._streams)

    def validate(self) -> Any:
        """Lines are padded as the Pi's are: the chroma of YUV420 to 64 bytes."""
        for one in self._streams:
            width, height = one.size.width, one.size.height
            if str(one.pixel_format) == "YUV420":
                one.stride = (width + 127) // 128 * 128
                one.frame_size = one.stride * height * 3 // 2
            else:
                one.stride = width * 4
                one.frame_size = one.stride * height
        return self.Status.Valid


class _Plane:
    fd = offset = length = 0


class FrameBuffer:
    Plane = _Plane

    def __init__(self, planes: list[_Plane]) -> None:
        self.planes = planes
        self.metadata = SimpleNamespace(
            status=FrameMetadata.Status.Success, planes=[SimpleNamespace(bytes_used=plane.length) for plane in planes])


class FrameBufferAllocator:
    """Named by one of Picamera2's allocators, used by nobody."""


class Request:
    Status = Enum("Status", ["Pending", "Complete", "Cancelled"])

    def __init__(self, camera: "Camera", cookie: int) -> None:
        self.camera, self.cookie = camera, cookie
        self.buffers: dict[_Stream, FrameBuffer] = {}
        self.metadata: dict[_Id, Any] = {}
        self.settings: dict[str, Any] = {}
        self.status = self.Status.Pending

    def add_buffer(self, stream: _Stream, buffer: FrameBuffer) -> None:
        self.buffers[stream] = buffer

    def reuse(self) -> None:
        self.status, self.metadata, self.settings = self.Status.Pending, {}, {}

    def set_control(self, control: _Id, value: Any) -> None:
        self.settings[control.name] = value


# ---- the cameras


class Camera:
    """One camera; `start` sets a thread going that plays sensor and pipeline."""

    def __init__(self, described: dict[str, Any]) -> None:
        self.id: str = described["id"]
        self.side: str = described["side"]
        self.faults = _Faults(self.side)
        self.properties = {_Id("Model"): described["model"], _Id("Location"): 2, _Id("Rotation"): 0,
                           _Id("ColorFilterArrangement"): 0}
        self.controls = {_IDS[name]: SimpleNamespace(min=low, max=high, default=default)
                         for name, (low, high, default) in _CONTROLS.items()
                         if name not in described.get("without", ())}
        self._held = self._wedged = self._asleep = False
        self._configuration: CameraConfiguration | None = None
        self._queue: deque[Request] = deque()
        self._leave = threading.Event()
        self._thread: threading.Thread | None = None
        self._settings: dict[str, Any] = {}

    def acquire(self) -> None:
        if self.faults["busy"] or self._held:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self._held = True

    def release(self) -> None:
        self._held = self._wedged = False

    def generate_configuration(self, roles: list[Any]) -> CameraConfiguration:
        return CameraConfiguration(len(roles))

    def configure(self, configuration: CameraConfiguration) -> int:
        _hold(self.faults["hold_s"])
        self._configuration = configuration
        return 0

    def create_request(self, cookie: int) -> Request:
        return Request(self, cookie)

    def start(self, settings: dict[_Id, Any]) -> None:
        _hold(self.faults["hold_s"])
        time.sleep(self.faults["late_s"])
        if self.faults["start_fails"] or self.faults["absent"]:
            raise RuntimeError("Failed to start camera: Input/output error")
        self._settings = {control.name: value for control, value in settings.items()}
        self._leave.clear()
        self._asleep = False
        self._thread = threading.Thread(target=self._stream, name=f"libcamera-{self.side}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        _hold(max(self.faults["hold_s"], self.faults["stop_holds_s"]))
        time.sleep(self.faults["stop_hangs_s"])
        self._leave.set()
        if self._thread is not None:
            self._thread.join()
        while self._queue:
            self._done(self._queue.popleft(), Request.Status.Cancelled)

    def queue_request(self, request: Request) -> None:
        self._queue.append(request)

    def _done(self, request: Request, status: Any) -> None:
        request.status = status
        _MANAGER.put(request)

    def _period(self) -> Fraction:
        """Seconds from frame to frame: of the rate that is meant, which whole microseconds do not quite tell."""
        limits = self._settings.get("FrameDurationLimits", (33333, 33333))
        rate = Fraction(1_000_000, int(limits[0])).limit_denominator(1001)
        return 1 / (rate * (1 + Fraction(self.faults["rate_ppm"]) / 1_000_000))

    def _stream(self) -> None:
        """Frame n is due at n periods of the machine's clock, and handed over one period later."""
        assert self._configuration is not None
        scene = _Scene(self.side, self._configuration)
        dice = random.Random(self.side)
        period = self._period()
        last = _index(time.monotonic_ns(), period)
        frames = 0
        while not self._leave.is_set():
            if period != self._period():
                period = self._period()
                last = _index(time.monotonic_ns(), period) - 1
            index = _index(time.monotonic_ns(), period) - 1
            if index <= last:
                due = (last + 2) * period
                self._leave.wait(min(max(0.0, float(due) - time.monotonic()), 0.1))
                continue
            last, frames = last + 1, frames + 1  # a thread that is late fills the frames it missed, as hardware does
            self._wedged = self._wedged or self.faults["stalls_until_reopened"]
            self._asleep = self._asleep or self.faults["stalls_until_restarted"]
            silent = self._wedged or self._asleep or self.faults["stalled"] or self.faults["absent"]
            if silent or dice.random() < self.faults["drop"]:
                continue
            if not self._queue:
                continue  # nobody gave a buffer: the frame is lost, as on the real one
            self._fill(self._queue.popleft(), scene, last, period, frames)

    def _fill(self, request: Request, scene: "_Scene", index: int, period: Fraction, frames: int) -> None:
        self._settings |= request.settings
        if request.settings.get("AwbEnable"):
            del self._settings["ColourGains"]
        ns = -(-index * period.numerator * 1_000_000_000 // period.denominator)
        buffer = request.buffers[scene.stream]
        scene.draw(buffer, ns // 1000, index, black=self.faults["black"])
        failed = self.faults["failed_frames"]
        buffer.metadata.status = FrameMetadata.Status.Error if failed else FrameMetadata.Status.Success
        automatic = self._settings.get("ExposureTimeMode", 0) == 0
        ready = frames > (self.faults["slow_ready"] or _READY_FRAMES)
        told = {"SensorTimestamp": ns, "FrameDuration": int(period * 1_000_000),
                "ExposureTime": self.faults["exposure_us"] if automatic else self._settings["ExposureTime"],
                "AnalogueGain": self._settings.get("AnalogueGain") or 2.0, "SensorTemperature": 41.0, "Lux": 400.0,
                "ColourGains": self._settings.get("ColourGains", (2.1, 1.7)), "DigitalGain": 1.0}
        if self._settings.get("SyncMode", 0):
            told["SyncReady"] = ready
        request.metadata = {_IDS.get(name) or _Id(name): value for name, value in told.items()}
        self._done(request, Request.Status.Complete)


def _index(now_ns: int, period: Fraction) -> int:
    return now_ns * period.denominator // (1_000_000_000 * period.numerator)


class _Scene:
    """The court as one camera sees it, drawn into its buffers."""

    def __init__(self, side: str, configuration: CameraConfiguration) -> None:
        from ezrec.adapters.cameras.synthetic.court import CourtView  # noqa: PLC0415 - not before a camera is started
        from ezrec.pyav import Planes  # noqa: PLC0415

        of = configuration.at(0)
        self.stream, self._stride = of.stream, of.stride
        self._size = of.size.width, of.size.height
        self._turned = configuration.orientation is Orientation.Rotate180
        self._maps: dict[int, mmap.mmap] = {}
        width, height = self._size
        self._planes = Planes(np.empty((height, width), np.uint8), np.empty((height // 2, width // 2), np.uint8),
                              np.empty((height // 2, width // 2), np.uint8))
        self._view = CourtView(self._size, side, _OVERLAP)
        self._view.paint(self._planes)

    def draw(self, buffer: FrameBuffer, us: int, index: int, *, black: bool) -> None:
        """Draw frame `index` of `us` into the buffer; a camera that hangs head down delivers it turned."""
        self._view.draw(self._planes, us, index % (1 << 24))
        plane = buffer.planes[0]
        if plane.fd not in self._maps:
            self._maps[plane.fd] = mmap.mmap(plane.fd, plane.length)
        memory = np.frombuffer(self._maps[plane.fd], np.uint8)
        (width, height), stride = self._size, self._stride
        luma, chroma = stride * height, stride // 2 * (height // 2)
        for source, at, step, wide in ((self._planes.y, 0, stride, width),
                                       (self._planes.u, luma, stride // 2, width // 2),
                                       (self._planes.v, luma + chroma, stride // 2, width // 2)):
            target = memory[at:at + step * len(source)].reshape(-1, step)[:, :wide]
            if black:
                target[:] = 16 if wide == width else 128
            else:
                target[:] = source[::-1, ::-1] if self._turned else source


class CameraManager:
    """All cameras there are now, and the requests that are done."""

    version = __version__

    def __init__(self) -> None:
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ready: deque[Request] = deque()
        self._known: list[Camera] = []

    @staticmethod
    def singleton() -> "CameraManager":
        return _MANAGER

    @property
    def cameras(self) -> list[Camera]:
        if not self._known:
            described = json.loads(os.environ.get("STANDIN_CAMERAS", "null"))
            self._known = [Camera(one) for one in (_CAMERAS if described is None else described)]
        return [camera for camera in self._known if not camera.faults["absent"]]

    def put(self, request: Request) -> None:
        self._ready.append(request)
        os.eventfd_write(self.event_fd, 1)

    def get_ready_requests(self) -> list[Request]:
        try:
            os.eventfd_read(self.event_fd)
        except BlockingIOError:
            return []
        done = []
        while self._ready:
            done.append(self._ready.popleft())
        return done


_MANAGER = CameraManager()


# ---- what of the machine Picamera2 reaches past libcamera


def _on_this_machine() -> None:
    """Give Picamera2 shared memory for a DMA heap, and a Pi 5's platform, before the rest of it is imported."""
    from picamera2 import dma_heap, platform  # noqa: PLC0415
    from picamera2.allocators import dmaallocator  # noqa: PLC0415

    class Heap:
        isValid = True  # noqa: N815 - its name in Picamera2

        def alloc(self, name: str, size: int) -> Any:
            if any(camera.faults["no_memory"] for camera in _MANAGER._known if camera._held):
                raise OSError(12, "Cannot allocate memory")
            handle = os.memfd_create(name)
            os.ftruncate(handle, size)
            return dma_heap.UniqueFD(handle)

        def close(self) -> None:
            pass

    dmaallocator.DmaHeap = Heap
    dmaallocator.fcntl = SimpleNamespace(ioctl=lambda *_: 0)
    platform._platform = platform.Platform.PISP


if "picamera2" in sys.modules:  # which is being imported
    _on_this_machine()
else:  # its parts are wanted without itself, for which this module would have to be done
    _package = types.ModuleType("picamera2")
    _package.__path__ = list(importlib.util.find_spec("picamera2").submodule_search_locations)  # type: ignore[union-attr,arg-type]
    sys.modules["picamera2"] = _package
    _on_this_machine()
    del sys.modules["picamera2"]
