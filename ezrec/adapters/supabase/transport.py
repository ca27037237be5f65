"""How calls to a Supabase project travel: an answer is read with a limit.

What answers may be anybody: a few MB of gzip can unpack to gigabytes.
"""

import urllib.request
import zlib
from ssl import SSLContext

import httpx

MOST_BYTES = 8 << 20  # of an answer, unpacked; a thousand bookings are half a MB
_GZIP = 16 + zlib.MAX_WBITS  # https://docs.python.org/3/library/zlib.html#zlib.decompress


class NoAnswerTaken(httpx.RequestError):
    """The answer was not read to its end."""


class LimitedTransport(httpx.AsyncBaseTransport):
    """`inner` with a limit for answers."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its answer is whole and unpacked when this returns.

        Raises:
            NoAnswerTaken: the answer is too large or cannot be unpacked.
            httpx.RequestError: as `inner`.
        """
        request.headers["Accept-Encoding"] = "gzip"
        answer = await self._inner.handle_async_request(request)
        try:
            content = await _content(answer, request)
        finally:
            await answer.aclose()
        headers = [(name, value) for name, value in answer.headers.raw
                   if name.lower() not in (b"content-encoding", b"content-length", b"transfer-encoding")]
        return httpx.Response(answer.status_code, headers=headers, content=content, extensions=answer.extensions)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def _content(answer: httpx.Response, request: httpx.Request) -> bytes:
    """The answer's body, unpacked."""
    packed = answer.headers.get("content-encoding", "").strip().lower() == "gzip"
    unpacker = zlib.decompressobj(_GZIP) if packed else None
    content = bytearray()
    async for piece in answer.aiter_raw():
        try:
            content += unpacker.decompress(piece, MOST_BYTES + 1 - len(content)) if unpacker else piece
        except zlib.error as error:
            raise NoAnswerTaken(f"an answer that cannot be unpacked ({error})", request=request) from error
        if len(content) > MOST_BYTES:
            raise NoAnswerTaken(f"an answer of more than {MOST_BYTES >> 20} MiB", request=request)
    return bytes(content)


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy that the environment names for a URL (https_proxy, no_proxy)."""
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def transport(url: str, verify: SSLContext, limits: httpx.Limits) -> LimitedTransport:
    """The transport to a project."""
    return LimitedTransport(httpx.AsyncHTTPTransport(http2=False, verify=verify, limits=limits,
                                                     proxy=proxy_for(httpx.URL(url))))
