"""A proxy between the program and a cloud that breaks what passes through it, switchable while everything runs.

    with ChaosProxy(server.endpoint) as net:       # own thread, own loop: for whole-program and for async tests alike
        net.url                                    # give this to the program instead of the server's address
        # the whole network, until heal():
        net.refuse(); net.reset(); net.hang()      # refused; reset on accept; accepted and never read (open ones too)
        net.slow(50_000)                           # bytes a second, each way, all connections together
        # single requests (method="PUT", target=r"partNumber=2", times=1, skip=0 choose which); each returns its Fault:
        net.cut_request(after=1000)                # reset after that many bytes of the body reached the server
        net.hang_request(after=1000)               # from then on nothing is taken and nothing is said
        net.withhold_continue()
        net.cut_answer(after=0, clean=False)       # the server has committed; the client sees so many bytes, no more
        net.hang_answer(after=0)                   # … then nothing
        net.bad_gateway(); net.portal(); net.redirect(); net.too_many(retry_after_s=1); net.truncated_json()
        net.jwt_expired(); net.bad_api_key(); net.denied(); net.s3_expired(); net.s3_denied(); net.s3_bad_key()
        net.answer(faults.answer(503, "…"))        # anything else
        fault.hits                                 # how many requests it struck so far
        net.heal()                                 # all of it is over; what hung is reset
        net.seen("PUT", r"partNumber=")            # requests: method, target, status, up, down, began, ended, fault
        net.count(…); net.longest_gap_s(…); net.up; net.down

`SUPABASE_FAULTS` and `S3_FAULTS` (name → what to call with the proxy) have one of each, for tests that go through all.

HTTP/1.1 without TLS. A request has its own connection to the server; answers are passed on as they come.
"""

import asyncio
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from tests.fakes.cloud import faults, wire
from tests.fakes.cloud.faults import Fault, Kind
from tests.fakes.cloud.servers import free_port

_T = TypeVar("_T")

CALL_LIMIT_S = 30.0
BUFFER = 1 << 17  # bytes that the kernel takes from a client before the proxy has passed them on
EARLY_S = 1.0     # how long a body may go on after the server has answered it


@dataclass(eq=False)
class Seen:
    """One request that came to the proxy; times are of time.monotonic(), s."""

    method: str
    target: str
    began: float
    ended: float | None = None  # when the last byte of the answer was passed on; None: never
    status: int | None = None   # of the answer that the client was given
    up: int = 0                 # bytes passed to the server
    down: int = 0               # bytes passed to the client
    fault: Fault | None = None


class _Hold(Exception):
    """Leave the connection as it is: nothing is read, nothing is said, nothing is closed."""


class _Reset(Exception):
    """Reset the client's connection."""


