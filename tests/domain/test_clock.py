"""The machine's own clocks, and instants as people and machines read them."""

import time
from zoneinfo import ZoneInfo

from ezrec.domain.clock import SECOND, SystemClock, local_datetime, utc_datetime, utc_text


def test_the_systems_clocks_are_the_machines_in_microseconds() -> None:
    clock = SystemClock()
    for ours, theirs in ((clock.wall_us, time.time), (clock.mono_us, time.monotonic)):
        before, now, after = theirs(), ours() / SECOND, theirs()
        assert before - 0.001 <= now <= after + 0.001


def test_an_instant_is_exact_to_the_microsecond_and_shown_to_the_millisecond() -> None:
    us = 1_800_000_000_123_456
    assert utc_datetime(us).isoformat() == "2027-01-15T08:00:00.123456+00:00"
    assert utc_text(us) == "2027-01-15T08:00:00.123+00:00"
    assert local_datetime(us, ZoneInfo("Europe/Berlin")).isoformat() == "2027-01-15T09:00:00.123456+01:00"
