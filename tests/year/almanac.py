"""What happens in a year at a court, by its seed: bookings, and what befalls network, disk, power and clock."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ezrec.domain.clock import SECOND

ZONE = "Europe/Berlin"
FIRST = datetime(2027, 1, 1, tzinfo=UTC)
OPENS, CLOSES = 7, 23  # local hours
LENGTHS = (30, 45, 60, 60, 60, 90)  # minutes
BREAKS = (0, 0, 0, 5, 10)
LONGEST_DAYS = 7  # of an outage
CANCELLED = MOVED = 0.03  # of the bookings

MINUTE_US = 60 * SECOND
DAY_US = 24 * 60 * MINUTE_US


@dataclass(frozen=True)
class Measure:
    """How much happens."""

    days: int = 365
    bookings: int = 5000
    outages: int = 20
    full_disks: int = 3
    upgrades: int = 10
    starts_in_1970: int = 2
    first: datetime = FIRST


YEAR = Measure()
FORTNIGHT = Measure(14, 180, 3, 1, 2, 1, datetime(2027, 3, 20, tzinfo=UTC))
"""With a time change in it."""


@dataclass(frozen=True)
class Time:
    """From when to when something lasts, UTC µs."""

    start: int
    end: int

    def touches(self, other: "Time", margin: int = 0) -> bool:
        """Whether both have a moment in common, or one that is so near."""
        return self.start < other.end + margin and other.start < self.end + margin

    def holds(self, other: "Time") -> bool:
        """Whether all of another lies in it."""
        return self.start <= other.start and other.end <= self.end


@dataclass(frozen=True, order=True)
class Act:
    """Something that happens at an instant, UTC µs."""

    at: int
    what: str
    about: Any = None


class Almanac:
    """The seed's bookings and acts. `times` are the bookings' as they are in the end, in order of their ids."""

    def __init__(self, measure: Measure, seed: int) -> None:
        self._dice = random.Random(seed)
        self.measure, self.zone = measure, ZoneInfo(ZONE)
        self.begin = _us(measure.first)
        self.end = self.begin + measure.days * DAY_US
        times = self._times()
        self.times = {f"b{number:05}": time for number, time in enumerate(times, 1)}
        self.rows = {name: row_of(name, time, self.zone) for name, time in self.times.items()}
        self.booked = dict(self.times)  # as they were booked: a box that hears of no change keeps to these
        self.starts = {name: time.start for name, time in self.times.items()}
        self.cancelled: set[str] = set()
        self.outages = self._spread(measure.outages, lambda: self._long(0.01, LONGEST_DAYS), longest=LONGEST_DAYS)
        self.full = self._spread(measure.full_disks, lambda: self._long(0.01, 0.15))
        self.dark: list[Time] = []  # when it is off, or does not know the time
        self.acts = sorted([*self._changes(), *self._harm()])

    def free(self, time: Time) -> bool:
        """Whether nothing can have kept a booking from being recorded whole."""
        return not any(time.touches(one, 2 * MINUTE_US) for one in (*self.full, *self.dark))

    def lost(self, time: Time) -> bool:
        """Whether there was no moment at which a booking could be recorded."""
        return any(one.holds(time) for one in (*self.full, *self.dark))

    # ---- bookings

    def _times(self) -> list[Time]:
        """All windows: some days are fuller than others, and each night of a time change has a booking across it."""
        wanted, found = self.measure.bookings, list(self._nights())
        days = [(self.measure.first + timedelta(days=day)).date() for day in range(self.measure.days)]
        slots: list[Time] = []
        for day in days:
            at = datetime(day.year, day.month, day.day, OPENS, tzinfo=self.zone)
            while True:
                end = at + timedelta(minutes=self._dice.choice(LENGTHS))
                if (end.hour, end.minute) > (CLOSES, 0) or end.day != at.day:
                    break
                slots.append(Time(_us(at), _us(end)))
                at = end + timedelta(minutes=self._dice.choice(BREAKS))
        slots = [slot for slot in slots if self.begin + DAY_US // 2 < slot.start and slot.end < self.end - DAY_US]
        assert len(slots) + len(found) >= wanted, f"only {len(slots)} bookings fit"
        found += self._dice.sample(slots, wanted - len(found))
        return sorted(found, key=lambda one: one.start)

    def _nights(self) -> list[Time]:
        """A booking from before a time change until after it."""
        nights = []
        for day in range(self.measure.days):
            noon = self.measure.first + timedelta(days=day, hours=-12)
            change = (noon + timedelta(days=1)).astimezone(self.zone).utcoffset() != noon.astimezone(
                self.zone).utcoffset()
            if change:  # at 01:00 UTC, all over the European Union
                middle = _us(noon.replace(hour=0) + timedelta(days=1, hours=1))
                nights.append(Time(middle - 30 * MINUTE_US, middle + 30 * MINUTE_US))
        return nights

    def _changes(self) -> list[Act]:
        """Bookings that are called off or moved, from days before to the middle of the match."""
        acts = []
        for name, time in self.times.items():
            kind = self._dice.random()
            if kind < CANCELLED:
                at = time.start - self._dice.choice((2 * DAY_US, DAY_US // 8, 2 * MINUTE_US, -10 * MINUTE_US))
                acts.append(Act(at, "cancel", name))
                self.cancelled.add(name)
            elif kind < CANCELLED + MOVED:
                later = Time(time.start + 10 * MINUTE_US, time.end + 10 * MINUTE_US)
                acts.append(Act(time.start - self._dice.choice((DAY_US, 20 * MINUTE_US)), "move", (name, later)))
                self.times[name] = later
        return acts

    # ---- harm

    def _harm(self) -> list[Act]:
        acts = [Act(one.start, "network goes") for one in self.outages]
        acts += [Act(one.end, "network comes") for one in self.outages]
        acts += [Act(one.start, "disk full") for one in self.full] + [Act(one.end, "disk free") for one in self.full]
        for number in range(self.measure.upgrades):
            at = self._in_a_match() if number % 5 == 4 else self._at_night()
            self.dark.append(Time(at, at + MINUTE_US))
            acts.append(Act(at, "upgrade"))
        for number in range(self.measure.starts_in_1970):
            at = self._in_a_match() if number % 2 == 0 else self._at_night()
            known = at + self._dice.randint(1, 10) * MINUTE_US
            self.dark.append(Time(at, known))
            acts += [Act(at, "power cut"), Act(known, "clock set")]
        return acts

    def _in_a_match(self) -> int:
        """A moment in a booking, with a network that lets it be known."""
        while True:
            time = self._dice.choice(list(self.times.values()))
            at = self._dice.randint(time.start + MINUTE_US, time.end - MINUTE_US)
            if self._quiet(at):
                return at

    def _at_night(self) -> int:
        while True:
            day = self.measure.first + timedelta(days=self._dice.randrange(1, self.measure.days - 1))
            at = _us(day) + self._dice.randint(3 * 60, 4 * 60) * MINUTE_US
            if self._quiet(at):
                return at

    def _quiet(self, at: int) -> bool:
        """Whether nothing else happens at that time."""
        here = Time(at, at + DAY_US // 8)
        return self.begin + DAY_US < at < self.end - 2 * DAY_US and not any(
            here.touches(one, DAY_US // 8) for one in (*self.full, *self.dark))

    def _long(self, least_days: float, most_days: float) -> int:
        """How long something lasts: shorter more often than longer, µs."""
        return round(least_days * (most_days / least_days) ** self._dice.random() * DAY_US)

    def _spread(self, count: int, length: Any, longest: float = 0) -> list[Time]:
        """So many times that do not touch; with `longest` the first lasts so many days, as far as there is room."""
        found: list[Time] = []
        span = self.end - self.begin
        while len(found) < count:
            long = round(min(longest * DAY_US, span / 4)) if longest and not found else min(length(), span // 8)
            start = self._dice.randint(self.begin + DAY_US, self.end - 2 * DAY_US - long)
            time = Time(start, start + long)
            if not any(time.touches(one, DAY_US // 4) for one in found):
                found.append(time)
        return sorted(found, key=lambda one: one.start)


def row_of(name: str, time: Time, zone: ZoneInfo) -> dict[str, Any]:
    """A row of the table of bookings, with the venue's own times."""
    return {"id": name, "start_time": _local(time.start, zone), "end_time": _local(time.end, zone),
            "status": "scheduled"}


def _local(us: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(us / SECOND, zone).isoformat()


def _us(at: datetime) -> int:
    return round(at.timestamp() * SECOND)
