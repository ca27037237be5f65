"""Every stage of a film and every step between them, in one table.

A stage is the last durable fact, never an activity: after a crash the step that follows it is done again.
"""

from enum import StrEnum

from ezrec.domain.errors import IllegalStep


class Stage(StrEnum):
    """The last durable fact about a film."""

    BOOKED = "booked"  # the booking is known, nothing has been recorded for it
    RECORDING = "recording"  # the first segment row for it exists
    RECORDED = "recorded"  # the window is over and its footage is durable or declared lost
    RENDERED = "rendered"  # the film's file is closed and valid
    UPLOADED = "uploaded"  # the object is complete and verified
    PUBLISHED = "published"  # the `videos` row is confirmed
    CLEANED = "cleaned"  # no local file is left
    CANCELLED = "cancelled"  # the booking was called off; footage stays until retention
    MISSED = "missed"  # the window is over and no footage exists


STEPS: dict[Stage, frozenset[Stage]] = {
    Stage.BOOKED: frozenset({Stage.RECORDING, Stage.CANCELLED, Stage.MISSED}),
    Stage.RECORDING: frozenset({Stage.RECORDED, Stage.CANCELLED}),
    Stage.RECORDED: frozenset({Stage.RENDERED}),
    Stage.RENDERED: frozenset({Stage.UPLOADED, Stage.RECORDED}),  # back, if its file was damaged: it is made again
    Stage.UPLOADED: frozenset({Stage.PUBLISHED}),
    Stage.PUBLISHED: frozenset({Stage.CLEANED}),
    Stage.CANCELLED: frozenset({Stage.BOOKED, Stage.RECORDING, Stage.RECORDED, Stage.CLEANED}),
    Stage.MISSED: frozenset({Stage.BOOKED, Stage.CLEANED}),
    Stage.CLEANED: frozenset(),
}

CHANGEABLE = frozenset({Stage.BOOKED, Stage.RECORDING})
"""While a film is here its booking may still be moved, extended, shortened or cancelled."""

OPEN = CHANGEABLE | {Stage.CANCELLED, Stage.MISSED}
"""While its film is here, a booking may be changed: it may also stand again."""

MAKING = frozenset({Stage.RECORDING, Stage.RECORDED})
"""While its film is made."""

UPLOADING = frozenset({Stage.RECORDING, Stage.RECORDED, Stage.RENDERED})
"""While a film is here its parts go up."""

FAILED = "failed"
STATUS_WORDS: dict[Stage, str] = {
    Stage.RECORDING: "recording",
    Stage.RECORDED: "completed",
    Stage.RENDERED: "video_processed",
    Stage.PUBLISHED: "video_uploaded",
    Stage.MISSED: FAILED,
}
"""What the booking's owner is told when a film reaches a stage; a parked film is `failed` with its reason."""


def says_more(word: str, told: str | None) -> bool:
    """Whether a status word is news to who was told `told` last: words only move forward, except out of `failed`."""
    words = list(STATUS_WORDS.values())
    return told not in words or told == FAILED or words.index(word) > words.index(told)


def step(now: Stage, to: Stage) -> Stage:
    """Return `to` if the table holds the step from `now`.

    Raises:
        IllegalStep: the table does not hold it.
    """
    if to not in STEPS[now]:
        raise IllegalStep(f"a film that is {now} cannot become {to}; from there it can become: "
                          f"{', '.join(sorted(STEPS[now])) or 'nothing'}")
    return to