class ChaosProxy:
    """A proxy in front of one server; starts with its construction."""

    def __init__(self, upstream: str) -> None:
        address = urlsplit(upstream)
        self._upstream = (address.hostname or "127.0.0.1", address.port or 80)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.up = 0
        self.down = 0
        self._seen: list[Seen] = []
        self._faults: tuple[Fault, ...] = ()
        self._network = ""  # "", "reset" or "hang"
        self._rate: int | None = None
        self._free_at = {"up": 0.0, "down": 0.0}
        self._listener: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._held: dict[asyncio.StreamWriter, Callable[[asyncio.StreamWriter], None]] = {}  # → how it ends
        self._wrong: list[dict[str, Any]] = []  # what the loop caught: mistakes of this proxy
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, what: self._wrong.append(what))
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos proxy", daemon=True)
        self._thread.start()
        self._do(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Reset all connections and end the proxy."""
        if self._loop.is_closed():
            return
        self._do(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_LIMIT_S)
        self._loop.close()
        assert not self._wrong, self._wrong

    # ---- the whole network

    def refuse(self) -> None:
        """Nobody listens any more; open connections are reset."""
        self._do(self._refuse())

    def reset(self) -> None:
        """Every connection is reset, open ones at once, new ones when they are accepted."""
        self._do(self._break("reset"))

    def hang(self) -> None:
        """A black hole: open connections stand still, new ones are accepted and never read."""
        self._do(self._break("hang"))

    def slow(self, bytes_per_s: int | None) -> None:
        """Limit what passes, each way, all connections together; None: no limit."""
        self._rate = bytes_per_s

    def heal(self) -> None:
        """End every fault; connections that hung are reset, so that nothing of them arrives late."""
        self._do(self._heal())

    # ---- single requests

    def fault(self, kind: Kind, *, method: str | None = None, target: str | None = None, times: int | None = None,
              skip: int = 0, **how: Any) -> Fault:
        """Add a fault; the first one that strikes a request counts."""
        fault = Fault(kind, method, re.compile(target) if target else None, times, skip, **how)
        self._faults = (*self._faults, fault)
        return fault

    def forget(self, fault: Fault) -> None:
        """End one fault."""
        self._faults = tuple(one for one in self._faults if one is not fault)

    def cut_request(self, after: int = 0, **which: Any) -> Fault:
        """Reset the connection after so many bytes of the body have reached the server."""
        return self.fault(Kind.CUT_REQUEST, after=after, **which)

    def hang_request(self, after: int = 0, **which: Any) -> Fault:
        """Take no more than so many bytes of the body, and say nothing."""
        return self.fault(Kind.HANG_REQUEST, after=after, **which)

    def withhold_continue(self, **which: Any) -> Fault:
        """Keep the server's `100 Continue` back; requests that do not wait for one are not struck."""
        return self.fault(Kind.WITHHOLD_CONTINUE, **which)

    def cut_answer(self, after: int = 0, *, clean: bool = False, **which: Any) -> Fault:
        """End the connection after so many bytes of the answer, when the server has done what it was asked."""
        return self.fault(Kind.CUT_ANSWER, after=after, clean=clean, **which)

    def hang_answer(self, after: int = 0, **which: Any) -> Fault:
        """Pass so many bytes of the answer on and then nothing, when the server has done what it was asked."""
        return self.fault(Kind.HANG_ANSWER, after=after, **which)

    def answer(self, answer: bytes, **which: Any) -> Fault:
        """Answer in the server's place."""
        return self.fault(Kind.ANSWER, answer=answer, **which)

    def bad_gateway(self, **which: Any) -> Fault:
        """502 with HTML."""
        return self.answer(faults.BAD_GATEWAY, **which)

    def portal(self, **which: Any) -> Fault:
        """200 with HTML: a captive portal."""
        return self.answer(faults.PORTAL, **which)

    def redirect(self, **which: Any) -> Fault:
        """302 to an address where nobody listens."""
        return self.answer(faults.REDIRECT, **which)

    def too_many(self, retry_after_s: int = 1, **which: Any) -> Fault:
        """429 with Retry-After."""
        return self.answer(faults.too_many(retry_after_s), **which)

    def truncated_json(self, **which: Any) -> Fault:
        """200 with JSON that ends in the middle."""
        return self.answer(faults.TRUNCATED_JSON, **which)

    def jwt_expired(self, **which: Any) -> Fault:
        """401, as PostgREST says it of an expired JWT."""
        return self.answer(faults.JWT_EXPIRED, **which)

    def bad_api_key(self, **which: Any) -> Fault:
        """401, as Supabase's gateway says it of a key that it does not know."""
        return self.answer(faults.BAD_API_KEY, **which)

    def denied(self, **which: Any) -> Fault:
        """403, as PostgREST says it of a table without a grant."""
        return self.answer(faults.DENIED, **which)

    def s3_expired(self, **which: Any) -> Fault:
        """403 ExpiredToken."""
        return self.answer(faults.S3_EXPIRED, **which)

    def s3_denied(self, **which: Any) -> Fault:
        """403 AccessDenied."""
        return self.answer(faults.S3_DENIED, **which)

    def s3_bad_key(self, **which: Any) -> Fault:
        """403 InvalidAccessKeyId."""
        return self.answer(faults.S3_BAD_KEY, **which)

    # ---- what went through

    def seen(self, method: str | None = None, target: str = "") -> list[Seen]:
        """The requests of that method whose path and query match, in the order they came."""
        if not self._loop.is_closed():
            self._do(_nothing())  # what a client has just received is counted after this
        wanted = re.compile(target)
        return [one for one in tuple(self._seen)
                if (method is None or one.method == method) and wanted.search(one.target)]

    def count(self, method: str | None = None, target: str = "") -> int:
        """How many such requests came."""
        return len(self.seen(method, target))

    def longest_gap_s(self, method: str | None = None, target: str = "") -> float:
        """The longest time from one good answer (2xx) to such a request to the next one, s; 0 without two of them."""
        ends = sorted(one.ended for one in self.seen(method, target) if one.ended and 200 <= (one.status or 0) < 300)
        return max((later - earlier for earlier, later in pairwise(ends)), default=0.0)

    # ---- inside the loop

    def _do(self, what: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(CALL_LIMIT_S)

    async def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # what it accepts inherits this
        listener.bind(("127.0.0.1", self.port))
        self._listener = await asyncio.start_server(self._accept, sock=listener, limit=wire.LIMIT, backlog=256)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open[task] = writer
        try:
            self._must_be_well()
            while await self._exchange(reader, writer):
                self._must_be_well()
            writer.close()
        except _Hold:
            self._hold(writer, _reset)
        except asyncio.CancelledError:  # by _break
            if self._network == "hang":
                self._hold(writer, _reset)
            else:
                _reset(writer)
        except (_Reset, OSError, asyncio.LimitOverrunError):
            _reset(writer)
        finally:
            del self._open[task]

    def _must_be_well(self) -> None:
        if self._network:
            raise _Hold if self._network == "hang" else _Reset

    def _hold(self, writer: asyncio.StreamWriter, ending: Callable[[asyncio.StreamWriter], None]) -> None:
        if not writer.transport.is_closing():
            with suppress(RuntimeError):  # it is not reading, as it has read as much as it holds
                writer.transport.pause_reading()
            self._held[writer] = ending

    async def _break(self, network: str) -> None:
        self._network = network
        for task in self._open:
            task.cancel()
        while self._open:
            await asyncio.sleep(0)
        if network != "hang":
            self._let_go()

    async def _refuse(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None
        await self._break("reset")

    def _let_go(self) -> None:
        for writer, ending in self._held.items():
            ending(writer)
        self._held.clear()

    async def _heal(self) -> None:
        self._faults, self._network, self._rate = (), "", None
        self._let_go()
        if self._listener is None:
            await self._listen()

    async def _shut(self) -> None:
        await self._refuse()
        await self._loop.shutdown_asyncgens()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass one request and its answer on; whether the client may send another one."""
        request = await wire.Head.read(reader)
        if request is None:
            return False
        method, target, _ = request.first
        seen = Seen(method, target, time.monotonic())
        faults_now = (fault for fault in self._faults if _applies(fault, request))
        seen.fault = next((fault for fault in faults_now if fault.strikes(method, target)), None)
        self._seen.append(seen)
        if seen.fault and seen.fault.kind is Kind.ANSWER:
            return await self._answer(request, reader, writer, seen)
        server, to_server = await asyncio.open_connection(*self._upstream, limit=wire.LIMIT)
        sending = asyncio.create_task(self._send(request, reader, to_server, seen))
        answering = asyncio.create_task(self._give(request, server, writer, seen))
        try:
            done, _ = await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if sending in done:
                sending.result()
            closes = await answering
            with suppress(TimeoutError):  # a server may refuse a body that it has not read
                await asyncio.wait_for(asyncio.shield(sending), EARLY_S)
            return sending.done() and not closes
        except (_Hold, asyncio.CancelledError):
            self._hold(to_server, asyncio.StreamWriter.close)  # it does not hear either
            raise
        finally:
            sending.cancel()
            answering.cancel()
            if to_server not in self._held:
                to_server.close()  # before waiting: that may be cancelled
            await asyncio.gather(sending, answering, return_exceptions=True)

    async def _send(self, request: wire.Head, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter,
                    seen: Seen) -> None:
        """Pass a request's head and body to the server."""
        fault = seen.fault
        limit = fault.after if fault and fault.kind in (Kind.CUT_REQUEST, Kind.HANG_REQUEST) else None
        await self._pass(request.raw, to_server, seen, "up")
        async for piece in wire.body(reader, request, until_end=False):
            if limit is not None:
                await self._pass(piece[:limit], to_server, seen, "up")
                limit -= min(limit, len(piece))
                if not limit:
                    break
            else:
                await self._pass(piece, to_server, seen, "up")
        if limit is not None and fault:
            raise _Reset if fault.kind is Kind.CUT_REQUEST else _Hold

    async def _give(self, request: wire.Head, server: asyncio.StreamReader, writer: asyncio.StreamWriter,
                    seen: Seen) -> bool:
        """Pass the answer to the client; whether nothing can follow it on this connection."""
        fault = seen.fault
        if fault and fault.kind in (Kind.CUT_REQUEST, Kind.HANG_REQUEST):
            asked = await wire.Head.read(server) if request.expects_continue else None
            if asked and asked.status < 200:  # without it the body would never come
                await self._pass(asked.raw, writer, seen, "down")
            await asyncio.Event().wait()  # whatever the server says to half a request does not get through
        while True:
            head = await wire.Head.read(server)
            if head is None:
                raise _Reset
            if head.status >= 200:
                break
            if fault and fault.kind is Kind.WITHHOLD_CONTINUE:
                raise _Hold
            await self._pass(head.raw, writer, seen, "down")
        left = fault.after if fault and fault.kind in (Kind.CUT_ANSWER, Kind.HANG_ANSWER) else None
        if left is not None and fault:
            await self._give_some(left, fault, head, server, writer, seen)
        seen.status = head.status
        await self._pass(head.raw, writer, seen, "down")
        if not head.has_no_body(request.first[0]):
            async for piece in wire.body(server, head, until_end=True):
                await self._pass(piece, writer, seen, "down")
        seen.ended = time.monotonic()
        ends = head.has_no_body(request.first[0]) or head.chunked or head.length is not None
        return head.closes or request.closes or not ends

    async def _give_some(self, left: int, fault: Fault, head: wire.Head, server: asyncio.StreamReader,
                         writer: asyncio.StreamWriter, seen: Seen) -> None:
        """Pass the first bytes of an answer on, and go wrong."""
        some = head.raw[:left]
        if left > len(some):
            async for piece in wire.body(server, head, until_end=True):
                some += piece
                if len(some) >= left:
                    break
        await self._pass(some[:left], writer, seen, "down")
        if fault.kind is Kind.CUT_ANSWER and fault.clean:
            writer.close()
        raise _Hold if fault.kind is Kind.HANG_ANSWER else _Reset

    async def _answer(self, request: wire.Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                      seen: Seen) -> bool:
        """Answer in the server's place: a client that waits to be asked for its body is not asked."""
        assert seen.fault
        if not request.expects_continue:
            async for _ in wire.body(reader, request, until_end=False):
                pass
        head, _, text = seen.fault.answer.partition(b"\r\n\r\n")
        seen.status = int(head.split(b" ")[1])
        await self._pass(head + b"\r\n\r\n" + (b"" if request.first[0] == "HEAD" else text), writer, seen, "down")
        seen.ended = time.monotonic()
        return False

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, seen: Seen, way: str) -> None:
        """Write data, as fast as the rate allows, and count it."""
        while data:
            rate = self._rate
            piece = data[:max(1, rate // 20)] if rate else data
            data = data[len(piece):]
            if rate:
                now = time.monotonic()
                begin = max(now, self._free_at[way])
                self._free_at[way] = begin + len(piece) / rate
                await asyncio.sleep(self._free_at[way] - now)
            writer.write(piece)
            await writer.drain()
            if way == "up":
                seen.up += len(piece)
                self.up += len(piece)
            else:
                seen.down += len(piece)
                self.down += len(piece)


async def _nothing() -> None:
    pass


def _applies(fault: Fault, request: wire.Head) -> bool:
    return fault.kind is not Kind.WITHHOLD_CONTINUE or request.expects_continue


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the peer sees a reset, whatever is under way."""
    transport = writer.transport
    if transport.is_closing():
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):  # it is closed already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


CLOUD_FAULTS: dict[str, Callable[[ChaosProxy], object]] = {
    "refused": ChaosProxy.refuse,
    "reset": ChaosProxy.reset,
    "hung on accept": ChaosProxy.hang,
    "hung mid-body": lambda net: net.hang_request(after=100),
    "continue withheld": ChaosProxy.withhold_continue,
    "request cut": lambda net: net.cut_request(after=100),
    "slow": lambda net: net.slow(50_000),
    "answer cut after the commit": ChaosProxy.cut_answer,
    "answer cut in its middle": lambda net: net.cut_answer(after=60, clean=True),
    "answer hung": ChaosProxy.hang_answer,
    "502 with HTML": ChaosProxy.bad_gateway,
    "200 with HTML": ChaosProxy.portal,
    "302": ChaosProxy.redirect,
    "429 with Retry-After": ChaosProxy.too_many,
    "truncated JSON": ChaosProxy.truncated_json,
}
"""What a network does to both clouds; `SUPABASE_FAULTS` and `S3_FAULTS` have these, and their own about credentials."""

SUPABASE_FAULTS = CLOUD_FAULTS | {"credential expired": ChaosProxy.jwt_expired, "key unknown": ChaosProxy.bad_api_key}
S3_FAULTS = CLOUD_FAULTS | {"credential expired": ChaosProxy.s3_expired, "key unknown": ChaosProxy.s3_bad_key}
