"""The Raspberry Pi's cameras as the settings ask for them, and whether what they need is there.

The one module about them that may be imported anywhere: it imports Picamera2 itself only when cameras are made.
"""

import importlib.util
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from ezrec.adapters.cameras import Camera
from ezrec.adapters.cameras.pi.exposure import ExposureMatcher
from ezrec.adapters.cameras.pi.identity import Remembered, Wanted
from ezrec.config.sections import CamerasSettings
from ezrec.domain.clock import Clock
from ezrec.domain.errors import SettingsError
from ezrec.folders import DataFolder

if TYPE_CHECKING:
    from ezrec.adapters.cameras.pi.pair import Pair

log = structlog.get_logger(task="recording")

TRIED = {"picamera2": ("0.3.31", "0.3.38"), "libcamera": ("0.7", "0.7"), "av": ("14", "18")}
"""The oldest and newest version of each that were tried (`make test-versions`, `make test-lab`)."""
INSTALL = ("on Raspberry Pi OS: `sudo apt install python3-picamera2`, in a virtual environment made with "
           "`python3 -m venv --system-site-packages` and without a numpy or av of its own")


def must_be_here() -> None:
    """Check that Picamera2 can be imported.

    Raises:
        SettingsError: it is not installed, or what it stands on is broken; names package and remedy.
    """
    where = 'cameras.source = "picamera2"'
    for name in ("picamera2", "libcamera"):
        if importlib.util.find_spec(name) is None:
            raise SettingsError(f"{where} needs the package {name}, which is not installed; {INSTALL}")
    try:
        import picamera2  # noqa: F401, PLC0415
    except Exception as error:
        raise SettingsError(f"{where}: the package picamera2 cannot be used ({type(error).__name__}: {error}); "
                            f"{INSTALL}") from error


def smoke() -> str:
    """Encode two pictures as Picamera2 does on a Pi 5; what fails, in words, or nothing.

    Its lines are longer than its width, as libcamera's are: what PyAV before 12 and numpy 2 before PyAV 13 trip over.
    """
    import av  # noqa: PLC0415 - asked for with the cameras only
    import numpy as np  # noqa: PLC0415

    try:
        with av.open("/dev/null", "w", format="null") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency"}
            for number in range(2):
                picture = av.VideoFrame.from_numpy_buffer(np.zeros((96, 128), np.uint8), format="yuv420p", width=96)
                picture.pts = number
                if not any(packet.size for packet in stream.encode(picture)):
                    return "the encoder gave no frame"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told to a person
        return f"{type(error).__name__}: {error}"
    return ""


def software() -> dict[str, str]:
    """The versions of what pictures come through, and which encoder makes H.264 of them."""
    from ezrec.adapters.cameras.pi import picamera2_patches as patches  # noqa: PLC0415

    libav = issubclass(patches.H264Encoder, patches.LibavH264Encoder)  # a Pi 5 has no encoder of its own
    return {**patches.versions(), "encoder": "libx264" if libav else "V4L2"}


def untried(versions: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Which of `versions` were never tried, each with the oldest and newest that were."""
    found = {}
    for name, (oldest, newest) in TRIED.items():
        counts = len(_numbers(newest))
        if not _numbers(oldest) <= _numbers(versions.get(name, ""))[:counts] <= _numbers(newest):
            found[name] = oldest, newest
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def found() -> list[str]:
    """The cameras that are listed, in words, in the order that the settings' places count in.

    Raises:
        CameraLost: libcamera fails.
    """
    from ezrec.adapters.cameras.pi.pair import listed  # noqa: PLC0415

    return [one.words for one in listed()]


def pair_of(cameras: CamerasSettings, folder: DataFolder) -> "Pair":
    """What the process's cameras share, as the settings say; who is who is remembered in the data folder."""
    from ezrec.adapters.cameras.pi.pair import Pair  # noqa: PLC0415

    wanted: Mapping[str, Wanted] = {"left": Wanted(cameras.left.id, cameras.left.model)} | (
        {"right": Wanted(cameras.right.id, cameras.right.model)} if cameras.dual else {})
    return Pair(wanted, ExposureMatcher(cameras.picamera2.exposure, len(wanted), cameras.picamera2.settle_s),
                Remembered(folder.cameras))


def pi_cameras(cameras: CamerasSettings, clock: Clock, folder: DataFolder) -> list[Camera]:
    """The cameras, left before right; none is opened yet.

    Raises:
        SettingsError: Picamera2 is not here or does not work; names package and remedy.
    """
    must_be_here()
    from ezrec.adapters.cameras.pi import camera as adapter  # noqa: PLC0415

    pair, own, rotations = pair_of(cameras, folder), cameras.picamera2, {"left": cameras.left, "right": cameras.right}
    versions = software()
    if versions["encoder"] == "libx264" and (wrong := smoke()):
        raise SettingsError(f'cameras.source = "picamera2": encoding fails ({wrong}) with '
                            f"{', '.join(' '.join(one) for one in versions.items())}; {INSTALL}")
    log.info("camera software", **versions)
    for name, tried in untried(versions).items():
        log.warning("untried version", package=name, version=versions.get(name), tried=" to ".join(tried))
    return [adapter.PicameraCamera(name, adapter.Asked(
        size=(cameras.width, cameras.height), rate=cameras.fps, bitrate=cameras.bitrate, keyframe_s=cameras.keyframe_s,
        turned=rotations[name].rotation == 180, sensor_mode=own.sensor_mode, lens=own.lens, sync=own.sync),
        pair, clock) for name in pair.wanted]
