"""What storing films in a bucket promises beyond the contract of all storages."""

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from botocore import exceptions
from botocore.parsers import ResponseParserError

from ezrec.adapters.storage import Part, s3_client
from ezrec.adapters.storage.s3 import S3Storage
from ezrec.adapters.storage.s3_errors import verdict
from ezrec.adapters.storage.s3_objects import S3Object
from ezrec.config import sections
from ezrec.domain.errors import CredentialError, EzrecError, ParkError, RetryError, UploadGone
from tests.fakes.cloud import faults
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.s3 import S3
from tests.fakes.holding import Holding
from tests.fakes.waiting import eventually

KEY = "court/2026-11-20/b1.mp4"
PART = 4096  # bytes
SOON_S = 0.5  # the limit of a call that is meant to reach it


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(os.urandom(3 * PART + 1234))
    return path


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., S3Storage]]:
    """Makes storages, which are closed in the end."""
    made: list[S3Storage] = []

    def make(endpoint: str, bucket: str, limit_s: float = 30, recording: Callable[[], bool] = lambda: False,
             **settings: Any) -> S3Storage:
        given = {"access_key_id": "EZRECTESTKEY", "secret_access_key": "ezrec-test-key-of-the-tests"} | settings
        made.append(S3Storage(sections.S3Settings(endpoint=endpoint, bucket=bucket, **given), recording, limit_s))
        return made[-1]

    yield make
    for storage in made:
        await storage.close()


@pytest.fixture
def storage(opened: Callable[..., S3Storage], ministack: S3, bucket: str) -> S3Storage:
    return opened(ministack.endpoint, bucket)


@pytest.fixture
def through(opened: Callable[..., S3Storage], s3_net: ChaosProxy, bucket: str,
            monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    """A storage behind the proxy, which asks once."""
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)
    return opened(s3_net.url, bucket)


def cut(film: Path, size: int = PART) -> list[Part]:
    data = film.read_bytes()
    return [Part(number, at, len(data[at:at + size]), hashlib.md5(data[at:at + size]).hexdigest())
            for number, at in enumerate(range(0, len(data), size), 1)]


async def put(storage: S3Storage, film: Path, key: str = KEY) -> str:
    upload_id = await storage.begin(key)
    for part in cut(film):
        await storage.put_part(key, upload_id, part, film)
    return upload_id


def only_this_task() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


# ---- where objects are found


@pytest.mark.parametrize(("settings", "url"), [
    ({}, "https://films.s3.amazonaws.com/a%20b/%C3%BC%2B1.mp4"),
    ({"region": "eu-central-1"}, "https://films.s3.eu-central-1.amazonaws.com/a%20b/%C3%BC%2B1.mp4"),
    ({"region": "eu-central-1", "addressing": "path"},
     "https://s3.eu-central-1.amazonaws.com/films/a%20b/%C3%BC%2B1.mp4"),
    ({"bucket": "my.films"}, "https://s3.amazonaws.com/my.films/a%20b/%C3%BC%2B1.mp4"),
    ({"endpoint": "https://acc.r2.cloudflarestorage.com", "region": "auto"},
     "https://acc.r2.cloudflarestorage.com/films/a%20b/%C3%BC%2B1.mp4"),
    ({"endpoint": "https://acc.r2.cloudflarestorage.com", "region": "auto", "addressing": "virtual"},
     "https://films.acc.r2.cloudflarestorage.com/a%20b/%C3%BC%2B1.mp4"),
    ({"endpoint": "https://p.storage.supabase.co/storage/v1/s3", "addressing": "path"},
     "https://p.storage.supabase.co/storage/v1/s3/films/a%20b/%C3%BC%2B1.mp4"),
    ({"endpoint": "https://p.storage.supabase.co/storage/v1/s3", "public_url": "https://films.example.org/all/"},
     "https://films.example.org/all/a%20b/%C3%BC%2B1.mp4"),
])
async def test_the_url_is_where_the_service_serves_the_object_or_the_public_one(
        opened: Callable[..., S3Storage], settings: dict[str, str], url: str) -> None:
    assert await opened(**{"endpoint": "", "bucket": "films"} | settings)._url("a b/ü+1.mp4") == url


