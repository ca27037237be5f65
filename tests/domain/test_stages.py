"""The table of steps, in full: what DESIGN's picture shows, and nothing else."""

import pytest

from ezrec.domain.errors import IllegalStep
from ezrec.domain.stages import CHANGEABLE, STATUS_WORDS, STEPS, Stage, says_more, step

LEGAL = {
    ("booked", "recording"), ("booked", "cancelled"), ("booked", "missed"),
    ("recording", "recorded"), ("recording", "cancelled"),
    ("recorded", "rendered"), ("rendered", "uploaded"), ("uploaded", "published"), ("published", "cleaned"),
    ("rendered", "recorded"),  # its file was damaged: it is made again
    ("cancelled", "booked"), ("cancelled", "recording"), ("cancelled", "recorded"), ("cancelled", "cleaned"),
    ("missed", "booked"), ("missed", "cleaned"),
}


@pytest.mark.parametrize("to", Stage)
@pytest.mark.parametrize("now", Stage)
def test_a_step_is_legal_only_if_the_design_draws_it(now: Stage, to: Stage) -> None:
    if (now.value, to.value) in LEGAL:
        assert step(now, to) is to
    else:
        with pytest.raises(IllegalStep, match=f"a film that is {now} cannot become {to}"):
            step(now, to)


def test_every_stage_but_cleaned_leads_to_cleaned() -> None:
    reached = {Stage.CLEANED}
    while more := {stage for stage in STEPS if STEPS[stage] & reached} - reached:
        reached |= more
    assert reached == set(Stage)


def test_nothing_leads_out_of_cleaned() -> None:
    assert STEPS[Stage.CLEANED] == frozenset()


def test_a_booking_may_change_only_before_its_footage_is_complete() -> None:
    assert {Stage.BOOKED, Stage.RECORDING} == CHANGEABLE


def test_the_words_that_are_told_are_those_of_the_documents() -> None:
    assert {stage.value: word for stage, word in STATUS_WORDS.items()} == {
        "recording": "recording", "recorded": "completed", "rendered": "video_processed",
        "published": "video_uploaded", "missed": "failed"}


def test_words_only_move_forward_except_out_of_failed() -> None:
    words = ["recording", "completed", "video_processed", "video_uploaded"]
    for at, told in enumerate(words):
        assert [says_more(word, told) for word in words] == [to > at for to in range(4)]
    for told in ("failed", None, "a word of a later version"):
        assert all(says_more(word, told) for word in words)
