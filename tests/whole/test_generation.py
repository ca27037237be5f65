"""Recipe and generation through the real program: what a film keeps, and when it is begun again.

A film keeps the recipe that it began with. A change that touches what is joined already begins the next generation,
which renders only what is new; a chunk that cannot be rendered goes down the fallback ladder.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from tests.fakes.clips import BLUE, GREEN, RED, write_clip, write_logo
from tests.fakes.site import Site

MakeSite = Callable[..., Site]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSite]:
    """Makes a site, which is ended whatever happens."""
    made: list[Site] = []

    def make_site(**changes: Any) -> Site:
        made.append(Site(tmp_path, **changes))
        return made[-1]

    yield make_site
    for one in made:
        one.end()


def start(site: Site, seconds: float, **how: Any) -> tuple[float, float]:
    """Start the recorder, then book a window that opens in a moment: its UTC seconds."""
    site.start(**how)
    site.wait_said("ready")
    return site.book("match", 2.5, 2.5 + seconds)


def finish(site: Site, booking_id: str = "match") -> dict[str, Any]:
    """Wait until the film is published and cleaned, and check it; its certificate."""
    site.wait_stage(booking_id, "cleaned")
    certificate, _ = site.check(booking_id)
    return certificate


def end(site: Site) -> None:
    """Nothing is left, and the recorder stops in order."""
    site.check_no_leftovers()
    assert site.stop() == 0


@contextmanager
def each_worker(site: Site, act: Callable[[psutil.Process], None], until: Callable[[], bool]) -> Iterator[None]:
    """From the freezing of the recipe until a condition holds: do something to every worker as soon as it is there."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            if site.process is None or not site.said("recipe frozen"):
                continue
            for child in psutil.Process(site.process.pid).children():
                with suppress(psutil.Error):
                    if not until() and "spawn_main" in " ".join(child.cmdline()):
                        act(child)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def made_late(site: Site) -> AbstractContextManager[None]:
    """Workers stand still until the window is over; `let_work` lets them go on."""
    return each_worker(site, lambda worker: worker.suspend(), until=lambda: bool(site.said("booking ended")))


def let_work(site: Site) -> None:
    """Let suspended workers go on."""
    assert site.process
    for worker in psutil.Process(site.process.pid).children():
        worker.resume()


def reused(site: Site) -> tuple[int, int]:
    """How many chunks were rendered when the film was begun again, and how many of them were used again."""
    events = [line["event"] for line in site.lines]
    again = events.index("film begun again")
    return events[:again].count("chunk rendered"), (events[again:].count("chunk planned")
                                                    - events[again:].count("chunk rendered"))


def colour_at(site: Site, booking_id: str, x: int, y: int) -> list[Any]:
    """The mean colour (R, G, B) of the 4 x 4 pixels around a place, picture by picture."""
    film = site.film(booking_id)
    assert film
    with av.open(str(site.library / film["object_key"])) as container:
        pictures = (frame.to_ndarray(format="rgb24", src_colorspace="ITU709") for frame in container.decode(video=0))
        return [picture[y - 2:y + 2, x - 2:x + 2].mean(axis=(0, 1)) for picture in pictures]


def near(colours: list[Any], colour: tuple[int, int, int]) -> bool:
    return max(np.abs(one - np.array(colour)).max() for one in colours) < 45


# ---- recipe


