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
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from ezrec import logs
from ezrec.adapters.storage import Part, Stored, check_key, object_length
from ezrec.adapters.storage.pace import PartBody, RateCap, Watch
from ezrec.adapters.storage.s3_client import UNSENT, S3Client, need
from ezrec.adapters.storage.s3_errors import code_of, status_of
from ezrec.adapters.storage.s3_objects import S3Object, difference, plain
from ezrec.config.sections import S3Settings
from ezrec.domain.errors import OtherObject, ParkError, RetryError, UploadGone
from ezrec.files import os_errors

log = logs.get("upload")

LIMIT_S = 30.0  # for a call that carries no film; also for the start of one that does
JOIN_S = 0.1  # more for each part of an object that is made of them: some services copy them
LEFT_ALONE = ("it was left alone, for it may be another court's film (give storage.key its {user_id} and {camera_id}); "
              "if it is nobody's, move it away and retry")
_TYPES = {".mp4": "video/mp4", ".jpg": "image/jpeg"}


class S3Storage:
    """A `Storage` in the bucket that `settings` name. `recording` tells whether the cameras record just now.

    `limit_s` is how long a call that carries no film may take. Nothing is opened before the first call. Without
    `court_keys` another court may use the same keys: an unfinished upload is this court's only if it knows its id.
    """

    def __init__(self, settings: S3Settings, recording: Callable[[], bool], limit_s: float = LIMIT_S, *,
                 court_keys: bool = True) -> None:
        self.in_flight = settings.parts_in_flight
        self._settings = settings
        self._bucket = settings.bucket
        self._court_keys = court_keys
        self._s3 = S3Client(settings, limit_s)
        self._slowest = _slowest(settings)
        self._cap = RateCap(lambda: min((cap for cap in (
            settings.rate_kbit, settings.recording_rate_kbit if recording() else 0) if cap), default=0))
        self._conditional = True  # the service knows If-None-Match
        self._etags: dict[tuple[str, int], tuple[str, str]] = {}  # (upload, part) → ETag and MD5, where they differ
        self._etag_logged = False  # that this service gives no checksums

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
        answer = await self._s3.ask("create_multipart_upload", f"open an upload for {key}", "UploadId", Key=key,
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
            answer = await self._s3.ask("list_parts", f"list the parts of {key}", "Bucket", Key=key, UploadId=upload_id,
                                     PartNumberMarker=after)
            for part in answer.get("Parts", ()):
                found[int(part["PartNumber"])] = plain(part.get("ETag"))
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
        client = await self._s3.client()
        md5 = base64.b64encode(bytes.fromhex(part.md5)).decode()
        limit_s = self._s3.limit_s
        async with self._s3.call("upload_part", doing), asyncio.timeout(limit_s + part.bytes / self._slowest), \
                asyncio.timeout(None) as still:
            watch = Watch(still, limit_s, limit_s + 4 * UNSENT / self._slowest)
            watch.begin()
            try:
                answer = await client.upload_part(
                    Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=part.number, ContentMD5=md5,
                    ContentLength=part.bytes, Body=PartBody(film, part.offset, part.bytes, self._cap, watch))
            except asyncio.CancelledError:
                if still.expired() and not watch.moved:  # perhaps it does not know the header, so it goes without
                    self._s3.expects = False
                raise
            etag = plain(need(answer, "ETag"))
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
        why = f"{found.bytes} bytes, not {length}"
        if found.bytes == length:
            why = await self._difference(found, parts, film)
        if not why:
            return Stored(key=key, bytes=length, etag=found.etag, url=await self._url(key))
        # A portal answers HEAD as well. A list of keys is not so easily mistaken.
        if await self._s3.listed(key, doing) is None:
            raise RetryError(f"cannot {doing} in {self._s3.place}: it is there, and yet not in the list of objects")
        raise OtherObject(f"{self._s3.place} holds something else at {key} ({why}): {LEFT_ALONE}")

    async def abort(self, key: str, upload_id: str) -> None:
        """Forget an unfinished upload and its parts; harmless if there is none. Without an id: all at this key."""
        check_key(key)
        for one in [upload_id] if upload_id else await self._unfinished(key):
            await self._abort(key, one)

    async def remove(self, key: str) -> None:
        """Remove the object at `key`; harmless if there is none."""
        check_key(key)
        await self._s3.ask("delete_object", f"remove {key}", None, Key=key)

    async def put_file(self, key: str, file: Path) -> str:
        """Store a small file whole, replacing what lies at `key`; returns its URL."""
        check_key(key)
        doing = f"store {key}"
        with os_errors(doing):
            data = await asyncio.to_thread(file.read_bytes)
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        await self._s3.ask("put_object", doing, "ETag", len(data) / self._slowest, Key=key, Body=data, ContentMD5=md5,
                        ContentType=_type_of(key))
        return await self._url(key)

    async def sweep(self, known: set[str]) -> int:  # noqa: ARG002 - the local library's
        """Nothing: unfinished uploads lie in the bucket."""
        return 0

    async def close(self) -> None:
        """Close the connections; no call may follow."""
        await self._s3.close()

    async def _unfinished(self, key: str) -> list[str]:
        """The ids of this court's unfinished uploads for exactly `key`, the newest first."""
        found: list[dict[str, Any]] = []
        after: dict[str, Any] = {}
        while self._court_keys:
            try:
                answer = await self._s3.ask("list_multipart_uploads", f"list the unfinished uploads of {key}", "Bucket",
                                         Prefix=key, **after)
            except UploadGone:  # rclone's word for an empty list
                return []
            found += [upload for upload in answer.get("Uploads", ()) if upload.get("Key") == key]
            following = {"KeyMarker": answer.get("NextKeyMarker"), "UploadIdMarker": answer.get("NextUploadIdMarker")}
            if not answer.get("IsTruncated") or not all(following.values()) or following == after:
                break
            after = following
        return _newest_first(found)

    async def _abort(self, key: str, upload_id: str) -> None:
        self._forget(upload_id)
        with suppress(UploadGone):
            await self._s3.ask("abort_multipart_upload", f"abort an upload of {key}", Key=key, UploadId=upload_id)

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
            await self._s3.ask("complete_multipart_upload", f"complete {key}", None, JOIN_S * len(parts), Key=key,
                            UploadId=upload_id, MultipartUpload={"Parts": listed}, **condition)
        except (RetryError, ParkError) as error:
            if self._conditional and code_of(error) in ("NotImplemented", "501"):
                log.info("storage knows no If-None-Match", place=self._s3.place)
                self._conditional = False
                return await self._complete(key, upload_id, parts, film)
            if isinstance(error, ParkError) and code_of(error) not in ("PreconditionFailed", "412"):
                raise
            failed = error
        stored = await self.verify(key, parts, film)
        if stored is None:
            raise failed or RetryError(f"cannot complete {key} in {self._s3.place}: it vanished while it was stored")
        return stored

    async def _head(self, key: str, doing: str) -> S3Object | None:
        """What HEAD says of the object. Its refusals have no words, so a list of objects is asked for them."""
        client = await self._s3.client()
        refused: ClientError | None = None
        async with self._s3.call("head_object", doing), asyncio.timeout(self._s3.limit_s):
            try:
                answer = await client.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if status_of(error) == 404:
                    return None
                if not 400 <= status_of(error) < 500:
                    raise
                refused, answer = error, {}
            else:
                need(answer, "ETag")
        if refused:
            await self._s3.listed(key, doing)
            raise ParkError(f"cannot {doing} in {self._s3.place}: {status_of(refused)}, but its name can be listed; "
                            "let the access key get objects there")
        encryption = str(answer.get("ServerSideEncryption") or "")
        return S3Object(int(answer.get("ContentLength") or 0), plain(answer["ETag"]),
                       keyed=encryption.startswith("aws:kms") or bool(answer.get("SSECustomerAlgorithm")))

    async def _difference(self, found: S3Object, parts: Sequence[Part], film: Path) -> str:
        """In what the object's ETag tells other bytes than those of `parts`, in words; "" if in nothing."""
        words = await difference(found, parts, film)
        if words is None and not self._etag_logged:
            self._etag_logged = True
            log.warning("storage gives no checksums, only lengths are compared", place=self._s3.place, etag=found.etag)
        return words or ""

    async def _url(self, key: str) -> str:
        """Where the object is found: below the public URL, else at the service's own address, percent-encoded."""
        if self._settings.public_url:
            return f"{self._settings.public_url.rstrip('/')}/{quote(key)}"
        client = await self._s3.client()
        signed: str = await client.generate_presigned_url("get_object", Params={"Bucket": self._bucket, "Key": key})
        return signed.partition("?")[0]

def _newest_first(uploads: list[dict[str, Any]]) -> list[str]:
    uploads.sort(key=lambda upload: (upload["Initiated"], upload["UploadId"]), reverse=True)
    return [str(upload["UploadId"]) for upload in uploads]


def _slowest(settings: S3Settings) -> float:
    """The bytes/s of one part below which its upload counts as stuck.

    A cap below the least rate counts instead of it: half of it, because a part must not need all that it is given.
    """
    caps = [cap for cap in (settings.rate_kbit, settings.recording_rate_kbit) if cap]
    return min([settings.min_rate_kbit, *(cap / 2 for cap in caps)]) * 125 / settings.parts_in_flight


def _type_of(key: str) -> str:
    return _TYPES.get(Path(key).suffix, "application/octet-stream")
