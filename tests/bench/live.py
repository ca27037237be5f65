"""How soon a film is online when bookings, films and rows are in a cloud: uploaded live, through a slow line.

The same recorder, bookings and pictures as in `recorder`. Published means here: the `videos` row is in, and confirmed.
"""

import os
import re
import time
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from ezrec.config import Settings
from tests.bench import clouds
from tests.bench.recorder import Booked, Court, delays, described, room_for
from tests.bench.result import Plan, Row, Say, left_out, mb
from tests.bench.watching import tree_cpu_s
from tests.fakes.cloud.chaos import ChaosProxy

UPLINK = 20_000_000  # bit/s; faster than the film, which the settings hold below 12 Mbit/s
NOTICE_S = Settings().bookings.poll_s + 2  # a new row is seen with the next poll
PART_BYTES = Settings().storage.part_mb << 20
PART_S = PART_BYTES * 8 / UPLINK
FEWEST = 3  # parts of a film, for its length to be compared: the first goes last, and the last is not full
FOREVER = float("inf")
PART = re.compile(r"partNumber=(\d+)")


@dataclass
class Live:
    """What one booking came to in the cloud."""

    booked: Booked
    row_s: float = FOREVER  # from the window's end to the row's created_at
    bytes: int = 0  # of the object
    early: int = 0  # of these, had passed the slow line by the window's end
    live_bytes: int = 0  # of the parts that were stored before the film was closed
    servers: float = 0.0  # cores that servers, proxies and the bench took meanwhile

    @property
    def delay(self) -> float:
        """From the window's end until the row was in and its confirmation here, s."""
        return max(self.row_s, self.booked.delay)

    @property
    def share(self) -> float:
        """Of the object, before the window's end."""
        return self.early / self.bytes if self.bytes else 0.0

    @property
    def late_s(self) -> float:
        """What the line alone takes for the rest."""
        return (self.bytes - self.early) * 8 / UPLINK

    @property
    def rate(self) -> float:
        """The film's, Mbit/s, over the booking's time."""
        return self.bytes * 8e-6 / self.booked.seconds


def measure(plan: Plan, say: Say) -> list[Row]:
    """The rows on a recorder with a cloud."""
    if reason := clouds.missing():
        return [left_out("window end to the videos row, uploaded live", reason)]
    size, needs = room_for(plan, say)
    with clouds.running(say) as cloud, \
            Court(plan.folder / "live", size, partial(clouds.court, cloud), NOTICE_S) as court:
        cloud.s3_net.slow(UPLINK // 8)
        court.start()
        short = _record(court, cloud.s3_net, "short", plan.short_s, say)
        long = _record(court, cloud.s3_net, "long", plan.long_s, say)
        court.end(long.booked)
    both = (short, long)
    how = (f"bookings of {plan.short_s} s and {plan.long_s} s from Supabase lite, films of "
           f"{_each('.1f', 'rate', both)} Mbit/s to ministack in parts of {Settings().storage.part_mb} MiB through "
           f"{UPLINK / 1e6:.0f} Mbit/s, which alone takes {_each('.1f', 'late_s', both)} s for what was left at the "
           f"window's end; the row's created_at was {_each('.2f', 'row_s', both)} s after it, its confirmation here "
           f"{short.booked.delay:.2f} and {long.booked.delay:.2f} s; servers and proxies are on the same cores and "
           f"took {long.servers:.2f} of them; {described(size, needs)}; frames lost: {long.booked.lost}")
    numbers: dict[str, Any] = {"uplink": UPLINK} | {
        name: {"row_s": one.row_s, "confirmed_s": one.booked.delay_s, "bytes": one.bytes, "early_bytes": one.early,
               "live_bytes": one.live_bytes, "servers_cores": one.servers, "lost": one.booked.lost}
        for name, one in zip(("short", "long"), both, strict=True)}
    delay, ratio = delays("the videos row, uploaded live", (short.delay, long.delay), how, numbers)
    return [delay, _fair(ratio, both),
            Row("share of the object that went up before the window's end", "",
                f"{short.share:.0%} and {long.share:.0%}", None,
                f"counted behind the slow line at the window's end ({', '.join(mb(one.early) for one in both)} of "
                f"{', '.join(mb(one.bytes) for one in both)}); in parts stored before the film was closed: "
                f"{', '.join(mb(one.live_bytes) for one in both)}", numbers)]


def _fair(ratio: Row, both: tuple[Live, Live]) -> Row:
    """The ratio with what a reader must know of it; no verdict where a film has too few parts to go up live."""
    rest = [one.delay - one.late_s for one in both]
    how = (f"{ratio.how}; how full the last part is at the window's end is chance, worth {PART_S:.1f} s on this line; "
           f"without the line's time for what was left: {rest[0]:.1f} and {rest[1]:.1f} s")
    ratio = replace(ratio, what="the same, uploaded live: long booking ÷ short booking", how=how)
    if min(one.bytes for one in both) >= FEWEST * PART_BYTES:
        return ratio
    return replace(ratio, good=None, how=f"{how}; no verdict: a film has fewer than {FEWEST} parts")


def _each(spec: str, name: str, both: tuple[Live, Live]) -> str:
    return " and ".join(format(getattr(one, name), spec) for one in both)


def _record(court: Court, net: ChaosProxy, booking_id: str, seconds: int, say: Say) -> Live:
    """Record a booking; wait until its row is confirmed."""
    site: Any = court.site
    passed: list[int] = []
    before, begun = _servers_cpu_s(court), time.monotonic()
    booked = court.record(booking_id, seconds, say, publish=True,
                          at_end=lambda: passed.append(_passed(net, booking_id)))
    live = Live(booked, early=sum(passed), servers=(_servers_cpu_s(court) - before) / (time.monotonic() - begun))
    film, rows = site.film(booking_id), site.videos(booking_id)
    if rows and film["certificate"]:
        live.row_s = datetime.fromisoformat(rows[0]["created_at"]).timestamp() - _end_of(site, booking_id)
        live.bytes, live.live_bytes = film["bytes"], film["certificate"]["object"]["live_bytes"] or 0
    return live


def _end_of(site: Any, booking_id: str) -> float:
    """The window's end, UTC seconds."""
    return datetime.fromisoformat(site.booking(booking_id)["end_time"]).timestamp()


def _passed(net: ChaosProxy, booking_id: str) -> int:
    """Bytes of a film's parts that the server was given; of a part that was sent again the longer attempt."""
    parts: dict[str, int] = {}
    for one in net.seen("PUT", rf"/{booking_id}\.mp4\?.*partNumber="):
        found = PART.search(one.target)
        assert found
        parts[found[1]] = max(parts.get(found[1], 0), one.up)
    return sum(parts.values())


def _servers_cpu_s(court: Court) -> float:
    """CPU seconds so far of this process and all below it, the recorder left out."""
    assert court.site.process
    return tree_cpu_s(os.getpid()) - tree_cpu_s(court.site.process.pid)
