"""Films in an S3 bucket: Amazon's, Cloudflare R2's, Supabase Storage's, or any other that speaks multipart uploads.

Explicit multipart uploads, so that a film goes up while it grows and goes on after a crash; every part with its MD5.
What an object is compared with, always after a HEAD of our own and never on the word of the answer to completing it:

- its length, everywhere;
- a *composite* ETag (`md5(md5s of the parts)-N`: Amazon, R2, Supabase): all of it. Where the bucket encrypts with a
  key of KMS, which makes ETags of another kind, only N;
- an ETag that is one MD5 (rclone): the MD5 of the whole film, which is read for it;
- any other ETag: nothing more. That is said once in the log.

Something else at the key is an alarm and never overwritten. Completing asks for that with `If-None-Match`; a service
that does not know it is told from the HEAD before, which leaves a moment in which two writers could meet; but a
film's key is its own.

Limits: `asyncio.timeout` around every call, because two waits inside have none (a server that stops reading, and one
that withholds `100 Continue`); redirects are not followed, because an S3 service sends none that help, and a captive
portal's login page must not be taken for an answer.
"""

import asyncio
import base64
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from ezrec import logs
from ezrec.adapters.storage import Part, Stored, check_key, composite_etag, object_length
from ezrec.adapters.storage.pace import PIECE, PartBody, RateCap, Watch
from ezrec.adapters.storage.s3_errors import FOREIGN, NO_S3, code_of, status_of, verdict
from ezrec.config import sections
from ezrec.domain.errors import ParkError, RetryError, UploadGone
from ezrec.files import os_errors

log = logs.get("upload")

LIMIT_S = 30.0  # for a call that carries no film; also for the start of one that does
JOIN_S = 0.1  # more for each part of an object that is made of them: some services copy them
CONNECT_S = 10
ATTEMPTS = 3  # within one call, by botocore's standard mode: what was refused for a moment, or cut
UNSENT = 2 * PIECE  # bytes that the kernel may keep unsent, so that what was handed over has truly moved
SHOWN = 4000  # bytes of a failed answer that are logged
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_COMPOSITE = re.compile(r"[0-9a-f]{32}-(\d+)")
_MD5 = re.compile(r"[0-9a-f]{32}")
_TYPES = {".mp4": "video/mp4", ".jpg": "image/jpeg"}

_answer: ContextVar[dict[str, Any]] = ContextVar("answer")  # of the call under way: what came, before it was parsed


@dataclass(frozen=True)
class _Object:
    """An object as HEAD shows it."""

    bytes: int
    etag: str  # without quotes
    keyed: bool  # encrypted with a key that makes ETags other than MD5s


