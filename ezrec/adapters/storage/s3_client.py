"""The way to an S3 service: one client, a limit around every call, and the translation of what it raises.

Limits: `asyncio.timeout` around every call, because two waits inside have none (a server that stops reading, and one
that withholds `100 Continue`). Redirects are not followed: an S3 service sends none that help, and a captive portal's
login page must not be taken for an answer.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from botocore.parsers import ResponseParserError

from ezrec import logs
from ezrec.adapters.storage.pace import PIECE
from ezrec.adapters.storage.s3_errors import FOREIGN, NO_S3, code_of, verdict
from ezrec.config.sections import S3Settings
from ezrec.domain.errors import UploadGone

log = logs.get("upload")

CONNECT_S = 10
ATTEMPTS = 3  # within one call, by botocore's standard mode: what was refused for a moment, or cut
UNSENT = 2 * PIECE  # bytes that the kernel may keep unsent, so that what was handed over has truly moved
SHOWN = 4000  # bytes of a failed answer that are logged
REDIRECTS = frozenset({301, 302, 303, 307, 308})

_answer: ContextVar[dict[str, Any]] = ContextVar("answer")  # of the call under way: what came, before it was parsed


class S3Client:
    """The client of one bucket's service. Nothing is opened before the first call.

    `limit_s` is how long a call that carries no film may take.
    """

    def __init__(self, settings: S3Settings, limit_s: float) -> None:
        self._settings = settings
        self.bucket = settings.bucket
        self.limit_s = limit_s
        host = urlsplit(settings.endpoint).netloc or f"s3.{settings.region}.amazonaws.com"
        self.place = f"the bucket {settings.bucket} at {host}"
        self.expects = True  # the service answers `Expect: 100-continue`
        self._opening = asyncio.Lock()
        self._context: Any = None
        self._client: Any = None
        self._logged: dict[str, tuple[int, str]] = {}  # call → status and code of the refusal that was logged last

    async def close(self) -> None:
        """Close the connections; no call may follow."""
        async with self._opening:
            context, self._context, self._client = self._context, None, None
            if context is not None:
                await context.__aexit__(None, None, None)

    async def ask(self, call: str, doing: str, wanted: str | None = None, more_s: float = 0, /,
                   **what: Any) -> dict[str, Any]:
        """One call that carries no film: its answer, with the value `wanted`. `doing` ends the sentence "cannot …".

        It may take `more_s` seconds longer than others.
        """
        client = await self.client()
        async with self.call(call, doing), asyncio.timeout(self.limit_s + more_s):
            answer: dict[str, Any] = await getattr(client, call)(Bucket=self.bucket, **what)
            if wanted:
                need(answer, wanted)
        return answer

    async def listed(self, key: str, doing: str) -> int | None:
        """How many bytes the object at `key` has by the list of objects; None if it is not in it."""
        answer = await self.ask("list_objects_v2", doing, "Name", Prefix=key, MaxKeys=1)
        return next((int(one["Size"]) for one in answer.get("Contents", ()) if one.get("Key") == key), None)

    @asynccontextmanager
    async def call(self, call: str, doing: str) -> AsyncIterator[None]:
        """Translate what a call of the client raises; a refusal is logged whole, and not again while it is the same."""
        answer: dict[str, Any] = {}
        token = _answer.set(answer)
        try:
            yield
        except FOREIGN as error:
            ours = verdict(error, f"{doing} in {self.place}")
            if answer and not isinstance(ours, UploadGone):
                same = int(answer["status"]), code_of(error)
                if self._logged.get(call) != same:
                    self._logged[call] = same
                    log.warning("storage refused", call=call, status=answer["status"], headers=answer["headers"],
                                answer=bytes(answer["body"] or b"")[:SHOWN].decode("utf-8", "replace"))
            raise ours from error
        else:
            self._logged.pop(call, None)
        finally:
            _answer.reset(token)

    async def client(self) -> Any:
        """The client; made once, in a thread, because reading its descriptions takes longer than the loop may wait."""
        async with self._opening:
            if self._client is None:
                try:
                    self._context, self._client = await asyncio.to_thread(lambda: asyncio.run(self._make_client()))
                except FOREIGN as error:
                    raise verdict(error, f"reach {self.place}") from error
            return self._client

    async def _make_client(self) -> tuple[Any, Any]:
        """The client with what closes it. No connection is made, so that it does not belong to a loop yet."""
        settings, ours = self._settings, self._settings.endpoint
        # Without an endpoint "virtual" is Amazon's address for the region; botocore's "auto" is that for all of them.
        style = settings.addressing if ours or settings.addressing != "auto" else "virtual"
        s3: dict[str, Any] = {"addressing_style": style}
        if ours.startswith("http:"):
            s3["payload_signing_enabled"] = False  # the body would be read twice; it has its MD5
        config = AioConfig(
            signature_version="s3v4", s3=s3, retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=CONNECT_S, read_timeout=None, max_pool_connections=settings.parts_in_flight + 4,
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True, http_session_cls=_Http)
        context = aioboto3.Session().client(
            "s3", region_name=settings.region, endpoint_url=ours or None, aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key.get_secret_value(), config=config)
        client = await context.__aenter__()
        client.meta.events.register_first("before-parse.s3", _note_answer)  # botocore's own makes 500 of many a 200
        client.meta.events.register("before-send.s3", self._without_expect)
        return context, client

    def _without_expect(self, request: Any, **_: Any) -> None:
        """A service that never sent `100 Continue` is not asked for it again."""
        if not self.expects:
            request.headers.pop("Expect", None)


class _Http(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore brings no types
    """aiobotocore's way to the network, without redirects and without megabytes in the kernel's buffers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connector_args: dict[str, Any] = {**self._connector_args, "socket_factory": _socket}

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        session._request_class = _Request  # noqa: SLF001 -- aiobotocore hands no class on to aiohttp
        return _Direct(session)


