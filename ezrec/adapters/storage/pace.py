"""How a part leaves this machine: piece by piece, no faster than allowed, and watched, so that it never hangs for long.

A part is read from the film as it goes, so that a part in flight takes `BLOCK` bytes of memory and not its own size.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

PIECE = 64 << 10  # bytes handed over at a time; what the cap and the watch count in
BLOCK = 1 << 20  # bytes read from the film at a time, in a thread


class RateCap:
    """A cap that everything which goes up shares. `kbit_s` says what it is just now; 0: none.

    A piece may leave once all that was let go before it has had its time, so there are no bursts to save up for.
    """

    def __init__(self, kbit_s: Callable[[], int], clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._kbit_s = kbit_s
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0  # when the line is free again, by the clock

    async def wait(self, size: int) -> None:
        """Wait until `size` bytes may leave."""
        now, kbit_s = self._clock(), self._kbit_s()
        if not kbit_s:
            self._free_at = now
            return
        turn = max(now, self._free_at)
        self._free_at = turn + size / (kbit_s * 125)
        if turn > now:
            await self._sleep(turn - now)


class Watch:
    """Ends a call in which nothing moves: `limit` expires unless somebody takes what is to be sent."""

    def __init__(self, limit: asyncio.Timeout, start_s: float, piece_s: float) -> None:
        self._limit = limit
        self._start_s = start_s  # from the call to the first piece: connecting, and the server's leave to send
        self._piece_s = piece_s  # from one piece to the next
        self.moved = False  # a piece was taken

    def begin(self) -> None:
        """The call begins, or begins again."""
        self._expect(self._start_s)

    def took(self) -> None:
        """A piece was taken; the next one must follow."""
        self.moved = True
        self._expect(self._piece_s)

    def rest(self) -> None:
        """What comes now is not the other side's to be hurried with: waiting for the cap, or for its answer."""
        if not self._limit.expired():
            self._limit.reschedule(None)

    def _expect(self, seconds: float) -> None:
        if not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)


class PartBody:
    """A range of the film as the body of a request, `size` bytes from `offset` on; may be sent again from the start.

    What botocore and aiohttp ask of a body: a length, a `read` (by which botocore knows a body, and which it does not
    call), a `seek` to the start before it is sent again, and pieces.
    """

    def __init__(self, film: Path, offset: int, size: int, cap: RateCap, watch: Watch) -> None:
        self._film = film
        self._offset = offset
        self._size = size
        self._cap = cap
        self._watch = watch

    def __len__(self) -> int:
        return self._size

    def __aiter__(self) -> "_Pieces":
        return _Pieces(self._film, self._offset, self._size, self._cap, self._watch)

    def read(self, size: int = -1) -> bytes:
        """Never called: a part is not held in memory."""
        raise NotImplementedError(f"{size} bytes of a part were asked for at once")

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The body is about to be sent from its start (again)."""
        if offset or whence:
            raise OSError("a part is sent from its start only")
        self._watch.begin()
        return 0


class _Pieces:
    """One pass over a body. No generator: one that is given up half-way would need the loop to be closed."""

    def __init__(self, film: Path, offset: int, size: int, cap: RateCap, watch: Watch) -> None:
        self._film = film
        self._at = offset
        self._end = offset + size
        self._cap = cap
        self._watch = watch
        self._block = memoryview(b"")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        """The next piece, once it may leave.

        Raises:
            EOFError: the film does not reach so far (any more).
            OSError: it cannot be read.
        """
        if self._at == self._end:
            raise StopAsyncIteration
        self._watch.rest()
        if not self._block:
            size = min(BLOCK, self._end - self._at)
            self._block = memoryview(await asyncio.to_thread(_read, self._film, self._at, size))
        piece, self._block = self._block[:PIECE], self._block[PIECE:]
        await self._cap.wait(len(piece))
        self._at += len(piece)
        if self._at == self._end:
            self._watch.rest()  # how long the last bytes are on their way nobody knows: the part's own limit holds
        else:
            self._watch.took()
        return piece


def _read(film: Path, at: int, size: int) -> bytes:
    with film.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), size, at)
    if len(data) != size:
        raise EOFError(f"{film} does not reach to byte {at + size}")
    return data
