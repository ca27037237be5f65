"""Just enough HTTP/1.1 to pass requests and answers on: heads, and bodies with a length, in chunks, or to the end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

PIECE = 1 << 16  # bytes passed on at once
LIMIT = 1 << 16  # bytes that a stream holds (twice that is read ahead), and the longest head


class Broken(ConnectionError):
    """The peer left in the middle of something."""


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a request or an answer, with the bytes they came in."""

    raw: bytes
    first: tuple[str, str, str]
    headers: dict[str, str]  # names in lower case

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Self | None:
        """The next head; None if the peer left before its first byte, Broken if in the middle of it."""
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Broken from error
            return None
        first, *lines = raw.decode("latin-1").split("\r\n")
        words = (*first.split(" ", 2), "", "")[:3]
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return cls(raw, (words[0], words[1], words[2]), headers)

    @property
    def status(self) -> int:
        """The status code, if this is an answer's head."""
        return int(self.first[1])

    @property
    def closes(self) -> bool:
        """Whether the sender says that nothing follows on this connection."""
        return self.headers.get("connection", "").lower() == "close"

    @property
    def expects_continue(self) -> bool:
        """Whether the client wants to be asked for the body."""
        return self.headers.get("expect", "").lower() == "100-continue"

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        """The body's length in bytes, if the head says it."""
        said = self.headers.get("content-length")
        return int(said) if said is not None else None

    def has_no_body(self, method: str) -> bool:
        """Whether this answer to a request of that method ends with its head."""
        return method == "HEAD" or self.status in (204, 304)


async def body(reader: asyncio.StreamReader, head: Head, *, until_end: bool) -> AsyncIterator[bytes]:
    """A body's bytes as they come, chunks with their framing; without a length it is empty, or goes on `until_end`."""
    if head.chunked:
        async for piece in _chunks(reader):
            yield piece
    elif head.length is not None:
        async for piece in _exactly(reader, head.length):
            yield piece
    elif until_end:
        while piece := await reader.read(PIECE):
            yield piece


async def _exactly(reader: asyncio.StreamReader, left: int) -> AsyncIterator[bytes]:
    while left:
        piece = await reader.read(min(PIECE, left))
        if not piece:
            raise Broken
        left -= len(piece)
        yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    try:
        while True:
            line = await reader.readuntil(b"\r\n")
            yield line
            size = int(line.split(b";")[0], 16)
            async for piece in _exactly(reader, size):
                yield piece
            if size:
                yield await reader.readexactly(2)
                continue
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                yield line
            yield line
            return
    except asyncio.IncompleteReadError as error:
        raise Broken from error
