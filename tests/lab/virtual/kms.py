"""What real Picamera2 needs to run on real libcamera's virtual cameras, on a machine without a display or a DMA heap.

Picamera2 imports a module of this name for its previews on a screen; with this folder on the path it gets this one,
and with it what the hardware would bring: buffers in shared memory, the platform of a Pi 5, an answer to a question for
raw streams, and a pace: the virtual cameras complete a request as fast as it is queued. Threads, requests, jobs,
encoders and libcamera itself are the real ones.

$LAB_FREEZE names a file; a camera whose model stands in it gives no frame.
"""

import os
import threading
import time
from collections import deque
from mmap import MAP_SHARED, PROT_READ, PROT_WRITE, mmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import libcamera
import picamera2.encoders
from picamera2 import platform
from picamera2.allocators import dmaallocator

PERIOD_S = 1 / 30


class _Formats(type):
    def __getattr__(cls, name: str) -> str:
        return name


class PixelFormats(metaclass=_Formats):
    """Named while Picamera2 is imported, used by nobody."""


# ---- buffers in shared memory, of the two planes that NV12 has


class _Heap:
    def close(self) -> None:
        pass


def _allocate(self: Any, configuration: Any, _use: Any) -> None:
    """As Picamera2's own does it, but for where the memory comes from and for the planes."""
    self.libcamera_fds = []
    self.cleanup()
    for handle in self.open_fds:
        os.close(handle)
    self.frame_buffers, self.open_fds = {}, []
    for stream in configuration:
        luma = stream.stride * stream.size.height
        made = []
        for number in range(stream.buffer_count):
            handle = os.memfd_create(f"lab-{number}")
            os.ftruncate(handle, stream.frame_size)
            self.open_fds.append(handle)
            planes = [libcamera.FrameBuffer.Plane(), libcamera.FrameBuffer.Plane()]
            for plane, offset, length in zip(planes, (0, luma), (luma, luma // 2), strict=True):
                plane.fd, plane.offset, plane.length = handle, offset, length
            self.libcamera_fds.append(planes[0].fd)
            self.mapped_buffers_used[planes[0].fd] = False
            made.append(libcamera.FrameBuffer(planes))
            self.mapped_buffers[made[-1]] = mmap(planes[0].fd, stream.frame_size, MAP_SHARED, PROT_READ | PROT_WRITE)
        self.frame_buffers[stream.stream] = made


dmaallocator.DmaHeap = _Heap
dmaallocator.DmaAllocator.allocate = _allocate
dmaallocator.fcntl = SimpleNamespace(ioctl=lambda *_: 0)


# ---- the platform of a Pi 5, which encodes with libx264


platform._platform = platform.Platform.PISP
picamera2.encoders.H264Encoder = picamera2.encoders.LibavH264Encoder


# ---- raw streams, which virtual cameras do not have

_generate = libcamera.Camera.generate_configuration


def _generate_configuration(camera: Any, roles: list[Any]) -> Any:
    return _generate(camera, [libcamera.StreamRole.Viewfinder if role == libcamera.StreamRole.Raw else role
                              for role in roles])


libcamera.Camera.generate_configuration = _generate_configuration


# ---- a frame every thirtieth of a second


def _frozen(model: str) -> bool:
    try:
        return model in Path(os.environ["LAB_FREEZE"]).read_text("utf-8")
    except (KeyError, OSError):
        return False


class _Pacer:
    """Queues a camera's requests in time."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera
        self._model = next(str(value) for key, value in camera.properties.items() if key.name == "Model")
        self._waiting: deque[Any] = deque()
        self._lock = threading.Lock()
        threading.Thread(target=self._pace, name=f"pace-{camera.id}", daemon=True).start()

    def put(self, request: Any) -> None:
        with self._lock:
            self._waiting.append(request)

    def drop(self) -> None:
        with self._lock:
            self._waiting.clear()

    def _pace(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + PERIOD_S, time.monotonic() - PERIOD_S)  # late for less than a frame: it catches up
            time.sleep(max(0.0, due - time.monotonic()))
            if _frozen(self._model):
                continue
            with self._lock:
                if self._waiting:
                    _queue(self._camera, self._waiting.popleft())


_pacers: dict[str, _Pacer] = {}
_queue, _stop = libcamera.Camera.queue_request, libcamera.Camera.stop


def _queue_request(camera: Any, request: Any) -> None:
    if camera.id not in _pacers:
        _pacers[camera.id] = _Pacer(camera)
    _pacers[camera.id].put(request)


def _stop_pacing(camera: Any) -> None:
    if camera.id in _pacers:
        _pacers[camera.id].drop()
    _stop(camera)


libcamera.Camera.queue_request = _queue_request
libcamera.Camera.stop = _stop_pacing
