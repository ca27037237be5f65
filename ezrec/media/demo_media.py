"""What a venue would bring to the demo: two logos and an intro with sound, drawn here."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

INTRO_S, INTRO_RATE, INTRO_SIZE = 2, 25, (960, 540)
SOUND_RATE = 44_100  # Hz


def make(folder: Path) -> tuple[dict[str, Path], Path]:
    """Write the logos (by name) and the intro into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    logos = {"sponsor": folder / "sponsor.png", "company": folder / "company.png"}
    cv2.imwrite(str(logos["sponsor"]), _badge("SPONSOR", (60, 160, 250)))
    cv2.imwrite(str(logos["company"]), _badge("EZREC", (210, 120, 40)))
    intro = folder / "intro.mp4"
    _intro(intro)
    return logos, intro


def _badge(word: str, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A rounded badge with a word, BGRA, its corners transparent."""
    badge = np.zeros((160, 480, 4), np.uint8)
    for x in (80, 400):
        cv2.circle(badge, (x, 80), 76, (*colour, 235), -1, cv2.LINE_AA)
    cv2.rectangle(badge, (80, 4), (400, 156), (*colour, 235), -1)
    (width, height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, 2.4, 4)
    cv2.putText(badge, word, ((480 - width) // 2, (160 + height) // 2), cv2.FONT_HERSHEY_DUPLEX, 2.4,
                (255, 255, 255, 255), 4, cv2.LINE_AA)
    return badge


def _intro(path: Path) -> None:
    """Two seconds of a title that comes up, with two notes."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=INTRO_RATE, options={"preset": "veryfast"})
        video.width, video.height = INTRO_SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE)
        for number in range(INTRO_S * INTRO_RATE):
            frame = av.VideoFrame.from_ndarray(_title(number / (INTRO_S * INTRO_RATE)), format="bgr24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, INTRO_S * SOUND_RATE, 1024):
            time = (start + np.arange(1024)) / SOUND_RATE
            note = np.where(time < INTRO_S / 2, 440.0, 660.0)
            wave = 0.2 * np.sin(2 * np.pi * note * time) * np.exp(-2 * (time % (INTRO_S / 2)))
            sound = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def _title(part: float) -> NDArray[np.uint8]:
    width, height = INTRO_SIZE
    picture = np.full((height, width, 3), (48, 30, 20), np.uint8)
    bright = min(1.0, 2 * part)
    cv2.line(picture, (width // 2 - int(280 * bright), 330), (width // 2 + int(280 * bright), 330), (60, 160, 250), 6)
    for word, y, scale in (("EZREC", 290, 4.0), ("your match, in one picture", 400, 1.1)):
        (long, _), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, 3)
        shade = tuple(int(c * bright) for c in (255, 255, 255))
        cv2.putText(picture, word, ((width - long) // 2, y), cv2.FONT_HERSHEY_DUPLEX, scale, shade, 3, cv2.LINE_AA)
    return picture
