"""Alerts: what needs a person, when it counts as begun, and when as over.

Trouble that blinks is none: it must last before anybody is told, and stay away before it counts as over. Everything
here is decided on the times that are handed in, all of them UTC µs.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ezrec.domain.clock import SECOND


class AlertKind(StrEnum):
    """The kinds as they are stored, and as machines are told; docs/alerts.md says what to do about each."""

    BOOKING = "booking-at-risk"
    RECORDING = "recording-impossible"
    CAMERA = "camera-gone"
    PARKED = "film-parked"
    LATE = "film-late"
    DISK = "disk-low"
    CLOCK = "clock-wrong"
    HEAT = "heat"
    VOLTAGE = "under-voltage"
    CHECK = "check-failed"
    TWO_BOXES = "two-boxes"


AT_ONCE = frozenset({AlertKind.PARKED, AlertKind.LATE, AlertKind.CHECK, AlertKind.TWO_BOXES})
"""Kinds that do not blink: they are told as soon as they are seen."""


REMEDIES: Mapping[AlertKind, str] = {
    AlertKind.BOOKING: "put right what the alert names, before the booking begins; `ezrec check` says how",
    AlertKind.RECORDING: "`ezrec status` and `ezrec check` say what is missing; a match is being lost",
    AlertKind.CAMERA: "look at its cable, then `ezrec check`; if that does not help, switch the box off and on",
    AlertKind.PARKED: "`ezrec films explain BOOKING` says why; put it right, then `ezrec films retry BOOKING`",
    AlertKind.LATE: "`ezrec films explain BOOKING` says what it waits for: most often the network",
    AlertKind.DISK: "`ezrec films list` shows what waits for the network; make room, or take a larger disk",
    AlertKind.CLOCK: "see that the box reaches a time server (timedatectl), or give it a battery for its clock",
    AlertKind.HEAT: "give the box air, or a cooler with a fan",
    AlertKind.VOLTAGE: "take a supply of 5 V and 5 A for a Pi 5, and a short cable",
    AlertKind.CHECK: "`ezrec check` says what is wrong and what helps",
    AlertKind.TWO_BOXES: "switch one of the two boxes off, or give it a camera_id of its own (site.camera_id)",
}
"""What helps, in a sentence that goes with the alert."""

AHEAD = ((24 * 3600 * SECOND, 1), (6 * 3600 * SECOND, 2), (3600 * SECOND, 3), (600 * SECOND, 4))
"""So long before a booking that could not be recorded it is told, µs; and how urgent it is from then on."""


def urgency(until_us: int) -> int:
    """How urgent it is that a booking that begins in so many µs can be recorded; 0: there is time."""
    return max((grade for ahead_us, grade in AHEAD if until_us <= ahead_us), default=0)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong now."""

    kind: AlertKind
    about: str  # which one of its kind: a camera, a booking, a check
    text: str  # for people
    urgency: int = 0  # a higher one than was told is told again


@dataclass(frozen=True)
class Alert:
    """Trouble as it is remembered."""

    kind: AlertKind
    about: str
    text: str
    urgency: int
    since_at: int
    told_at: int | None = None  # None: it has not lasted yet
    over_at: int | None = None  # None: it lasts
    id: int = 0  # 0: it is not stored yet


@dataclass(frozen=True)
class Changes:
    """What a look came to."""

    begun: Sequence[Alert] = ()  # to be told, with when
    over: Sequence[Alert] = ()  # to be told as over
    seen: Sequence[Alert] = ()  # to be remembered, nobody is told
    forgotten: Sequence[Alert] = ()  # it was a blink

    def __bool__(self) -> bool:
        return bool(self.begun or self.over or self.seen or self.forgotten)


class Judge:
    """Judges looks that follow each other. `away` is kept in memory only: trouble that is away when the process starts
    is waited for once more.
    """

    def __init__(self, lasts_us: int) -> None:
        """Trouble lasts, or is over, after so many µs."""
        self._lasts_us = lasts_us
        self._seen_us: dict[tuple[str, str], int] = {}  # since when it is there, monotonic µs
        self._away_us: dict[tuple[str, str], int] = {}  # since when it is away

    def judge(self, known: Iterable[Alert], findings: Iterable[Finding], now_at: int, mono_us: int,
              unknown: Collection[AlertKind] = ()) -> Changes:
        """What is to be told and remembered, the alerts under way being `known` and `findings` what is wrong now.

        Of kinds that are `unknown` now nothing is over because it was not found.
        `mono_us` is the monotonic time: a wall clock that is set does not make trouble older.
        """
        there = {(one.kind, one.about): one for one in findings}
        before = {(one.kind, one.about): one for one in known}
        begun, over, seen, forgotten = [], [], list[Alert](), []
        for key, finding in there.items():
            self._away_us.pop(key, None)
            alert = before.get(key) or Alert(finding.kind, finding.about, finding.text, finding.urgency, now_at)
            had_lasted = min(self._lasts_us, max(0, now_at - alert.since_at))  # in earlier processes, if it is new here
            since_us = self._seen_us.setdefault(key, mono_us - had_lasted)
            told = alert.told_at is not None
            if told and finding.urgency <= alert.urgency:
                continue
            now = replace(alert, text=finding.text, urgency=finding.urgency)
            if told or finding.kind in AT_ONCE or mono_us - since_us >= self._lasts_us:
                begun.append(replace(now, told_at=now_at))
            elif now != alert or not alert.id:
                seen.append(now)
        for key, alert in before.items():
            if key in there or alert.kind in unknown:
                continue
            self._seen_us.pop(key, None)
            if alert.told_at is None:
                forgotten.append(alert)
            elif mono_us - self._away_us.setdefault(key, mono_us) >= (0 if alert.kind in AT_ONCE else self._lasts_us):
                del self._away_us[key]
                over.append(replace(alert, over_at=now_at))
        return Changes(begun, over, seen, forgotten)
