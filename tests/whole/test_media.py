"""Logos and intros of every sort go through the real program: the film comes out, what is usable shows in it, and the
certificate says what was left out.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.fakes import traits
from tests.fakes.clips import BLUE, GREEN, RED, turn, write_clip, write_logo
from tests.fakes.site import Site

WIDTH, HEIGHT = 364, 108  # two views of 192 pixels, a tenth of which both see


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with nothing in front of its films; ended whatever happens."""
    one = Site(tmp_path)
    yield one
    one.end()


def make_film(site: Site, booking_id: str = "match", seconds: float = 2, **film: Any) -> dict[str, Any]:
    """Run the program with these film settings for one short booking; the checked film's certificate."""
    site.configure(film=film)
    before = len(site.said("ready"))
    site.start()
    site.wait_said("ready", before + 1)
    site.book(booking_id, 2.5, 2.5 + seconds)
    site.wait_stage(booking_id, "cleaned")
    certificate, _ = site.check(booking_id)
    site.check_no_leftovers()
    assert site.stop() == 0
    assert certificate["film_seconds"] > seconds - 0.3
    assert certificate["fallbacks"] == []
    return certificate


def pictures(site: Site, booking_id: str = "match") -> list[Any]:
    """The film's pictures as (height, width, RGB)."""
    film = site.film(booking_id)
    assert film
    with av.open(str(site.library / film["object_key"])) as container:
        return [frame.to_ndarray(format="rgb24", src_colorspace="ITU709") for frame in container.decode(video=0)]


def is_colour(picture: Any, x: int, y: int, colour: tuple[int, int, int]) -> bool:
    """Whether the 4 x 4 pixels around a place are about of a colour."""
    return bool(np.abs(picture[y - 2:y + 2, x - 2:x + 2].mean(axis=(0, 1)) - np.array(colour)).max() < 45)


def logo(name: str, file: Path, position: str, width: float = 0.1) -> dict[str, Any]:
    """A logo's settings: 2 % from the edges, and not so large that it hides a frame counter."""
    return {"name": name, "file": str(file), "position": position, "width": width, "margin": 0.02}


def test_good_logos_show_in_every_picture_and_bad_ones_are_left_out_and_named(site: Site, tmp_path: Path) -> None:
    whole = write_logo(tmp_path / "whole.png", RED, (400, 200)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "film.png").write_bytes(write_clip(tmp_path / "clip.mp4").read_bytes())
    certificate = make_film(site, logos=[
        logo("red", tmp_path / "whole.png", "top_left"),
        logo("green", write_logo(tmp_path / "green.jpg", GREEN), "top_right"),
        logo("absent", tmp_path / "absent.png", "top_left"),
        logo("cut", tmp_path / "cut.png", "top_left"),
        logo("no picture", tmp_path / "film.png", "bottom_left"),
        logo("folder", tmp_path, "bottom_left"),
    ])
    skipped = certificate["skipped_media"]
    assert [text.split(":")[0] for text in skipped] == ["logo absent", "logo cut", "logo no picture", "logo folder"]
    shown = pictures(site)
    assert shown[0].shape == (HEIGHT, WIDTH, 3)
    for picture in shown:
        assert is_colour(picture, 7 + 18, 7 + 9, RED)
        assert not is_colour(picture, 7 + 3, 7 + 2, RED)  # its corner is transparent
        assert is_colour(picture, WIDTH - 7 - 18, 7 + 9, GREEN)


