"""A Supabase project for tests: `@supabase/lite` (PostgREST's answers and codes) in front of a real PostgreSQL.

    postgres = Postgres()                          # fixtures: `postgres`, `supabase` (the package's tables)
    project = Supabase(postgres, sql)              # tables and functions, as one would run them in its SQL editor
    project.url, project.service_key               # what goes into the settings
    project.publishable_key, project.device_token("u1", "c1")        # a device's own credential: apikey + Bearer
    project.player_jwt(sub="…")                                      # somebody who logged in
    project.rows("select * from videos where user_id = :'user'", user="u1")          # past PostgREST, as superuser
    project.run("update bookings set …")
    project.change("alter table …")                # a change of the schema: lite has to start again (about a second)
    project.end()

Tests share a project and keep apart by user_id and camera_id. One with other tables (older ones, none) makes its own on
the same PostgreSQL, which costs about a second.

As on Supabase: roles anon, authenticated and service_role (past row level security), which may by default do everything
with everything in `public` (`generous=False`: a project whose API grants nothing by itself); auth.uid(), auth.role(),
auth.email(), auth.jwt().
Not as there: timestamps are printed `2026-11-20 10:00:00+00`; a JWT that is none at all counts as anon; where no table
at all has row level security, grants do not count either; lite reads the schema only when it starts; no Storage.
"""

import json
import os
import secrets
import shutil
import subprocess
import time
import uuid
from functools import cache
from pathlib import Path
from typing import Any

import jwt

from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.postgres import missing as postgres_missing
from tests.fakes.cloud.servers import Server, answers, free_port

HERE = Path(__file__).parent
LITE = HERE / "node_modules/@supabase/lite"
NODE = 20  # the oldest version that @supabase/lite runs on

ROLES = """
do $$ declare wanted text; begin
  foreach wanted in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I nologin noinherit %s', wanted,
                     case wanted when 'service_role' then 'bypassrls' else '' end);
    end if;
  end loop;
end $$;
create schema auth;
create function auth.uid() returns uuid language sql stable as
  $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
create function auth.role() returns text language sql stable as
  $$ select nullif(current_setting('request.jwt.claim.role', true), '') $$;
create function auth.email() returns text language sql stable as
  $$ select nullif(current_setting('request.jwt.claim.email', true), '') $$;
create function auth.jwt() returns jsonb language sql stable as
  $$ select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb $$;
grant usage on schema public, auth to anon, authenticated, service_role;
"""
GENEROUS = """
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges in schema public grant all on routines to anon, authenticated, service_role;
"""
# lite grants everything to everybody with the first request it takes. What the schema itself says must count: a grant
# that does not come through psql is undone as soon as it is done.
UNDO_GRANTS = """
create schema tests;
create table tests.relation (id oid, acl aclitem[]);
create table tests.preset as select * from pg_default_acl;
create function tests.before_grant() returns event_trigger language plpgsql as $$ begin
  if current_setting('application_name') <> 'psql' then
    delete from tests.relation;
    insert into tests.relation select oid, relacl from pg_class where relnamespace = 'public'::regnamespace;
    delete from tests.preset;
    insert into tests.preset select * from pg_default_acl;
  end if;
end $$;
create function tests.after_grant() returns event_trigger language plpgsql as $$ begin
  if current_setting('application_name') <> 'psql' then
    update pg_class set relacl = acl from tests.relation where oid = id and relacl is distinct from acl;
    delete from pg_default_acl;
    insert into pg_default_acl select * from tests.preset;
  end if;
end $$;
create event trigger before_grant on ddl_command_start when tag in ('GRANT', 'ALTER DEFAULT PRIVILEGES')
  execute function tests.before_grant();
create event trigger after_grant on ddl_command_end when tag in ('GRANT', 'ALTER DEFAULT PRIVILEGES')
  execute function tests.after_grant();
"""


@cache
def missing() -> str | None:
    """What has to be installed for such a project; None if nothing."""
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout if node else ""
    if not node or int(version.lstrip("v").split(".")[0]) < NODE:
        found = version.strip() or "none"
        return f"Node {NODE} or newer is missing (found {found}): https://nodejs.org, then make cloud"
    if not LITE.exists():
        return "@supabase/lite is missing: make cloud"
    return postgres_missing()


class Supabase:
    """One running project: a database and lite in front of it."""

    def __init__(self, postgres: Postgres, sql: str = "", *, generous: bool = True) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.service_key = f"sb_secret_{secrets.token_urlsafe(24)}"
        self.publishable_key = f"sb_publishable_{secrets.token_urlsafe(24)}"
        self.database = f"project_{uuid.uuid4().hex[:12]}"
        self._jwt_key = secrets.token_hex(32)
        self._postgres = postgres
        self._server: Server | None = None
        postgres.create(self.database)
        self.run(ROLES + (GENEROUS if generous else "") + UNDO_GRANTS)
        self.change(sql)

    def run(self, sql: str, **values: object) -> str:
        """Run SQL as its owner; `:'name'` stands for a value. What it printed; AssertionError if it fails."""
        return self._postgres.run(self.database, sql, **values)

    def rows(self, sql: str, **values: object) -> list[dict[str, object]]:
        """The rows of one select, insert, update or delete (with returning)."""
        return self._postgres.rows(self.database, sql, **values)

    def change(self, sql: str) -> None:
        """Change the schema: run SQL and start lite, which reads it only then, anew; the address stays."""
        self.end()
        self.run(sql)
        self._server = self._start()

    def end(self) -> None:
        """End lite; the database stays as long as its PostgreSQL."""
        if self._server:
            self._server.end()

    def device_token(self, user: str, camera: str, options: dict[str, object] | None = None, **claims: Any) -> str:
        """A token of a new device of a court; `claims` as of `player_jwt`."""
        court = json.dumps({"user_id": user, "camera_id": camera})
        (made,) = self.rows("select * from ezrec_device_add(:'court', 'box', :'options')", court=court,
                            options=json.dumps(options or {}))
        return self.player_jwt(**{"sub": made["id"], "role": "ezrec_device"} | claims)

    def player_jwt(self, expires_s: float = 3600.0, role: str = "authenticated", **claims: object) -> str:
        """A JWT as the project would sign it; `expires_s` in the past makes an expired one."""
        now = time.time()
        return jwt.encode({"sub": str(uuid.uuid4()), "aud": "authenticated", "iat": int(now - 3600),
                           "exp": int(now + expires_s), "role": role, **claims}, self._jwt_key, "HS256")

    def _start(self) -> Server:
        server = Server("lite")
        folder = server.folder / "supabase"
        folder.mkdir()
        sections = {
            "api": {"port": self.port},
            "db": {"driver": "postgres", "url": self._postgres.url(self.database)},
            "auth": {"enabled": True, "jwt_secret": self._jwt_key, "jwt_expiry": 3600,
                     "publishable_key": self.publishable_key, "secret_key": self.service_key},
        }
        (folder / "config.toml").write_text("\n".join(
            line for name, keys in sections.items()
            for line in (f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()))), "utf-8")
        node = shutil.which("node")
        assert node
        return server.start(
            [node, LITE / "dist/cli/index.js", "--no-telemetry", "start", "--no-admin"],
            lambda: answers(f"{self.url}/rest/v1/nowhere?apikey={self.service_key}"),
            environment={"DO_NOT_TRACK": "1", "HOME": str(server.folder), "PATH": os.environ["PATH"]})
