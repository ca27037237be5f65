"""A story in words."""

from zoneinfo import ZoneInfo

import pytest

from ezrec.cli.story import sentence
from ezrec.domain import events


@pytest.mark.parametrize(("event", "words"), [
    (events.StageChanged("recording", "stitched"), "Its stage became stitched."),
    (events.StageChanged("cancelled", "stitched"), "Its stage became stitched."),
    (events.FallbackTaken(7, "feather", "no homography"),
     "Piece 7 could not be made as asked (no homography); it was tried feather."),
])
def test_stages_and_rungs_of_a_later_version_are_said_by_their_names(event: events.FilmEvent, words: str) -> None:
    assert sentence(event, ZoneInfo("UTC")) == words


def test_a_film_that_goes_back_a_step_is_not_said_to_have_been_recorded_twice() -> None:
    said = sentence(events.StageChanged("rendered", "recorded"), ZoneInfo("UTC"))
    assert said == "The film's file was damaged before it was stored; the film is made once more from its footage."
    assert sentence(events.StageChanged("recording", "recorded"), ZoneInfo("UTC")).startswith("The window is over")


@pytest.mark.parametrize(("files", "named"), [
    (("segments/1/left/5.ts",), "segments/1/left/5.ts is damaged"),
    (("segments/1/left/5.ts", "segments/1/left/9.ts", "segments/1/left/13.ts"),
     "segments/1/left/5.ts is damaged, and so it is with 2 more files"),
])
def test_footage_that_is_lost_is_told_with_its_time_its_file_and_its_cause(files: tuple[str, ...], named: str) -> None:
    event = events.FootageLost("left", 1_800_000_005_000_000, 1_800_000_009_000_000, files, "is damaged")
    assert sentence(event, ZoneInfo("UTC")) == (
        f"What camera left recorded from 08:00:05 to 08:00:09 (4 s) cannot be read: {named}. "
        "The film is made as if the camera had not seen that time.")