def test_logos_of_one_pixel_and_of_64_million_pixels_are_scaled_and_one_too_many_is_left_out(
        site: Site, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # reading it would never end
    assert cv2.imwrite(str(tmp_path / "poster.png"), np.full((8000, 8000), 235, np.uint8))
    larger = bytearray((tmp_path / "poster.png").read_bytes())
    larger[16:20] = (8002).to_bytes(4, "big")  # the width that its header tells
    (tmp_path / "larger.png").write_bytes(larger)
    certificate = make_film(site, logos=[
        logo("speck", write_logo(tmp_path / "speck.jpg", RED, (1, 1)), "top_left", 0.05),
        logo("poster", tmp_path / "poster.png", "top_right", 0.05),
        logo("larger", tmp_path / "larger.png", "top_right"),
        logo("pipe", tmp_path / "pipe.png", "top_right"),
    ])
    assert [text.split(":")[0] for text in certificate["skipped_media"]] == ["logo larger", "logo pipe"]
    for picture in pictures(site):
        assert is_colour(picture, 7 + 9, 7 + 9, RED)
        assert is_colour(picture, WIDTH - 7 - 9, 7 + 9, (235, 235, 235))


def tall(path: Path) -> Path:
    """A phone's clip, held upright."""
    return turn(write_clip(path))


GOOD: list[tuple[str, Callable[[Path], Path], float, tuple[tuple[int, int], tuple[int, int]], bool]] = [
    # file, how it is made, seconds, a red and a blue place, sound
    ("small.avi", lambda path: write_clip(path, size=(160, 120), rate=12, codec="mpeg4", sound="mp2"), 1.0,
     ((WIDTH // 2 - 20, 54), (WIDTH // 2 + 20, 54)), True),
    ("wide.webm", lambda path: write_clip(path, size=(1280, 256), rate=60, codec="libvpx", sound="libopus"), 1.0,
     ((40, 54), (WIDTH - 40, 54)), True),
    ("phone.mp4", tall, 1.0, ((WIDTH // 2, 20), (WIDTH // 2, 88)), False),
]


@pytest.mark.parametrize(("name", "write", "seconds", "places", "sound"), GOOD, ids=[one[0] for one in GOOD])
def test_an_intro_of_another_size_rate_codec_and_rotation_is_shown_in_front(
        site: Site, tmp_path: Path, name: str, write: Callable[[Path], Path], seconds: float,
        places: tuple[tuple[int, int], tuple[int, int]], sound: bool) -> None:
    certificate = make_film(site, intro=str(write(tmp_path / name)))
    assert certificate["skipped_media"] == []
    assert abs(certificate["intro_seconds"] - seconds) < 0.15
    shown = pictures(site)
    intro = round(certificate["intro_seconds"] * 15)
    assert len(shown) == intro + round(certificate["film_seconds"] * 15)
    for number, picture in enumerate(shown):
        (red_x, red_y), (blue_x, blue_y) = places
        clip = is_colour(picture, red_x, red_y, RED) and is_colour(picture, blue_x, blue_y, BLUE)
        assert clip == (number < intro), number
    film = site.film("match")
    assert film
    with av.open(str(site.library / film["object_key"])) as container:
        assert bool(container.streams.audio) == sound


def test_bad_intros_are_left_out_and_named_film_after_film(site: Site, tmp_path: Path) -> None:
    """One after the other on one site: what one leaves in the media folder must not mislead the next."""
    whole = write_clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "empty.mp4").touch()
    write_clip(tmp_path / "silent.m4a", video=False, sound="aac")
    write_clip(tmp_path / "long.mp4", seconds=2.4)
    for number, (name, reason) in enumerate({
        "empty.mp4": "empty", "cut.mp4": "cannot be read as a film", "silent.m4a": "holds no video",
        "long.mp4": "2.4 s long",
    }.items()):
        certificate = make_film(site, f"match-{number}", 1, intro=str(tmp_path / name), intro_max_s=2)
        (skipped,) = certificate["skipped_media"]
        assert skipped.startswith("intro: ")
        assert reason in skipped
        assert certificate["intro_seconds"] == 0


WHOLE_ODD = [
    ["tags in Latin-1", "mono, then stereo", "samples that the bitstream tells", "cover art as stream 0"],
    ["44.1 kHz, 48 kHz, 5.1, 22 kHz", "B-frames in AVI", "MPEG-2, interlaced", "RGB"],
]


@pytest.mark.parametrize("names", WHOLE_ODD, ids=lambda names: names[0])
def test_clips_with_odd_traits_look_and_sound_in_the_film_as_in_a_player(site: Site, tmp_path: Path,
                                                                        names: list[str]) -> None:
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        folder.mkdir()
        booking = f"match-{number}"
        certificate = make_film(site, booking, 1, intro=str(traits.ODD[name](folder)))
        assert certificate["skipped_media"] == []
        assert abs(certificate["intro_seconds"] - traits.SECONDS) < 0.07
        check_flash_and_tone(site, booking, traits.FLASH_S)


def test_trimmed_cut_and_silent_clips_begin_right_or_the_certificate_says_what_is_missing(
        site: Site, tmp_path: Path) -> None:
    whole = traits.write(tmp_path / "whole.mp4")
    certificate = make_film(site, "trimmed", 1, intro=str(traits.trimmed(whole, tmp_path / "trimmed.mp4", 0.6)))
    assert certificate["skipped_media"] == []
    check_flash_and_tone(site, "trimmed", traits.FLASH_S - 0.6)

    matroska = traits.copied(whole, tmp_path / "cut.mkv", lambda packet: packet)
    matroska.write_bytes(matroska.read_bytes()[:matroska.stat().st_size * 9 // 10])
    certificate = make_film(site, "cut", 1, intro=str(matroska))
    (skipped,) = certificate["skipped_media"]
    assert skipped.startswith("intro: ")
    assert "cannot be shown" in skipped

    silent = traits.patched(traits.write(tmp_path / "silent.mov", sound="pcm_s16le"), b"sowt", b"QDM9")
    certificate = make_film(site, "silent", 1, intro=str(silent))
    assert certificate["skipped_media"] == ["intro: its sound cannot be decoded"]
    assert certificate["intro_seconds"] == traits.SECONDS


def test_a_logo_stands_upright_and_one_that_takes_too_much_memory_is_named(site: Site, tmp_path: Path) -> None:
    halves = np.zeros((40, 80, 3), np.uint8)
    halves[:, :40], halves[:, 40:] = RED[::-1], BLUE[::-1]
    lying = cv2.imencode(".jpg", halves)[1].tobytes()
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # to be turned clockwise
    block = b"Exif\0\0" + tiff
    exif = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    (tmp_path / "phone.jpg").write_bytes(lying[:2] + exif + lying[2:])
    assert cv2.imwrite(str(tmp_path / "bomb.png"), np.zeros((8000, 8000, 4), np.uint8))
    certificate = make_film(site, logos=[logo("phone", tmp_path / "phone.jpg", "top_left", 0.025),
                                         logo("bomb", tmp_path / "bomb.png", "top_right")])
    (skipped,) = certificate["skipped_media"]
    assert skipped.startswith("logo bomb: ")
    assert "8000x8000" in skipped
    for picture in pictures(site):
        assert is_colour(picture, 7 + 5, 7 + 5, RED)
        assert is_colour(picture, 7 + 5, 7 + 15, BLUE)


def check_flash_and_tone(site: Site, booking_id: str, time_s: float) -> None:
    """Pictures within a tick, sound within 20 ms."""
    middle = [picture[HEIGHT // 2 - 4:HEIGHT // 2 + 4, WIDTH // 2 - 4:WIDTH // 2 + 4]
              for picture in pictures(site, booking_id)[:30]]
    first = next(tick for tick, part in enumerate(middle) if part.mean() > 225)
    assert abs(first - time_s * 15) <= 1
    film = site.film(booking_id)
    assert film
    with av.open(str(site.library / film["object_key"])) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1)
            if len(loud):
                assert abs((frame.time or 0) + int(loud[0]) / frame.sample_rate - time_s) < 0.02
                return
    raise AssertionError("no sound")