@pytest.mark.parametrize("any_s3", ["ministack", "rclone_s3"])
async def test_a_film_of_an_id_that_is_used_again_is_served_at_its_published_url(
        opened: Callable[..., S3Storage], request: pytest.FixtureRequest, film: Path, any_s3: str) -> None:
    server: S3 = request.getfixturevalue(any_s3)
    bucket, key = server.make_bucket(), "2026-11-23/monday-18@20261123T170000Z@2.mp4"
    storage = opened(server.endpoint, bucket, access_key_id=server.key, secret_access_key=server.secret)
    stored = await storage.complete(key, await put(storage, film, key), cut(film), film)
    url = server.presigned(bucket, key)
    assert stored.url == url.partition("?")[0] == f"{server.endpoint}/{bucket}/{key.replace('@', '%40')}"
    assert httpx.get(url, trust_env=False).content == film.read_bytes()
    public = opened(server.endpoint, bucket, public_url="https://films.example.org/court/")
    assert await public._url(key) == f"https://films.example.org/court/{key.replace('@', '%40')}"


async def test_objects_say_what_they_are(storage: S3Storage, ministack: S3, bucket: str, film: Path) -> None:
    await storage.complete(KEY, await put(storage, film), cut(film), film)
    await storage.put_file("court/b1.jpg", film)
    assert ministack.head(bucket, KEY)["ContentType"] == "video/mp4"
    assert ministack.head(bucket, "court/b1.jpg")["ContentType"] == "image/jpeg"
    assert ministack.sha256(bucket, KEY) == hashlib.sha256(film.read_bytes()).hexdigest()


# ---- unfinished uploads


async def test_an_upload_whose_id_was_lost_is_taken_over_and_older_ones_are_aborted(
        storage: S3Storage, ministack: S3, bucket: str) -> None:
    with ministack.client() as s3:
        ids = [s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
               for key in (KEY, KEY, KEY, f"{KEY}.2.mp4")]
    newest, other = ids[2:]
    assert await storage.begin(KEY) == newest
    assert sorted(ministack.unfinished(bucket)) == sorted([(KEY, newest), (f"{KEY}.2.mp4", other)])


async def test_aborting_without_an_id_leaves_other_keys_alone(storage: S3Storage, ministack: S3, bucket: str) -> None:
    other = await storage.begin(f"{KEY}.2.mp4")
    with ministack.client() as s3:
        for _ in range(2):
            s3.create_multipart_upload(Bucket=bucket, Key=KEY)
    await storage.abort(KEY, "")
    assert ministack.unfinished(bucket) == [(f"{KEY}.2.mp4", other)]
    await storage.abort(KEY, "")


async def test_lists_are_read_to_their_end(storage: S3Storage, ministack: S3, bucket: str, film: Path) -> None:
    upload_id = await put(storage, film)
    with ministack.client() as s3:
        for _ in range(4):
            s3.create_multipart_upload(Bucket=bucket, Key=f"{KEY}.2.mp4")
    events = (await storage._s3.client()).meta.events
    events.register("before-parameter-build.s3.ListParts", lambda params, **_: params.update(MaxParts=1))
    events.register("before-parameter-build.s3.ListMultipartUploads", lambda params, **_: params.update(MaxUploads=1))
    assert sorted(await storage.parts(KEY, upload_id)) == [1, 2, 3, 4]
    await storage.abort(f"{KEY}.2.mp4", "")
    assert ministack.unfinished(bucket) == [(KEY, upload_id)]


