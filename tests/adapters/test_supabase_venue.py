"""What an owner's row of `user_settings` is taken for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.adapters.venue import LOGOS, VenueLogo, VenueMedia, parse, read
from ezrec.domain.errors import ParkError
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import Venue

ROW = {"user_id": "u1", "intro_path": "u1/intro (2).mp4", "company_logo_path": "u1/club.png",
       "company_logo_position": "bottom_left", "company_logo_width": 0.2, "sponsor_logo_path": "u1/a=b/s.png"}


def test_a_row_names_the_intro_and_the_logos_with_their_places() -> None:
    assert parse(ROW) == VenueMedia("u1/intro (2).mp4", (VenueLogo("sponsor", "u1/a=b/s.png", "top_left", 0.08),
                                                         VenueLogo("company", "u1/club.png", "bottom_left", 0.2)), ())


def test_an_empty_row_names_nothing() -> None:
    assert parse({}) == parse({"intro_path": "", "venue_logo_path": None, "colour": 7}) == VenueMedia(None, (), ())


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.png", "a/../b", "a//b", "a/./b", "a/", ".", "a/..", "a\nb",
                                  "a\\b", "https://x/y.png", "s3://b/k", "a?b", "a#b", "a%2e", "ä.png", "x" * 501, 7,
                                  True, [], {"a": 1}, " / "])
def test_a_path_that_is_no_key_is_left_out_and_named(path: object) -> None:
    media = parse(ROW | {"intro_path": path, "venue_logo_path": path})
    assert media.intro is None
    assert [logo.name for logo in media.logos] == ["sponsor", "company"]
    assert [words.split(" is ")[0] for words in media.refused] == [
        "user_settings.intro_path", "user_settings.venue_logo_path"]
    assert all(len(words) < 300 and words.isprintable() for words in media.refused)


@pytest.mark.parametrize(("column", "value"), [
    ("position", "middle"), ("position", 7), ("position", ["top_left"]), ("width", 0), ("width", 1.1), ("width", -0.1),
    ("width", "0.2"), ("width", True), ("width", float("nan")), ("width", 10**400)])
def test_a_place_or_size_that_is_none_gives_way_to_the_default_and_is_named(column: str, value: object) -> None:
    media = parse(ROW | {f"company_logo_{column}": value})
    assert media.logos[1] == VenueLogo("company", "u1/club.png", *(
        ("top_right", 0.2) if column == "position" else ("bottom_left", 0.08)))  # type: ignore[arg-type]
    assert len(media.refused) == 1
    assert media.refused[0].startswith(f"user_settings.company_logo_{column} is ")


ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4)
COLUMNS = ["intro_path", *(f"{name}_logo_{what}" for name in LOGOS for what in ("path", "position", "width"))]


@given(row=st.dictionaries(st.sampled_from(COLUMNS), ANY))
def test_no_row_whatever_is_an_error(row: dict[str, Any]) -> None:
    media = parse(row)
    for logo in media.logos:
        assert ".." not in logo.path
        assert not logo.path.startswith("/")
        assert 0.01 <= logo.width <= 1


async def test_the_owners_row_is_read_by_a_device_and_nobody_elses(supabase: Project) -> None:
    venue, other = Venue(supabase), Venue(supabase)
    for one in (venue, other):
        supabase.run("insert into user_settings (user_id, intro_path) values (:'u', 'intro.mp4')", u=one.user)
    async with venue.client(device=True) as client:
        assert await read(client, venue.user, venue.functions(client, device=True)) == VenueMedia("intro.mp4", (), ())
        with pytest.raises(ParkError, match="permission denied"):
            await read(client, other.user)
    async with venue.client() as client:
        assert await read(client, other.user) == VenueMedia("intro.mp4", (), ())
        assert await read(client, "nobody") is None


def test_an_older_row_is_read_by_its_own_names_until_ours_say_something() -> None:
    older = {"intro_video_path": "i.mp4", "logo_path": "c.png", "sponsor_logo1_path": "s1.png",
             "sponsor_logo3_path": "s3.png"}
    assert parse(older).intro == "i.mp4"
    assert {logo.name: logo.path for logo in parse(older).logos} == {
        "company": "c.png", "sponsor": "s1.png", "sponsor_3": "s3.png"}
    assert parse(older | {"intro_path": "new.mp4"}).intro == "new.mp4"