class _Request(aiohttp.ClientRequest):
    """A request whose connection may be lost before its first byte.

    Whoever waits for the answer hears of that. aiohttp raises it once more, in a task that nobody looks at, and it
    would be logged as an error.
    """

    async def write_bytes(self, *args: Any, **kwargs: Any) -> None:
        """Send the body."""
        with suppress(ConnectionError):
            await super().write_bytes(*args, **kwargs)


class _Direct:
    """An aiohttp session that follows no redirect."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def request(self, method: str, **how: Any) -> aiohttp.ClientResponse:
        """The answer to this request and no other.

        Raises:
            aiohttp.ClientError: it leads elsewhere. Amazon's own, which name the region, are left to botocore; with any
                other it would ask for the region without end.
        """
        answer = await self._session.request(method, **how, allow_redirects=False)
        if answer.status in REDIRECTS and "x-amz-bucket-region" not in answer.headers:
            _keep(answer.status, answer.headers, b"")
            answer.close()
            raise aiohttp.ClientError(f"{answer.status} to {answer.headers.get('location')}: {NO_S3}")
        return answer


def _socket(address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(*address[:3])
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
    return made


def _note_answer(response_dict: dict[str, Any], **_: Any) -> None:
    """Keep what came for the log, before it is parsed or found not to be parsable."""
    _keep(response_dict["status_code"], response_dict["headers"], response_dict.get("body"))


def _keep(status: int, headers: Mapping[str, str], body: bytes | None) -> None:
    if (kept := _answer.get(None)) is not None:
        kept.update(status=status, headers=dict(headers), body=body)


def need(answer: dict[str, Any], name: str) -> Any:
    """A value that no S3 service leaves out; whoever answers without it is none."""
    if answer.get(name) is None:
        raise ResponseParserError(f"an answer without {name}")
    return answer[name]
