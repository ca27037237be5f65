"""The servers that stand for the clouds: they come up, answer as the real ones do, and are gone when the tests are."""

import copy
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.s3 import S3
from tests.fakes.cloud.servers import answers
from tests.fakes.cloud.supabase import Supabase
from tests.fakes.waiting import wait_until

ROOT = Path(__file__).parents[2]
PART = 5 << 20
TABLES = """
create table court (id text primary key, owner text not null, n int);
alter table court enable row level security;
create policy own on court to authenticated using (owner = auth.jwt() ->> 'owner');
revoke all on court from anon;
create function add_one(n int) returns int language sql as $$ select n + 1 $$;
"""


def test_an_object_is_read_back_as_it_was_put(any_s3: S3) -> None:
    bucket = any_s3.make_bucket()
    body = os.urandom(100_000)
    any_s3.put(bucket, "a/b c.mp4", body)
    assert any_s3.objects(bucket) == {"a/b c.mp4": len(body)}
    assert any_s3.read(bucket, "a/b c.mp4") == body
    assert any_s3.sha256(bucket, "a/b c.mp4") == hashlib.sha256(body).hexdigest()
    assert any_s3.head(bucket, "a/b c.mp4")["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert any_s3.objects(any_s3.make_bucket()) == {}


def test_a_presigned_url_gives_ranges_through_a_proxy_too(any_s3: S3) -> None:
    bucket = any_s3.make_bucket()
    any_s3.put(bucket, "film.mp4", b"0123456789")
    with ChaosProxy(any_s3.endpoint) as net:
        url = any_s3.presigned(bucket, "film.mp4", endpoint=net.url)
        assert httpx.get(url, trust_env=False).content == b"0123456789"
        answer = httpx.get(url, headers={"range": "bytes=2-4"}, trust_env=False)
        assert answer.content == b"234"
        assert answer.status_code == (206 if any_s3.kind == "ministack" else 200)
    refused = httpx.get(f"{any_s3.endpoint}/{bucket}/film.mp4", trust_env=False)
    assert refused.status_code in (400, 401, 403)


def test_unfinished_uploads_are_listed_until_they_end(any_s3: S3) -> None:
    bucket = any_s3.make_bucket()
    with any_s3.client() as s3:
        uploads = [s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in ("a", "b")]
        assert sorted(any_s3.unfinished(bucket)) == [("a", uploads[0]), ("b", uploads[1])]
        any_s3.abort(bucket, "a", uploads[0])
        bodies = [b"x" * PART, b"tail"]
        tags = [s3.upload_part(Bucket=bucket, Key="b", UploadId=uploads[1], PartNumber=number, Body=body)["ETag"]
                for number, body in enumerate(bodies, start=1)]
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1)]
        s3.complete_multipart_upload(Bucket=bucket, Key="b", UploadId=uploads[1], MultipartUpload={"Parts": parts})
    assert any_s3.unfinished(bucket) == []
    assert any_s3.objects(bucket) == {"b": PART + 4}
    composite = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest() + "-2"
    plain = hashlib.md5(b"".join(bodies)).hexdigest()
    assert any_s3.head(bucket, "b")["ETag"] == f'"{composite if any_s3.kind == "ministack" else plain}"'


@pytest.mark.parametrize(("kind", "key", "secret", "code"), [
    ("ministack", "UNKNOWN", None, "InvalidAccessKeyId"), ("rclone_s3", "UNKNOWN", None, "InvalidAccessKeyId"),
    ("rclone_s3", None, "not the secret", "SignatureDoesNotMatch")])
def test_wrong_credentials_are_refused(
        kind: str, key: str | None, secret: str | None, code: str, request: pytest.FixtureRequest) -> None:
    server: S3 = request.getfixturevalue(kind)
    bucket = server.make_bucket()
    stranger = copy.copy(server)
    stranger.key, stranger.secret = key or server.key, secret or server.secret
    with pytest.raises(ClientError, match=code):
        stranger.put(bucket, "a", b"")
    assert server.objects(bucket) == {}