async def test_an_upload_that_is_gone_says_so_and_an_object_of_it_is_confirmed(
        storage: S3Storage, ministack: S3, bucket: str, film: Path) -> None:
    upload_id, parts = await put(storage, film), cut(film)
    ministack.abort(bucket, KEY, upload_id)
    for call in (lambda: storage.parts(KEY, upload_id), lambda: storage.put_part(KEY, upload_id, parts[0], film),
                 lambda: storage.complete(KEY, upload_id, parts, film)):
        with pytest.raises(UploadGone):
            await call()
    stored = await storage.complete(KEY, await put(storage, film), parts, film)
    assert await storage.complete(KEY, upload_id, parts, film) == stored


# ---- other bytes


async def test_somebody_who_was_quicker_by_a_moment_is_not_overwritten(
        through: S3Storage, s3_net: ChaosProxy, ministack: S3, bucket: str, film: Path) -> None:
    """The HEAD before completing found nothing; `If-None-Match` still does."""
    upload_id = await put(through, film)
    ministack.put(bucket, KEY, b"somebody else's")
    missed = s3_net.answer(faults.answer(404, ""), method="HEAD", times=1)
    with pytest.raises(ParkError, match="holds something else"):
        await through.complete(KEY, upload_id, cut(film), film)
    assert missed.hits == 1
    assert ministack.read(bucket, KEY) == b"somebody else's"


async def test_a_service_without_if_none_match_is_asked_by_head_only(
        through: S3Storage, s3_net: ChaosProxy, ministack: S3, bucket: str, film: Path) -> None:
    refused = s3_net.answer(faults.s3_error(501, "NotImplemented", "A header you provided is not implemented"),
                            method="POST", target="uploadId=", times=1)
    await through.complete(KEY, await put(through, film), cut(film), film)
    assert refused.hits == 1
    await through.complete("other.mp4", await put(through, film, "other.mp4"), cut(film), film)
    assert s3_net.count("POST", "other.mp4.*uploadId=") == 1
    assert ministack.objects(bucket) == {KEY: film.stat().st_size, "other.mp4": film.stat().st_size}


@pytest.mark.parametrize(("etag", "keyed", "differs"), [
    ("{composite}", False, False), ("{wrong}-4", False, True), ("{wrong}-4", True, False), ("{wrong}-3", True, True),
    ("{whole}", False, False), ("{wrong}", False, True), ("{wrong}", True, False), ("opaque", False, False)])
async def test_what_an_etag_can_tell_is_compared(
        storage: S3Storage, film: Path, etag: str, keyed: bool, differs: bool) -> None:
    parts = cut(film)
    joined = b"".join(bytes.fromhex(part.md5) for part in parts)
    given = etag.format(composite=f"{hashlib.md5(joined).hexdigest()}-4", wrong="0" * 32,
                        whole=hashlib.md5(film.read_bytes()).hexdigest())
    assert bool(await storage._difference(S3Object(film.stat().st_size, given, keyed), parts, film)) is differs


