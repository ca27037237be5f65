"""An S3 service that keeps no bytes: it takes parts, checks each one's Content-MD5, and makes objects of their MD5s.

So a film of gigabytes can go up on a machine that could not hold it twice. Refusals as S3's: BadDigest, InvalidPart,
NoSuchUpload, NotImplemented. Signatures and `If-None-Match` are not looked at, open uploads are not listed.
"""

import asyncio
import base64
import hashlib
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET

from tests.fakes.cloud import wire
from tests.fakes.cloud.servers import free_port

Answer = tuple[int, dict[str, str], str]  # status, headers, text


@dataclass(frozen=True)
class Body:
    """What came with a request: its length and MD5; its bytes only where they are a list of parts."""

    size: int
    md5: bytes
    text: bytes


@dataclass
class Multipart:
    """An upload that is open: part → (ETag, bytes)."""

    key: str
    parts: dict[int, tuple[str, int]] = field(default_factory=dict)


class Sink:
    """The service, on a thread of its own from its construction on."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.objects: dict[str, tuple[str, int]] = {}  # bucket/key → (ETag, bytes)
        self._open: dict[str, Multipart] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=wire.LIMIT)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while request := await wire.Head.read(reader):
                if request.expects_continue:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await _take(reader, request)
                status, headers, text = self._answer(request, body)
                headers = {"Content-Length": str(len(text.encode())), "Content-Type": "application/xml"} | headers
                lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in headers.items()), "", text]
                writer.write("\r\n".join(lines).encode())
                await writer.drain()
        writer.close()

    def _answer(self, request: wire.Head, body: Body) -> Answer:
        method, target, _ = request.first
        address = urlsplit(target)
        key, asked = unquote(address.path).strip("/"), dict(parse_qsl(address.query, keep_blank_values=True))
        match method:
            case _ if "uploadId" in asked:
                return self._about_upload(request, asked, key, body)
            case "POST" if "uploads" in asked:
                upload_id = uuid.uuid4().hex
                self._open[upload_id] = Multipart(key)
                return _xml("InitiateMultipartUploadResult", Key=key.partition("/")[2], UploadId=upload_id)
            case "GET" if "uploads" in asked:
                return _xml("ListMultipartUploadsResult", Bucket=key, IsTruncated="false")
            case "HEAD":
                etag, size = self.objects.get(key, ("", 0))
                return (200, {"ETag": etag, "Content-Length": str(size)}, "") if etag else (404, {}, "")
        return _refused(501, "NotImplemented")

    def _about_upload(self, request: wire.Head, asked: dict[str, str], key: str, body: Body) -> Answer:
        upload = self._open.get(asked["uploadId"])
        if upload is None or upload.key != key:
            return _refused(404, "NoSuchUpload")
        match request.first[0]:
            case "PUT":
                return _put(upload, int(asked["partNumber"]), request.headers.get("content-md5", ""), body)
            case "GET":
                parts = [_element("Part", PartNumber=number, ETag=etag, Size=size)
                         for number, (etag, size) in sorted(upload.parts.items())]
                return _xml("ListPartsResult", *parts, Bucket=key.partition("/")[0], IsTruncated="false")
            case "POST":
                return self._complete(asked["uploadId"], upload, body)
        return _refused(501, "NotImplemented")

    def _complete(self, upload_id: str, upload: Multipart, body: Body) -> Answer:
        listed = [(int(part.findtext("{*}PartNumber", "0")), part.findtext("{*}ETag", ""))
                  for part in ET.fromstring(body.text).iterfind("{*}Part")]
        if not listed or any(upload.parts.get(number, ("", 0))[0] != etag for number, etag in listed):
            return _refused(400, "InvalidPart")
        joined = b"".join(bytes.fromhex(etag.strip('"')) for _, etag in listed)
        etag = f'"{hashlib.md5(joined).hexdigest()}-{len(listed)}"'
        self.objects[upload.key] = etag, sum(upload.parts[number][1] for number, _ in listed)
        del self._open[upload_id]
        return _xml("CompleteMultipartUploadResult", Key=upload.key.partition("/")[2], ETag=etag)


def _put(upload: Multipart, number: int, md5: str, body: Body) -> Answer:
    if base64.b64encode(body.md5).decode() != md5:
        return _refused(400, "BadDigest")
    etag = f'"{body.md5.hex()}"'
    upload.parts[number] = etag, body.size
    return 200, {"ETag": etag}, ""


async def _take(reader: asyncio.StreamReader, request: wire.Head) -> Body:
    """Read a request's body; a part is hashed and let go."""
    md5, size, text = hashlib.md5(), 0, b""
    async for piece in wire.body(reader, request, until_end=False):
        md5.update(piece)
        size += len(piece)
        text += piece if request.first[0] == "POST" else b""
    return Body(size, md5.digest(), text)


def _element(name: str, *inner: ET.Element, **values: object) -> ET.Element:
    element = ET.Element(name)
    for key, value in values.items():
        ET.SubElement(element, key).text = str(value)
    element.extend(inner)
    return element


def _xml(name: str, *inner: ET.Element, **values: object) -> Answer:
    return 200, {}, ET.tostring(_element(name, *inner, **values), "unicode")


def _refused(status: int, code: str) -> Answer:
    return status, {}, ET.tostring(_element("Error", Code=code, Message=code), "unicode")
