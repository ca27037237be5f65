"""Trials: cameras that are off are switched on for some seconds before a booking (24 h, 6 h, 1 h, 10 min), since one
that is gone shows in no other way.

Not while a camera is wanted, or soon will be; with `cameras.preflight_s` = 0 never. What is wrong with a picture is the
pre-flight's to say: here a camera works if it gives frames.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from ezrec import logs
from ezrec.adapters.cameras.inspection import Verdict
from ezrec.domain.alerts import urgency
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.tasks.recording.lane import Lane
from ezrec.tasks.recording.preflight import ROOM_S

log = logs.get("alerts")

AGAIN_S = 300.0  # how soon cameras that did not work are tried again


class Trials:
    """What the cameras that are off did when they were tried last."""

    def __init__(self, clock: Clock, lanes: Callable[[], Mapping[str, Lane]], lead_s: float,
                 preflight_s: float) -> None:
        self._clock, self._lanes = clock, lanes
        self._room_us = round((lead_s + 2 * ROOM_S) * SECOND)
        self._wanted = preflight_s > 0
        self._done: dict[str, int] = {}  # booking → urgency that it was tried for
        self._again_us: int | None = None  # when they are tried again, monotonic µs
        self._gone: dict[str, str] = {}

    def gone(self) -> dict[str, str]:
        """The cameras that did not work when they were tried, and have not worked since."""
        for name, lane in self._lanes().items():
            if lane.streaming:
                self._gone.pop(name, None)
        return dict(self._gone)

    async def run_once(self, films: Sequence[Film]) -> None:
        """Try the cameras if a booking has come near enough, or they did not work; `films` are the booked ones."""
        now = self._clock.wall_us()
        ahead = {film.booking_id: film.starts_at - now for film in films
                 if film.stage is Stage.BOOKED and film.ends_at > now}
        if not self._wanted or any(us < self._room_us for us in ahead.values()):
            return
        due = {one: urgency(us) for one, us in ahead.items() if urgency(us) > self._done.get(one, 0)}
        again = self._again_us is not None and self._clock.mono_us() >= self._again_us
        lanes = self._lanes()
        if not (due or (again and any(map(urgency, ahead.values())))) or not all(one.idle for one in lanes.values()):
            return
        self._done = {one: grade for one, grade in self._done.items() if one in ahead} | due
        found = await asyncio.gather(*(lane.try_out(None) for lane in lanes.values()))
        verdicts = {name: verdict for name, verdict in zip(lanes, found, strict=True) if verdict}
        self._gone = {name: _words(verdict) for name, verdict in verdicts.items() if not verdict.frames}
        self._again_us = self._clock.mono_us() + round(AGAIN_S * SECOND) if self._gone else None
        log.info("cameras tried for bookings ahead", gone=sorted(self._gone), bookings=sorted(due))


def _words(verdict: Verdict) -> str:
    return "; ".join(verdict.problems) or "no frame came"