async def test_parts_whose_etags_are_no_md5s_are_completed_with_them_and_found_again(
        storage: S3Storage, ministack: S3, bucket: str, film: Path) -> None:
    """As of a bucket that encrypts with a key of KMS."""
    parts = cut(film)
    events = (await storage._s3.client()).meta.events
    sent: list[str] = []

    def other(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ETag"] = f'"{parsed["ETag"].strip(chr(34))[::-1]}"'

    def told(params: dict[str, Any], **_: Any) -> None:
        for part in params["MultipartUpload"]["Parts"]:
            sent.append(part["ETag"].strip('"'))
            part["ETag"] = f'"{sent[-1][::-1]}"'

    def listed(parsed: dict[str, Any], **_: Any) -> None:
        for part in parsed["Parts"]:
            part["ETag"] = f'"{part["ETag"].strip(chr(34))[::-1]}"'

    events.register("after-call.s3.UploadPart", other)
    events.register("after-call.s3.ListParts", listed)
    events.register("before-parameter-build.s3.CompleteMultipartUpload", told)
    upload_id = await put(storage, film)
    assert await storage.parts(KEY, upload_id) == {part.number: part.md5 for part in parts}
    await storage.complete(KEY, upload_id, parts, film)
    assert sent == [part.md5[::-1] for part in parts]
    assert ministack.read(bucket, KEY) == film.read_bytes()


async def test_bytes_that_changed_since_their_md5_was_taken_are_not_stored(storage: S3Storage, film: Path) -> None:
    upload_id, parts = await storage.begin(KEY), cut(film)
    film.write_bytes(film.read_bytes()[::-1])
    with pytest.raises(RetryError, match="BadDigest"):
        await storage.put_part(KEY, upload_id, parts[0], film)
    assert await storage.parts(KEY, upload_id) == {}


async def test_a_film_that_becomes_shorter_while_it_goes_up_is_something_to_try_again(
        storage: S3Storage, film: Path) -> None:
    upload_id, parts = await storage.begin(KEY), cut(film)
    film.write_bytes(b"short")
    with pytest.raises(RetryError, match="does not reach"):
        await storage.put_part(KEY, upload_id, parts[1], film)


# ---- refusals

@pytest.mark.parametrize(("status", "code", "kind"), [
    (400, "RequestTimeout", RetryError), (403, "RequestTimeTooSkewed", CredentialError), (429, "429", RetryError),
    (500, "InternalError", RetryError), (503, "SlowDown", RetryError), (408, "408", RetryError),
    (502, "502", RetryError), (200, "InternalError", RetryError), (404, "NoSuchUpload", UploadGone),
    (403, "ExpiredToken", CredentialError), (403, "InvalidAccessKeyId", CredentialError),
    (403, "SignatureDoesNotMatch", CredentialError), (401, "Unauthorized", CredentialError),
    (401, "401", CredentialError), (403, "AccessDenied", ParkError), (404, "NoSuchBucket", ParkError),
    (400, "InvalidArgument", ParkError), (400, "AuthorizationHeaderMalformed", ParkError),
    (301, "PermanentRedirect", ParkError), (501, "NotImplemented", ParkError), (400, "EntityTooSmall", ParkError),
    (403, "403", RetryError), (404, "", RetryError), (409, "ConditionalRequestConflict", RetryError),
    (400, "InvalidPart", RetryError)])
def test_a_refusal_says_whether_waiting_helps(status: int, code: str, kind: type[EzrecError]) -> None:
    answer = {"Error": {"Code": code, "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = verdict(exceptions.ClientError(answer, "UploadPart"), "store part 3")
    assert type(error) is kind
    assert str(error).startswith("cannot store part 3: ")


@pytest.mark.parametrize(("code", "passing"), [
    ("AccessDenied", True), ("NoSuchBucket", True), ("QuotaExceeded", True), ("EntityTooLarge", True),
    ("PermanentRedirect", True), ("InvalidArgument", False), ("EntityTooSmall", False), ("KeyTooLongError", False)])
def test_a_refusal_may_pass_unless_it_depends_on_what_was_sent(code: str, passing: bool) -> None:
    answer = {"Error": {"Code": code, "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    error = verdict(exceptions.ClientError(answer, "UploadPart"), "put it")
    assert isinstance(error, ParkError)
    assert error.passing is passing


def test_a_service_that_asks_for_time_is_given_it() -> None:
    error = verdict(exceptions.ClientError({"Error": {"Code": "SlowDown"}, "ResponseMetadata": {
        "HTTPStatusCode": 503, "HTTPHeaders": {"retry-after": "7"}}}, "UploadPart"), "put it")
    assert isinstance(error, RetryError)
    assert error.after_s == 7


@pytest.mark.parametrize("error", [
    exceptions.EndpointConnectionError(endpoint_url="u"), exceptions.ConnectTimeoutError(endpoint_url="u"),
    exceptions.ConnectionClosedError(endpoint_url="u"), exceptions.ReadTimeoutError(endpoint_url="u"),
    exceptions.SSLError(endpoint_url="u", error="certificate"), exceptions.HTTPClientError(error=OSError("gone")),
    exceptions.ProxyConnectionError(proxy_url="u"), TimeoutError(), ResponseParserError("no XML")],
    ids=lambda error: type(error).__name__)
def test_a_network_that_fails_is_something_to_try_again(error: Exception) -> None:
    assert type(verdict(error, "store part 3")) is RetryError


async def test_a_refusal_names_bucket_key_and_host_and_no_credential(
        through: S3Storage, s3_net: ChaosProxy, bucket: str) -> None:
    s3_net.answer(faults.s3_error(403, "AccessDenied", "Access Denied"), method="POST")
    with pytest.raises(ParkError) as caught:
        await through.begin(KEY)
    assert all(word in str(caught.value) for word in (bucket, KEY, f"127.0.0.1:{s3_net.port}", "AccessDenied"))
    assert "EZRECTESTKEY" not in str(caught.value)


@pytest.mark.parametrize(("status", "code", "kind"), [
    (400, "ExpiredToken", CredentialError), (403, "AccessDenied", ParkError),
    (403, "InvalidAccessKeyId", CredentialError)])
async def test_a_refusal_of_head_which_has_no_words_is_asked_for_them(
        through: S3Storage, s3_net: ChaosProxy, film: Path, status: int, code: str, kind: type[EzrecError]) -> None:
    s3_net.answer(faults.s3_error(status, code, "No."))
    with pytest.raises(EzrecError, match=code) as caught:
        await through.verify(KEY, cut(film), film)
    assert type(caught.value) is kind


PORTAL = "<html><body>Please log in</body></html>"


@pytest.mark.parametrize(("status", "text"), [
    (200, PORTAL), (200, "<p>Please log in"), (302, PORTAL), (302, ""), (307, PORTAL), (403, PORTAL),
    (403, '{"error": 1}'), (404, "<p>Not here"), (511, PORTAL)])
async def test_what_is_no_answer_of_s3_is_something_to_try_again(
        through: S3Storage, s3_net: ChaosProxy, film: Path, status: int, text: str) -> None:
    """Even where it has an ETag and a length: nothing is parked for a captive portal."""
    upload_id, parts = await put(through, film), cut(film)
    s3_net.answer(faults.answer(status, text, "text/html", etag='"5f-65a1b2"', location=f"{s3_net.url}/login"))
    calls = [lambda: through.begin(KEY), lambda: through.parts(KEY, upload_id)]
    if status != 404:  # a HEAD has no body to tell by
        calls += [lambda: through.verify(KEY, parts, film), lambda: through.complete(KEY, upload_id, parts, film)]
    for call in calls:
        with pytest.raises(RetryError):
            await call()
    assert s3_net.count(target="/login") == 0


async def test_a_refusal_is_logged_whole_once_and_again_after_success(
        through: S3Storage, s3_net: ChaosProxy) -> None:
    with structlog.testing.capture_logs() as logged:
        refused = s3_net.s3_denied(method="POST")
        for _ in range(3):
            with pytest.raises(ParkError):
                await through.begin(KEY)
        s3_net.forget(refused)
        upload_id = await through.begin(KEY)
        s3_net.s3_denied(method="POST")
        await through.abort(KEY, upload_id)
        with pytest.raises(ParkError):
            await through.begin(KEY)
    lines = [line for line in logged if line["event"] == "storage refused"]
    assert len(lines) == 2
    assert all("<Code>AccessDenied</Code>" in line["answer"] for line in lines)


# ---- time


async def test_a_service_that_does_not_say_continue_is_not_waited_for_twice(
        opened: Callable[..., S3Storage], s3_net: ChaosProxy, bucket: str, film: Path) -> None:
    storage = opened(s3_net.url, bucket)
    upload_id = await storage.begin(KEY)
    s3_net.withhold_continue()
    storage._s3.limit_s = SOON_S
    with pytest.raises(RetryError):
        await storage.put_part(KEY, upload_id, cut(film)[0], film)
    storage._s3.limit_s = 30
    await storage.put_part(KEY, upload_id, cut(film)[0], film)
    assert sorted(await storage.parts(KEY, upload_id)) == [1]


@pytest.mark.parametrize("fault", ["hang", "mid-body", "answer", "cancelled"])
async def test_a_part_that_hangs_ends_and_leaves_no_task_and_no_connection(
        opened: Callable[..., S3Storage], s3_net: ChaosProxy, bucket: str, tmp_path: Path, fault: str) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(os.urandom(3_000_000))  # more than the buffers between here and there take
    storage = opened(s3_net.url, bucket, min_rate_kbit=1_000_000)
    upload_id, part = await storage.begin(KEY), cut(film, 3_000_000)[0]
    if fault == "hang":
        s3_net.hang()
    elif fault == "answer":
        s3_net.hang_answer(method="PUT")
    else:
        s3_net.hang_request(method="PUT", after=1000)
    storage._s3.limit_s = 30 if fault == "cancelled" else SOON_S
    putting = asyncio.create_task(storage.put_part(KEY, upload_id, part, film))
    if fault == "cancelled":
        async def begun() -> bool:
            return s3_net.count("PUT") > 0

        await eventually(begun, what="the part to be on its way")
        putting.cancel()
    with pytest.raises(asyncio.CancelledError if fault == "cancelled" else RetryError):
        await putting
    await eventually(_sync(only_this_task), what="the tasks to end")
    session = (await storage._s3.client())._endpoint.http_session._sessions[None]
    assert not session.connector._acquired
    s3_net.heal()
    storage._s3.limit_s = 30
    await storage.put_part(KEY, upload_id, part, film)
    assert sorted(await storage.parts(KEY, upload_id)) == [1]


def _sync(condition: Callable[[], bool]) -> Callable[[], Any]:
    async def ask() -> bool:
        return condition()

    return ask


async def test_no_call_holds_the_event_loop(
        storage: S3Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the first, for which the client is made, in a thread. Promise 7."""
    threads: list[int] = []
    make_client = storage._s3._make_client

    async def watched() -> Any:
        threads.append(threading.get_ident())
        return await make_client()

    monkeypatch.setattr(storage._s3, "_make_client", watched)
    film = tmp_path / "film.mp4"
    film.write_bytes(os.urandom(8 << 20))
    parts = cut(film, 8 << 20)
    await asyncio.sleep(0)
    with Holding() as holding:
        upload_id = await storage.begin(KEY)
        await storage.put_part(KEY, upload_id, parts[0], film)
        await storage.complete(KEY, upload_id, parts, film)
    assert holding.longest_s < 0.1, holding.what
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


@pytest.mark.parametrize(("rate", "while_recording", "recording", "kbit_s"), [
    (0, 0, True, 0), (800, 0, True, 800), (0, 300, True, 300), (0, 300, False, 0), (800, 300, True, 300),
    (200, 300, True, 200), (800, 300, False, 800)])
async def test_the_cap_is_the_lower_one_of_those_that_hold_now(
        opened: Callable[..., S3Storage], rate: int, while_recording: int, recording: bool, kbit_s: int) -> None:
    storage = opened("", "films", recording=lambda: recording, rate_kbit=rate, recording_rate_kbit=while_recording)
    assert storage._cap._kbit_s() == kbit_s


async def test_a_client_that_cannot_be_made_is_parked_with_what_is_wrong(opened: Callable[..., S3Storage]) -> None:
    storage = opened("", "films", region="Not a region!")
    with pytest.raises(ParkError, match="region"):
        await storage.begin(KEY)
