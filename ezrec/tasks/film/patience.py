"""How long footage that is away is waited for, before a film goes on without it."""

from ezrec.domain.clock import SECOND, Clock

WAIT_US = 60 * SECOND
"""A disk that fell out and is found again by the kernel, or a folder that somebody moved, is back within a minute."""

SHORTEST_US = SECOND


class Patience:
    """For each film, since when which chunks have waited, and how many in a row went on without what was away.

    The first chunk waits for a minute, each one after it half as long as the one before: a camera's folder that was
    deleted must not hold a film up for days. None waits less than a second: a disk that comes back after all has then
    cost not much more of the film than it was away.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_us: dict[str, dict[int, int]] = {}  # booking → chunk
        self._given_up: dict[str, int] = {}  # booking → chunks in a row

    def is_over(self, booking_id: str, number: int) -> bool:
        """Whether a chunk has waited long enough."""
        since_us = self._since_us.get(booking_id, {}).get(number)
        limit_us = max(WAIT_US >> self._given_up.get(booking_id, 0), SHORTEST_US)
        return since_us is not None and self._clock.mono_us() - since_us >= limit_us

    def begin(self, booking_id: str, number: int) -> None:
        """A chunk's footage is away: it waits since this was first said of it."""
        self._since_us.setdefault(booking_id, {}).setdefault(number, self._clock.mono_us())

    def end(self, booking_id: str, number: int, *, given_up: bool) -> None:
        """A chunk waits no longer. `given_up`: it goes on without footage that it waited for."""
        self._since_us.get(booking_id, {}).pop(number, None)
        self._given_up[booking_id] = self._given_up.get(booking_id, 0) + 1 if given_up else 0

    def forget(self, booking_id: str) -> None:
        """Nothing is kept of a film that is made."""
        self._since_us.pop(booking_id, None)
        self._given_up.pop(booking_id, None)
