"""A film is checked between making and storing: whatever becomes of its file, what is published is whole.

The match is recorded once. Each case begins with a copy of what lay on the disk when the program was killed behind
`rendered`, or at another step.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.site import Site
from tests.fakes.waiting import wait_until

MakeSite = Callable[..., Site]
RENDERED = {"event": "step taken", "where": {"to": "rendered"}}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSite]:
    """Makes a site, with a copy of another one's data; it is ended whatever happens."""
    made: list[Site] = []

    def make_site(data: Path | None = None) -> Site:
        made.append(Site(tmp_path / f"site-{len(made)}"))
        if data:
            shutil.copytree(data, made[-1].data)
        return made[-1]

    yield make_site
    for one in made:
        one.end()


def record(site: Site, kill_at: dict[str, Any], seconds: float = 3) -> None:
    """Record a match until the program is killed."""
    site.start(kill_at=kill_at)
    site.wait_said("ready")
    site.book("match", 1.5, 1.5 + seconds)
    site.wait_dead()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a match whose film was rendered, and nothing of it stored."""
    site = Site(tmp_path_factory.mktemp("rendered"))
    try:
        record(site, RENDERED)
    finally:
        site.end()
    return site.data


def film_file(site: Site, generation: int = 1) -> Path:
    film = site.film("match")
    assert film
    return site.data / "films" / film["recording_id"] / f"film-{generation}.mp4"


def zero(path: Path, count: int = 4000) -> None:
    """Overwrite bytes in the middle of a file with zeros."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(count))


def a_folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").touch()


def finish(site: Site, generation: int) -> dict[str, Any]:
    """The film is published once, whole, in this generation, and nothing of it is left; its certificate."""
    film = site.wait_stage("match", "cleaned")
    assert film["generation"] == generation
    certificate, _ = site.check("match")
    if (site.data / "aside").exists():  # what lay in the film's place is kept for a while
        shutil.rmtree(site.data / "aside")
    site.check_no_leftovers()
    assert len(site.films_in_library()) == 1
    assert site.stop() == 0
    return certificate


@pytest.mark.parametrize(("damage", "reason"), [
    (zero, "the film's file was damaged: part 1 is not what was written"),
    (Path.unlink, "the film's file is gone"),
    (lambda path: os.truncate(path, path.stat().st_size - 1), "the film's file was damaged: 1 bytes of part 1 are"),
    (lambda path: shutil.rmtree(path.parent), "the film's file is gone"),
    (a_folder_instead, "the film's file is gone"),
], ids=["zeroed", "deleted", "truncated", "its folder deleted", "a folder in its place"])
def test_a_film_that_was_damaged_or_lost_is_made_again_from_its_segments(
        make: MakeSite, rendered: Path, damage: Callable[[Path], None], reason: str) -> None:
    site = make(rendered)
    damage(film_file(site))
    site.start()
    assert finish(site, generation=2)["gaps"] == []
    story = site.command("films", "explain", "match")
    assert "made once more from its footage" in story
    assert reason in story
    assert len(site.said("film damaged")) == 1


def test_a_film_that_is_sound_is_not_made_again(make: MakeSite, rendered: Path) -> None:
    site = make(rendered)
    site.start()
    finish(site, generation=1)
    assert site.said("chunk rendered") == []


def test_a_film_that_was_lost_with_all_its_segments_is_parked_with_that_reason(make: MakeSite, rendered: Path) -> None:
    site = make(rendered)
    film_file(site).unlink()
    shutil.rmtree(site.data / "segments")
    site.start()
    site.wait_said("film parked")
    film = site.film("match")
    assert film
    assert (film["stage"], film["parked_step"]) == ("rendered", "upload")
    assert film["parked_reason"] == "the film's file is gone, and none of its camera files is left to make it of"
    assert site.films_in_library() == []


def test_a_chunk_that_is_damaged_before_it_is_joined_is_rendered_again(make: MakeSite) -> None:
    site = make()
    record(site, {"event": "chunk rendered", "where": {"chunk": 2}}, seconds=5)
    zero(film_file(site).with_name("chunk-1-00002.mp4"))
    site.start()
    finish(site, generation=1)
    assert len(site.said("chunk rendered", chunk=2)) == 2
    assert len(site.said("chunk rendered", chunk=1)) == 1


@pytest.mark.parametrize("stage", ["uploaded", "published"])
def test_what_is_stored_needs_nothing_of_the_films_folder_any_more(
        make: MakeSite, rendered: Path, stage: str) -> None:
    site = make(rendered)
    site.start(kill_at={"event": "step taken", "where": {"to": stage}})
    site.wait_dead()
    shutil.rmtree(site.data / "films")
    site.start()
    finish(site, generation=1)


def test_a_film_that_was_damaged_behind_its_name_in_the_library_is_published_under_one_name_only(
        make: MakeSite, rendered: Path) -> None:
    """The library has the film by link: what damages the one damages the other."""
    site = make(rendered)
    site.start(kill_at={"event": "film stored"})
    site.wait_dead()
    assert len(site.films_in_library()) == 1
    zero(film_file(site))
    site.start()
    wait_until(lambda: site.said("film damaged"), 30, "the damage to be found")
    finish(site, generation=2)
