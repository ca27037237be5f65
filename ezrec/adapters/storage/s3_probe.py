"""Whether a bucket lets films be stored: each right that they need is tried on a probe, and what is missing is named.

Taking away is tried first, on what is not there: where that is refused, nothing is put that could not be taken away.
"""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ezrec.adapters.storage.s3_client import S3Client
from ezrec.adapters.storage.s3_errors import code_of
from ezrec.config.sections import S3Settings
from ezrec.domain.errors import EzrecError, ParkError, UploadGone

LIMIT_S = 10.0  # of each call
NO_UPLOAD = "ezrec-check-no-such-upload"
REFUSED = frozenset({"AccessDenied", "AllAccessDisabled", "Forbidden", "403"})

# Amazon's names of the rights.
LIST, LIST_UPLOADS, LIST_PARTS = "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts"
PUT, READ, REMOVE, ABORT = "s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"
FOR = {
    LIST: "films are looked for before they are stored", LIST_UPLOADS: "unfinished uploads are looked for",
    LIST_PARTS: "an upload goes on after a restart", PUT: "films are stored", READ: "what was stored is verified",
    REMOVE: "a film that is made again takes its first object away", ABORT: "an upload that is not needed is given up"}


@dataclass(frozen=True)
class Lacking:
    """Something that the bucket does not let be done."""

    right: str  # Amazon's name of the right that it takes
    problem: str
    remedy: str
    needed: bool  # without it no film is stored


async def probe(settings: S3Settings, key: str, data: bytes, limit_s: float = LIMIT_S) -> list[Lacking]:
    """Try all that films need on an object at `key`, which is this court's own; nothing is left there.

    What is the matter with the bucket or the credential itself is told once.
    """
    trial = _Trial(S3Client(settings, limit_s), key, data)
    try:
        await trial.make()
    finally:
        await trial.s3.close()
    return list(trial.lacking.values())


class _Trial:
    """One probe."""

    def __init__(self, s3: S3Client, key: str, data: bytes) -> None:
        self.s3, self.lacking = s3, dict[str, Lacking]()
        self._key, self._data = key, data
        self._sum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()

    async def make(self) -> None:
        listed = await self._may(LIST, lambda: self.s3.ask(
            "list_objects_v2", "list the objects", "Name", Prefix=self._key, MaxKeys=1))
        if not listed and not self._refused(LIST):
            return
        await self._may(LIST_UPLOADS, self._list_uploads)
        removable = await self._may(REMOVE, self._remove)
        if await self._may(ABORT, lambda: self._abort(NO_UPLOAD)):
            await self._store_in_parts()
        if removable:
            await self._store_whole()

    async def _may(self, right: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Try one thing: its answer, or None if it does not work."""
        try:
            return await work() or True
        except EzrecError as error:
            if code_of(error) in REFUSED:
                found = Lacking(right, f"the access key lacks the right {right}, with which {FOR[right]}",
                                f"give it {right} on the bucket", right != REMOVE)
            else:
                found = Lacking(right, str(error), "correct [s3], or look again later", needed=True)
            self.lacking.setdefault(right, found)
            return None

    def _refused(self, right: str) -> bool:
        return right in self.lacking and self.lacking[right].problem.startswith("the access key lacks")

    async def _ask(self, call: str, doing: str, wanted: str | None = None, **what: Any) -> Any:
        return await self.s3.ask(call, f"{doing} {self._key}", wanted, Key=self._key, **what)

    async def _list_uploads(self) -> None:
        with suppress(UploadGone):  # rclone's word for an empty list
            await self.s3.ask("list_multipart_uploads", "list the unfinished uploads", "Bucket", Prefix=self._key)

    async def _remove(self) -> None:
        await self._ask("delete_object", "remove")

    async def _abort(self, upload_id: str) -> None:
        """Give an upload up; of one that is not there a service may say what it likes, but for a refusal."""
        try:
            await self._ask("abort_multipart_upload", "give up an upload of", UploadId=upload_id)
        except UploadGone:
            return
        except ParkError as error:
            if code_of(error) in REFUSED or upload_id != NO_UPLOAD:
                raise

    async def _store_in_parts(self) -> None:
        """An upload in parts, as of a film, that is given up."""
        opened = await self._may(PUT, lambda: self._ask("create_multipart_upload", "open an upload for", "UploadId"))
        if not opened:
            return
        upload = {"UploadId": str(opened["UploadId"])}
        try:
            if await self._may(PUT, lambda: self._ask("upload_part", "store a part of", "ETag", PartNumber=1,
                                                      Body=self._data, ContentMD5=self._sum, **upload)):
                await self._may(LIST_PARTS, lambda: self._ask("list_parts", "list the parts of", "Bucket", **upload))
        finally:
            await self._may(ABORT, lambda: self._abort(upload["UploadId"]))

    async def _store_whole(self) -> None:
        """An object, as of a poster, that is read and removed."""
        try:
            if await self._may(PUT, lambda: self._ask("put_object", "store", "ETag", Body=self._data,
                                                      ContentMD5=self._sum)):
                await self._may(READ, self._read)
        finally:
            await self._may(REMOVE, self._remove)

    async def _read(self) -> None:
        doing = f"read {self._key}"
        async with self.s3.call("get_object", doing), asyncio.timeout(self.s3.limit_s):
            answer = await (await self.s3.client()).get_object(Bucket=self.s3.bucket, Key=self._key)
            async with answer["Body"] as body:
                came = await body.read()
        if came != self._data:
            raise ParkError(f"cannot {doing} in {self.s3.place}: other bytes come back than were stored")
