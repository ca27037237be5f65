"""Pictures and clips as a venue might hand them in, good and bad, drawn small."""

import struct
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

RED, BLUE, GREEN = (220, 30, 30), (30, 30, 220), (30, 200, 30)  # R, G, B


def write_logo(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (200, 100)) -> Path:
    """A disc of one colour in a transparent rectangle (opaque and filled where the format has no alpha)."""
    width, height = size
    red, green, blue = colour
    picture = np.zeros((height, width, 4), np.uint8)
    picture[:] = (blue, green, red, 0)
    cv2.ellipse(picture, (width // 2, height // 2), (max(1, width * 2 // 5), max(1, height * 2 // 5)), 0, 0, 360,
                (blue, green, red, 255), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture if path.suffix != ".jpg" else picture[:, :, :3])
    return path


def write_clip(path: Path, *, size: tuple[int, int] = (320, 180), rate: int = 25, seconds: float = 1.0,
               codec: str = "libx264", sound: str | None = None, video: bool = True) -> Path:
    """A clip whose left half is red and whose right half is blue; `sound` is an encoder's name."""
    with av.open(str(path), "w") as container:
        picture: Any = container.add_stream(codec, rate=rate) if video else None
        voice: Any = container.add_stream(sound, rate=48_000) if sound else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = *size, "yuv420p"
            image = np.zeros((size[1], size[0], 3), np.uint8)
            image[:, :size[0] // 2], image[:, size[0] // 2:] = RED, BLUE
            for _ in range(round(seconds * rate)):
                container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(picture.encode(None))
        if voice is not None:
            tone = np.sin(np.arange(round(seconds * 48_000)) * 0.05).astype(np.float32) * 0.3
            for at in range(0, len(tone) - 960, 960):
                frame = av.AudioFrame.from_ndarray(np.stack([tone[at:at + 960]] * 2), format="fltp", layout="stereo")
                frame.sample_rate, frame.pts = 48_000, at
                container.mux(voice.encode(frame))
            container.mux(voice.encode(None))
    return path


def turn(path: Path) -> Path:
    """Write the matrix of a phone held upright into an MP4: shown turned by 90 degrees clockwise.

    ISO/IEC 14496-12, 8.3.2: nine 32-bit numbers, 40 bytes behind the version of the tkhd box's content.
    """
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at:at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path