def test_an_object_is_not_written_over_where_none_was_expected(ministack: S3) -> None:
    bucket = ministack.make_bucket()
    ministack.put(bucket, "film", b"somebody else's")
    with ministack.client() as s3:
        upload = s3.create_multipart_upload(Bucket=bucket, Key="film")["UploadId"]
        tag = s3.upload_part(Bucket=bucket, Key="film", UploadId=upload, PartNumber=1, Body=b"ours")["ETag"]
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.complete_multipart_upload(Bucket=bucket, Key="film", UploadId=upload, IfNoneMatch="*",
                                         MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    assert ministack.read(bucket, "film") == b"somebody else's"


@pytest.fixture
def project(new_supabase: Callable[..., Supabase]) -> Supabase:
    return new_supabase(TABLES)


def test_a_project_answers_as_postgrest_does(project: Supabase) -> None:
    def ask(method: str, path: str, key: str = project.service_key, token: str = "", prefer: str = "",
            json: Any = None) -> tuple[int, Any]:
        headers = {"apikey": key, "prefer": prefer} | ({"authorization": f"Bearer {token}"} if token else {})
        answer = httpx.request(method, f"{project.url}/rest/v1/{path}", headers=headers, json=json, trust_env=False)
        return answer.status_code, answer.json() if answer.content else None

    def code(*args: Any, **kwargs: Any) -> str:
        status, said = ask(*args, **kwargs)
        assert status >= 400, said
        return str(said["code"])

    row = {"id": "a", "owner": "u1", "n": 1}
    both = "resolution=merge-duplicates,return=representation"
    assert ask("POST", "court?on_conflict=id", json=row, prefer=both) == (201, [row])
    assert ask("POST", "court?on_conflict=id", json=row | {"n": 2}, prefer=both)[1] == [row | {"n": 2}]
    assert ask("GET", "court?select=id,n&owner=eq.u1") == (200, [{"id": "a", "n": 2}])
    assert ask("POST", "rpc/add_one", json={"n": 41}) == (200, 42)
    assert code("POST", "court", json=row) == "23505"
    assert code("POST", "court", json=row | {"colour": "red"}) == "PGRST204"
    assert code("GET", "nowhere") == "PGRST205"
    assert code("POST", "rpc/add_two", json={"n": 1}) == "PGRST202"
    assert code("POST", "court?on_conflict=owner", json=row, prefer=both) == "42P10"
    assert code("GET", "court", key=project.publishable_key) == "42501"
    device = {"key": project.publishable_key, "token": project.player_jwt(owner="u2")}
    assert ask("GET", "court", **device) == (200, [])
    assert ask("GET", "court", key=project.publishable_key, token=project.player_jwt(owner="u1"))[1][0]["n"] == 2
    assert code("POST", "court", json=row | {"id": "b"}, **device) == "42501"
    assert code("GET", "court", key=project.publishable_key, token=project.player_jwt(expires_s=-60)) == "PGRST303"
    assert ask("GET", "court", key="sb_secret_wrong")[0] == 401
    assert project.rows("select n from court where id = :'id'", id="a") == [{"n": 2}]


def test_a_changed_schema_is_known_after_the_change(project: Supabase) -> None:
    url, headers = f"{project.url}/rest/v1/court?select=colour", {"apikey": project.service_key}
    assert httpx.get(url, headers=headers, trust_env=False).json()["code"] == "42703"
    project.change("alter table court add column colour text")
    assert httpx.get(url, headers=headers, trust_env=False).json() == []


def test_a_project_can_grant_nothing_by_itself(new_supabase: Callable[..., Supabase]) -> None:
    project = new_supabase(TABLES, generous=False)
    answer = httpx.get(f"{project.url}/rest/v1/court", headers={"apikey": project.service_key}, trust_env=False)
    assert answer.json()["code"] == "42501"


def test_the_packages_tables_are_there(supabase: Supabase) -> None:
    for table in ("bookings", "videos", "system_status", "user_settings", "shared_links"):
        answer = httpx.get(f"{supabase.url}/rest/v1/{table}?limit=1", headers={"apikey": supabase.service_key},
                           trust_env=False)
        assert answer.status_code == 200, answer.text


def test_wrong_sql_says_why(postgres: Postgres) -> None:
    with pytest.raises(AssertionError, match="syntax error"):
        postgres.run("postgres", "selct 1")


def test_servers_do_not_outlive_a_test_process_that_was_killed(postgres: Postgres) -> None:
    code = ("import time; from tests.fakes.cloud.s3 import S3; from tests.fakes.cloud.postgres import Postgres\n"
            "s3, pg = S3.ministack(), Postgres()\n"
            "print(s3.endpoint, pg.port, s3._server.folder, pg._server.folder, flush=True)\n"
            "time.sleep(600)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        try:
            assert process.stdout
            endpoint, port, *folders = process.stdout.readline().split()
            assert answers(endpoint)
        finally:
            process.send_signal(signal.SIGKILL)
    wait_until(lambda: not answers(endpoint), what="ministack to be gone")
    wait_until(lambda: not any(Path(folder).exists() for folder in folders), what="PostgreSQL to be gone")
    with pytest.raises(AssertionError, match="refused"):
        _at_port(postgres, int(port)).run("postgres", "select 1")


def _at_port(server: Postgres, port: int) -> Postgres:
    other = Postgres.__new__(Postgres)
    other._binaries, other.port = server._binaries, port
    return other
