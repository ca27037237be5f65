"""How calls to a Supabase project travel, against a real server of a few lines."""

import asyncio
import gzip
import resource
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr

from ezrec.adapters.supabase import Supabase
from ezrec.adapters.supabase.transport import MOST_BYTES, proxy_for
from ezrec.config.sections import SupabaseSettings
from ezrec.domain.errors import RetryError


@asynccontextmanager
async def serving(answers: list[bytes]) -> AsyncIterator[str]:
    """A server that gives one answer after the other, whatever it is asked."""
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def said(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}",
             "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def ask(supabase: Supabase) -> list[dict[str, object]]:
    return await supabase.rows("read", lambda client: client.table("bookings").select("*"))


def client(url: str) -> Supabase:
    return Supabase(SupabaseSettings(url=url, key=SecretStr("k")))


async def test_an_answer_that_is_packed_is_unpacked() -> None:
    async with serving([said(gzip.compress(b'[{"id": "b"}]'), "Content-Encoding: gzip"), said(b"[]")]) as url:
        supabase = client(url)
        assert await ask(supabase) == [{"id": "b"}]
        assert await ask(supabase) == []
        await supabase.close()


@pytest.mark.parametrize("packed", [True, False])
async def test_an_answer_without_end_is_refused_before_it_takes_the_memory(packed: bool) -> None:
    body = bomb(400) if packed else b" " * (MOST_BYTES + 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving([said(body, *["Content-Encoding: gzip"] * packed), said(b"[]")]) as url:
        supabase = client(url)
        with pytest.raises(RetryError, match="read: an answer of more than 8 MiB"):
            await ask(supabase)
        assert await ask(supabase) == []
        await supabase.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def bomb(mib: int) -> bytes:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return b"".join([*(packer.compress(b" " * (1 << 20)) for _ in range(mib)), packer.flush()])


async def test_an_answer_that_cannot_be_unpacked_is_asked_for_again() -> None:
    async with serving([said(b"no gzip", "Content-Encoding: gzip")]) as url:
        supabase = client(url)
        with pytest.raises(RetryError, match="cannot be unpacked"):
            await ask(supabase)
        await supabase.close()


def test_the_proxy_that_the_environment_names_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "near.example")
    assert proxy_for(httpx.URL("https://far.example")) == "http://proxy.example:3128"
    assert proxy_for(httpx.URL("https://near.example")) is None
    assert proxy_for(httpx.URL("http://far.example")) is None