def test_settings_logo_and_intro_that_change_in_mid_film_count_for_the_next_one(make: MakeSite, tmp_path: Path) -> None:
    logo, intro = write_logo(tmp_path / "logo.png", RED), write_clip(tmp_path / "intro.mp4")
    logos = [{"name": "logo", "file": str(logo), "position": "top_left", "width": 0.1, "margin": 0.02}]
    site = make(film={"logos": logos, "intro": str(intro)})
    start(site, 6)
    site.wait_said("chunk joined")
    assert site.stop() == 0
    write_logo(logo, GREEN)
    write_clip(intro, seconds=0.4, size=(180, 320))
    site.configure(film={"logos": logos, "intro": str(intro), "overlap": 0.2, "crf": 30, "preset": "superfast",
                         "rate": 10, "index_reserve_kb": 64}, storage={"part_mb": 5})
    site.start()
    site.wait_said("ready", 2)
    first = finish(site)
    assert (first["generation"], first["picture"], first["rate"]) == (1, [364, 108], "15/1")
    assert first["intro_seconds"] == 1.0
    shown = colour_at(site, "match", 7 + 18, 7 + 9)
    assert near(shown[15:], RED)
    assert near(colour_at(site, "match", 364 // 2 + 40, 54)[:15], BLUE)  # the old intro's right half

    site.book("next", 2.5, 4.5)
    second = finish(site, "next")
    assert (second["picture"], second["rate"], second["intro_seconds"]) == ([346, 108], "10/1", 0.4)
    assert near(colour_at(site, "next", 7 + 17, 7 + 9)[4:], GREEN)
    end(site)


# ---- generation


def test_a_start_moved_later_after_chunks_were_joined_cuts_the_film_and_renders_only_what_is_new(
        make: MakeSite) -> None:
    site = make()
    starts, ends = start(site, 7)
    site.wait_said("chunk joined", 3)
    site.book_at("match", starts + 1.5, ends)
    certificate = finish(site)
    film = site.film("match")
    assert film
    assert (certificate["generation"], film["object_key"][-11:]) == (2, "match@2.mp4")
    assert abs(certificate["film_seconds"] - 5.5) < 0.15
    assert certificate["gaps"] == []
    rendered, again = reused(site)
    assert again == rendered - 2  # the first is out, half of the second
    end(site)


def test_a_start_moved_earlier_after_chunks_were_joined_puts_in_front_what_was_seen(make: MakeSite) -> None:
    site = make()
    starts, ends = start(site, 6)
    site.wait_said("chunk joined", 2)
    site.book_at("match", starts - 2, ends)
    certificate = finish(site)
    assert certificate["generation"] == 2
    (gap,) = certificate["gaps"]
    assert (gap["camera"], gap["at_s"]) == ("both", 0)
    assert 1 < gap["seconds"] < 2  # the cameras were started 0.7 s ahead
    rendered, again = reused(site)
    assert again == rendered
    end(site)


def test_an_end_cut_back_behind_what_is_joined_ends_the_film_there(make: MakeSite) -> None:
    site = make()
    starts, _ = start(site, 30)
    site.wait_said("chunk joined", 4)
    site.book_at("match", starts, starts + 2.5)
    certificate = finish(site)
    assert certificate["generation"] == 2
    assert abs(certificate["film_seconds"] - 2.5) < 0.15
    assert reused(site)[1] == 2
    end(site)


def test_an_extension_that_outgrows_the_index_reserve_makes_the_film_again_with_a_larger_one(make: MakeSite) -> None:
    site = make(film={"rate": 120, "index_reserve_kb": 16})  # about 1500 ticks
    starts, ends = start(site, 5)
    site.wait_said("chunk joined", 2)
    assert site.said("film begun again") == []
    with made_late(site):  # so that it is outgrown when nothing more is recorded that could start the film's work
        site.book_at("match", starts, ends + 10)
        site.wait_said("booking ended")
    let_work(site)
    certificate = finish(site)
    assert certificate["generation"] == 2
    assert abs(certificate["film_seconds"] - 15) < 0.1
    film = site.film("match")
    assert film
    assert json.loads(film["recipe"])["index_reserve"] == 32 << 10
    rendered, again = reused(site)
    assert again == rendered > 4
    end(site)


def test_a_film_whose_intro_is_lost_in_mid_film_is_begun_again_without_it(make: MakeSite, tmp_path: Path) -> None:
    site = make(film={"intro": str(write_clip(tmp_path / "intro.mp4"))})
    start(site, 5)
    site.wait_said("chunk joined")
    site.kill()
    for kept in (site.data / "media").iterdir():
        kept.unlink()
    site.start()
    certificate = finish(site)
    assert (certificate["generation"], certificate["intro_seconds"]) == (2, 0)
    (skipped,) = certificate["skipped_media"]
    assert skipped.startswith("intro: ")
    end(site)


# ---- the fallback ladder


def stop_before_chunk(site: Site, seconds: float, number: int) -> list[dict[str, Any]]:
    """Record until chunk `number` is about to be rendered, then stop; the segments that it may use."""
    start(site, seconds, kill_at={"event": "rendering chunk", "where": {"chunk": number}, "signal": signal.SIGTERM})
    assert site.wait_dead() == 0
    (chunk,) = site.rows("SELECT * FROM chunk WHERE number = ?", number)
    assert chunk["state"] == "planned"
    return site.rows("SELECT * FROM segment WHERE end_us > ? AND start_us < ? ORDER BY start_us",
                     chunk["start_us"] - 600_000, chunk["start_us"] + 1_600_000)


def test_a_chunk_of_which_one_camera_is_unreadable_shows_the_other_one_beside_a_filled_half(make: MakeSite) -> None:
    site = make()
    for segment in stop_before_chunk(site, 5, 2):
        if segment["camera"] == "left":
            (site.data / segment["path"]).write_bytes(b"garbage" * 5000)
    site.start()
    certificate = finish(site)
    assert certificate["fallbacks"] == []  # no rung helps, and none is needed
    assert "left" in {gap["camera"] for gap in certificate["gaps"]}
    assert certificate["cameras"]["left"]["filled_ticks"] >= 10
    assert certificate["cameras"]["right"]["filled_ticks"] <= 2  # after the restart it may begin later than the left
    end(site)


def test_a_chunk_that_no_rung_can_render_parks_the_film_until_it_is_retried(make: MakeSite) -> None:
    site = make()
    with each_worker(site, lambda worker: worker.kill(), until=lambda: bool(site.said("film parked"))):
        start(site, 3)
        site.wait_said("film parked")
    parked = site.wait_stage("match", "recorded")
    assert parked["parked_step"] == "film"
    kept = [site.data / row["path"] for row in site.rows("SELECT path FROM segment")]
    assert kept
    assert all(path.exists() for path in kept)
    assert site.films_in_library() == []
    site.command("films", "retry", "match")
    certificate = finish(site)
    assert certificate["fallbacks"] == certificate["gaps"] == []
    end(site)


def test_a_chunk_whose_workers_die_three_times_is_rendered_plain(make: MakeSite) -> None:
    site = make()
    with each_worker(site, lambda worker: worker.kill(), until=lambda: bool(
            site.said("rendering chunk", rung="side_by_side"))):
        start(site, 4)
        site.wait_said("rendering chunk", rung="side_by_side")
    certificate = finish(site)
    assert certificate["fallbacks"] == [{"chunk": 1, "rung": "side_by_side"}]
    assert len(site.said("chunk not rendered", chunk=1, rung="full")) == 3
    end(site)


def test_a_corrupt_stretch_that_the_next_key_frame_soon_ends_costs_repeats_that_are_counted(make: MakeSite) -> None:
    site = make(cameras={"keyframe_s": 0.2})
    with made_late(site):
        start(site, 5)
        site.wait_said("booking ended")
    segment = site.rows("SELECT * FROM segment WHERE camera = 'left' ORDER BY start_us")[3]  # of six or seven
    path = site.data / segment["path"]
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 188 * 188
    data[middle:middle + 4 * 188] = b"\xa5" * (4 * 188)  # four packets of MPEG-TS
    path.write_bytes(data)
    let_work(site)
    certificate = finish(site)
    assert certificate["fallbacks"] == certificate["gaps"] == []
    assert certificate["cameras"]["left"]["corrupt"] >= 1
    assert certificate["cameras"]["left"]["repeats"] >= 1
    assert certificate["cameras"]["left"]["filled_ticks"] == certificate["cameras"]["right"]["filled_ticks"] == 0
    end(site)


def test_a_film_that_is_made_too_slowly_is_only_late(make: MakeSite) -> None:
    """Not one chunk is rendered while the window is open; nothing of it is lost for that."""
    site = make()
    with made_late(site):
        start(site, 5)
        site.wait_said("booking ended")
    assert site.said("chunk rendered") == []
    let_work(site)
    certificate = finish(site)
    assert certificate["gaps"] == certificate["fallbacks"] == []
    end(site)
