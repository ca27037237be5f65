"""How far one camera's footage is known: the time up to which it is durable, or will never come."""

from collections import deque

from ezrec.adapters.segments import Sealed


class Watermark:
    """One camera's watermark, in run-monotonic µs. `sealed` and `takes` may be called from any thread."""

    def __init__(self) -> None:
        self._unrecorded: deque[int] = deque()  # starts of sealed segments whose rows are not written yet
        self._durable_us = 0  # the end of the newest segment that has a row
        self._given_up_us = 0  # frames for a time before this are not taken any more

    def give_up(self, us: int) -> None:
        """Nothing for a time before `us` will be taken any more."""
        self._given_up_us = max(self._given_up_us, us)

    def takes(self, us: int) -> bool:
        """Whether a frame seen at `us` still counts."""
        return us >= self._given_up_us

    def sealed(self, start_us: int) -> None:
        """A segment is closed; its row is not written yet."""
        self._unrecorded.append(start_us)

    def recorded(self, segment: Sealed) -> None:
        """A sealed segment's row is in the store."""
        self._durable_us = max(self._durable_us, segment.end_us)
        self._unrecorded.remove(segment.start_us)

    def now_us(self, pending_us: int | None, give_up_us: int | None) -> int:
        """The watermark.

        Args:
            pending_us: the oldest frame that is not in a sealed segment yet, read before this call. A segment becomes
                unrecorded before it ceases to be pending, so in this order none is missed.
            give_up_us: the time before which nothing is waited for any more, if nothing is on its way.
        """
        pending = [start for start in (pending_us, *tuple(self._unrecorded)) if start is not None]
        if pending:
            return min(pending)
        if give_up_us is not None:
            self.give_up(give_up_us)
        return max(self._durable_us, self._given_up_us)