class S3Storage:
    """A `Storage` in the bucket that `settings` name. `recording` tells whether the cameras record just now.

    `limit_s` is how long a call that carries no film may take. Nothing is opened before the first call.
    """

    def __init__(self, settings: sections.S3Settings, recording: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        self.in_flight = settings.parts_in_flight
        self._settings = settings
        self._bucket = settings.bucket
        host = urlsplit(settings.endpoint).netloc or f"s3.{settings.region}.amazonaws.com"
        self._place = f"the bucket {settings.bucket} at {host}"
        self._limit_s = limit_s
        caps = [cap for cap in (settings.rate_kbit, settings.recording_rate_kbit) if cap]
        # A cap below the least rate counts in its stead; half of it, because a part must not need all that it is given.
        slowest = min([settings.min_rate_kbit, *(cap / 2 for cap in caps)])
        self._slowest = slowest * 125 / settings.parts_in_flight  # bytes/s of one part
        self._cap = RateCap(lambda: min((cap for cap in (
            settings.rate_kbit, settings.recording_rate_kbit if recording() else 0) if cap), default=0))
        self._opening = asyncio.Lock()
        self._context: Any = None
        self._client: Any = None
        self._conditional = True  # the service knows If-None-Match
        self._expects = True  # it answers `Expect: 100-continue`
        self._etags: dict[tuple[str, int], tuple[str, str]] = {}  # (upload, part) → ETag and MD5, where they differ
        self._logged: dict[str, tuple[int, str]] = {}  # call → status and code of the refusal that was logged last

    # ---- the protocol

    async def begin(self, key: str) -> str:
        """Open an upload for `key`; returns its id.

        Of those that are open for exactly this key the newest goes on, and the others are aborted.
        """
        check_key(key)
        newest, *older = await self._unfinished(key) or [""]
        for upload_id in older:
            await self._abort(key, upload_id)
        if newest:
            log.info("unfinished upload taken over", key=key)
            return newest
        answer = await self._ask("create_multipart_upload", f"open an upload for {key}", "UploadId", Key=key,
                                 ContentType=_type_of(key))
        opened = str(answer["UploadId"])
        if answer["ResponseMetadata"].get("RetryAttempts"):  # one whose answer was lost within the call may be open too
            for upload_id in await self._unfinished(key):
                if upload_id != opened:
                    await self._abort(key, upload_id)
        return opened

    async def parts(self, key: str, upload_id: str) -> dict[int, str]:
        """The parts that are there: number → MD5.

        Where the service's ETags of parts are not their MD5s, those that this process has put; the others go again.

        Raises:
            UploadGone: the service does not know the upload.
        """
        check_key(key)
        found: dict[int, str] = {}
        after = 0
        while True:
            answer = await self._ask("list_parts", f"list the parts of {key}", "Bucket", Key=key, UploadId=upload_id,
                                     PartNumberMarker=after)
            for part in answer.get("Parts", ()):
                found[int(part["PartNumber"])] = _plain(part.get("ETag"))
            following = int(answer.get("NextPartNumberMarker") or 0)
            if not answer.get("IsTruncated") or following <= after:
                return {number: self._md5(upload_id, number, etag) for number, etag in found.items()}
            after = following

    async def put_part(self, key: str, upload_id: str, part: Part, film: Path) -> None:
        """Store `part`, read from its range of the file `film` as it goes up.

        Raises:
            UploadGone: the service does not know the upload.
            RetryError: the film does not reach so far (yet); or its bytes changed since their MD5 was taken.
        """
        check_key(key)
        doing = f"store part {part.number} of {key}"
        with os_errors(doing):
            there = (await asyncio.to_thread(film.stat)).st_size
        if there < part.offset + part.bytes:
            raise RetryError(f"{film} does not reach to the end of part {part.number} of {key} yet")
        client = await self._open()
        md5 = base64.b64encode(bytes.fromhex(part.md5)).decode()
        async with self._call("upload_part", doing), asyncio.timeout(self._limit_s + part.bytes / self._slowest), \
                asyncio.timeout(None) as still:
            watch = Watch(still, self._limit_s, self._limit_s + 4 * UNSENT / self._slowest)
            watch.begin()
            try:
                answer = await client.upload_part(
                    Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=part.number, ContentMD5=md5,
                    ContentLength=part.bytes, Body=PartBody(film, part.offset, part.bytes, self._cap, watch))
            except asyncio.CancelledError:
                if still.expired() and not watch.moved:  # perhaps it does not know the header, so it goes without
                    self._expects = False
                raise
            etag = _plain(_need(answer, "ETag"))
        if etag != part.md5:
            self._etags[upload_id, part.number] = etag, part.md5

    async def complete(self, key: str, upload_id: str, parts: Sequence[Part], film: Path) -> Stored:
        """Make the object out of its parts, or confirm that it is there already with just these bytes.

        Raises:
            UploadGone: neither the upload nor the object is there.
            ParkError: another object lies at `key` (it is left alone), or the parts are not equally long.
            RetryError: a part is missing: put those that `parts` does not list, and complete again.
        """
        stored = await self.verify(key, parts, film)
        if stored is None:
            stored = await self._complete(key, upload_id, parts, film)
        else:
            await self._abort(key, upload_id)  # it was made out of another upload, or of this one just now
        self._forget(upload_id)
        return stored

    async def verify(self, key: str, parts: Sequence[Part], film: Path) -> Stored | None:
        """The object at `key` if it has the length and the ETag of `parts` (see above); None if there is no object.

        Raises:
            ParkError: it has not.
        """
        check_key(key)
        length, doing = object_length(key, parts), f"look at {key}"
        found = await self._head(key, doing)
        if found is None:
            return None
        why = f"{found.bytes} bytes, not {length}" if found.bytes != length else await self._differs(found, parts, film)
        if not why:
            return Stored(key=key, bytes=length, etag=found.etag, url=await self._url(key))
        # A portal answers HEAD as well. A list of keys is not so easily mistaken.
        if await self._listed(key, doing) is None:
            raise RetryError(f"cannot {doing} in {self._place}: it is there, and yet not in the list of objects")
        raise ParkError(f"{self._place} holds something else at {key} ({why}): "
                        "it was left alone; move it away and retry")

    async def abort(self, key: str, upload_id: str) -> None:
        """Forget an unfinished upload and its parts; harmless if there is none. Without an id: all at this key."""
        check_key(key)
        for one in [upload_id] if upload_id else await self._unfinished(key):
            await self._abort(key, one)

    async def put_file(self, key: str, file: Path) -> str:
        """Store a small file whole, replacing what lies at `key`; returns its URL."""
        check_key(key)
        doing = f"store {key}"
        with os_errors(doing):
            data = await asyncio.to_thread(file.read_bytes)
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        await self._ask("put_object", doing, "ETag", len(data) / self._slowest, Key=key, Body=data, ContentMD5=md5,
                        ContentType=_type_of(key))
        return await self._url(key)

    async def close(self) -> None:
        """Close the connections; no call may follow."""
        async with self._opening:
            context, self._context, self._client = self._context, None, None
            if context is not None:
                await context.__aexit__(None, None, None)

    # ---- uploads and objects

    async def _unfinished(self, key: str) -> list[str]:
        """The ids of unfinished uploads for exactly `key`, the newest first."""
        found: list[dict[str, Any]] = []
        after: dict[str, Any] = {}
        while True:
            try:
                answer = await self._ask("list_multipart_uploads", f"list the unfinished uploads of {key}", "Bucket",
                                         Prefix=key, **after)
            except UploadGone:  # rclone's word for an empty list
                return []
            found += [upload for upload in answer.get("Uploads", ()) if upload.get("Key") == key]
            following = {"KeyMarker": answer.get("NextKeyMarker"), "UploadIdMarker": answer.get("NextUploadIdMarker")}
            if not answer.get("IsTruncated") or not all(following.values()) or following == after:
                break
            after = following
        found.sort(key=lambda upload: (upload["Initiated"], upload["UploadId"]), reverse=True)
        return [str(upload["UploadId"]) for upload in found]

    async def _abort(self, key: str, upload_id: str) -> None:
        self._forget(upload_id)
        with suppress(UploadGone):
            await self._ask("abort_multipart_upload", f"abort an upload of {key}", Key=key, UploadId=upload_id)

    def _md5(self, upload_id: str, number: int, etag: str) -> str:
        put, md5 = self._etags.get((upload_id, number), ("", ""))
        return md5 if etag == put else etag

    def _forget(self, upload_id: str) -> None:
        self._etags = {place: known for place, known in self._etags.items() if place[0] != upload_id}

    async def _complete(self, key: str, upload_id: str, parts: Sequence[Part], film: Path) -> Stored:
        own = {part.number: self._etags.get((upload_id, part.number), (part.md5, ""))[0] for part in parts}
        listed = [{"PartNumber": number, "ETag": f'"{own[number]}"'} for number in sorted(own)]
        condition = {"IfNoneMatch": "*"} if self._conditional else {}
        failed: Exception | None = None
        try:
            await self._ask("complete_multipart_upload", f"complete {key}", None, JOIN_S * len(parts), Key=key,
                            UploadId=upload_id, MultipartUpload={"Parts": listed}, **condition)
        except (RetryError, ParkError) as error:
            if self._conditional and code_of(error) in ("NotImplemented", "501"):
                log.info("storage knows no If-None-Match", place=self._place)
                self._conditional = False
                return await self._complete(key, upload_id, parts, film)
            if isinstance(error, ParkError) and code_of(error) not in ("PreconditionFailed", "412"):
                raise
            failed = error
        stored = await self.verify(key, parts, film)
        if stored is None:
            raise failed or RetryError(f"cannot complete {key} in {self._place}: it vanished while it was stored")
        return stored

    async def _head(self, key: str, doing: str) -> _Object | None:
        """What HEAD says of the object. Its refusals have no words, so a list of objects is asked for them."""
        client = await self._open()
        refused: ClientError | None = None
        async with self._call("head_object", doing), asyncio.timeout(self._limit_s):
            try:
                answer = await client.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if status_of(error) == 404:
                    return None
                if not 400 <= status_of(error) < 500:
                    raise
                refused, answer = error, {}
            else:
                _need(answer, "ETag")
        if refused:
            await self._listed(key, doing)
            raise ParkError(f"cannot {doing} in {self._place}: {status_of(refused)}, but its name can be listed; "
                            "let the access key get objects there")
        encryption = str(answer.get("ServerSideEncryption") or "")
        return _Object(int(answer.get("ContentLength") or 0), _plain(answer["ETag"]),
                       keyed=encryption.startswith("aws:kms") or bool(answer.get("SSECustomerAlgorithm")))

    async def _listed(self, key: str, doing: str) -> int | None:
        """How many bytes the object at `key` has by the list of objects; None if it is not in it."""
        answer = await self._ask("list_objects_v2", doing, "Name", Prefix=key, MaxKeys=1)
        return next((int(one["Size"]) for one in answer.get("Contents", ()) if one.get("Key") == key), None)

    async def _differs(self, found: _Object, parts: Sequence[Part], film: Path) -> str:
        """In what the object's ETag tells other bytes than those of `parts`, in words; "" if in nothing."""
        if composite := _COMPOSITE.fullmatch(found.etag):
            same = int(composite[1]) == len(parts) if found.keyed else found.etag == composite_etag(parts)
            return "" if same else f"ETag {found.etag}, not {composite_etag(parts)}"
        if _MD5.fullmatch(found.etag) and not found.keyed:
            md5 = parts[0].md5 if len(parts) == 1 else await asyncio.to_thread(_md5_of, film)
            return "" if found.etag == md5 else f"MD5 {found.etag}, not {md5}"
        if self._logged.setdefault("etag", (0, found.etag)) == (0, found.etag):
            log.warning("storage gives no checksums, only lengths are compared", place=self._place, etag=found.etag)
        return ""

    async def _url(self, key: str) -> str:
        """Where the object is found: below the public URL, else at the service's own address, percent-encoded."""
        if self._settings.public_url:
            return f"{self._settings.public_url.rstrip('/')}/{quote(key)}"
        client = await self._open()
        signed: str = await client.generate_presigned_url("get_object", Params={"Bucket": self._bucket, "Key": key})
        return signed.partition("?")[0]

    # ---- calls

    async def _ask(self, call: str, doing: str, need: str | None = None, more_s: float = 0, /,
                   **what: Any) -> dict[str, Any]:
        """One call that carries no film: its answer, with the value `need`. `doing` ends the sentence "cannot …".

        It may take `more_s` seconds longer than others.
        """
        client = await self._open()
        async with self._call(call, doing), asyncio.timeout(self._limit_s + more_s):
            answer: dict[str, Any] = await getattr(client, call)(Bucket=self._bucket, **what)
            if need:
                _need(answer, need)
        return answer

    @asynccontextmanager
    async def _call(self, call: str, doing: str) -> AsyncIterator[None]:
        """Translate what a call of the client raises; a refusal is logged whole, and not again while it is the same."""
        answer: dict[str, Any] = {}
        token = _answer.set(answer)
        try:
            yield
        except FOREIGN as error:
            ours = verdict(error, f"{doing} in {self._place}")
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

    async def _open(self) -> Any:
        """The client; made once, in a thread, because reading its descriptions takes longer than the loop may wait."""
        async with self._opening:
            if self._client is None:
                try:
                    self._context, self._client = await asyncio.to_thread(lambda: asyncio.run(self._make_client()))
                except FOREIGN as error:
                    raise verdict(error, f"reach {self._place}") from error
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
        if not self._expects:
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


def _need(answer: dict[str, Any], name: str) -> Any:
    """A value that no S3 service leaves out; whoever answers without it is none."""
    if answer.get(name) is None:
        raise ResponseParserError(f"an answer without {name}")
    return answer[name]


def _plain(etag: Any) -> str:
    return str(etag or "").removeprefix("W/").strip('"').lower()


def _type_of(key: str) -> str:
    return _TYPES.get(Path(key).suffix, "application/octet-stream")


def _md5_of(film: Path) -> str:
    if not film.exists():
        raise ParkError(f"{film} is gone, so that the object cannot be compared with it")
    with os_errors(f"compare {film} with the object"), film.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
