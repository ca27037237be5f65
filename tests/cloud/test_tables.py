"""The SQL of the project's tables: what it makes, what it takes over, and what it leaves alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ezrec.cli.tables import sql
from ezrec.domain.messages import Video
from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.supabase import GENEROUS, ROLES
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import Venue

SQL = sql()
TABLES = {"bookings", "videos", "system_status", "user_settings", "shared_links", "ezrec_devices", "ezrec_marks",
          "ezrec_clips"}
OLD = {path.stem: path.read_text("utf-8") for path in sorted((Path(__file__).with_name("old")).glob("*.sql"))}
SHAPE = """select table_name as t, column_name as c, data_type as d, is_nullable as n, column_default as f
  from information_schema.columns where table_schema = 'public' order by t, c"""
INDICES = "select indexdef as i from pg_indexes where schemaname = 'public' order by i"
POLICIES = "select tablename as t, policyname as p, cmd as c, qual as q from pg_policies order by t, p"
GRANTS = """select relname as r, relacl::text as a, relrowsecurity as s from pg_class
  where relnamespace = 'public'::regnamespace order by r"""
FUNCTIONS = """select oid::regprocedure::text as f, proacl::text as a, md5(prosrc) as s from pg_proc
  where pronamespace in (select oid from pg_namespace where nspname in ('public', 'ezrec')) order by f"""
TRIGGERS = "select tgname as n, pg_get_triggerdef(oid) as d from pg_trigger where not tgisinternal order by n, d"
CONSTRAINTS = """select conrelid::regclass::text as t, conname as c, pg_get_constraintdef(oid) as d from pg_constraint
  where connamespace = 'public'::regnamespace order by t, c"""
SAME = """select array_agg(indexrelid::regclass::text order by 1) as i
  from pg_index join pg_class on pg_class.oid = indrelid
  where relnamespace = 'public'::regnamespace group by indrelid, indkey::text, indpred is null, indexprs is null
  having count(*) > 1"""


def everything(rows: Callable[[str], list[dict[str, Any]]]) -> list[Any]:
    return [rows(text) for text in (SHAPE, INDICES, POLICIES, GRANTS, FUNCTIONS, TRIGGERS, CONSTRAINTS)]


@pytest.mark.parametrize("old", OLD)
def test_every_older_projects_tables_are_brought_up_and_a_second_run_changes_nothing(
        postgres: Postgres, old: str) -> None:
    database = f"twice {old}"
    postgres.create(database)
    postgres.run(database, ROLES + GENEROUS + OLD[old])

    def rows(text: str) -> list[dict[str, Any]]:
        return postgres.rows(database, text)

    kept = {table: rows(f"select * from {table}") for table in ("bookings", "videos", "system_status", "user_settings",
                                                              "shared_links")}
    postgres.run(database, SQL)
    for table, before in kept.items():
        assert [{name: row[name] for name in old} for row, old in
                zip(rows(f"select * from {table}"), before, strict=True)] == before
    once = everything(rows)
    assert rows(SAME) == [], "two indexes that are the same"
    postgres.run(database, SQL)
    assert everything(rows) == once
    assert rows("select version from ezrec.version") == [{"version": 1}]
    assert rows("select ezrec_version() as version") == [{"version": 1}]


def test_a_project_that_is_newer_is_left_alone(postgres: Postgres) -> None:
    postgres.create("newer")
    postgres.run("newer", SQL + "insert into ezrec.version (version) values (999);")
    with pytest.raises(AssertionError, match="newer"):
        postgres.run("newer", SQL)


def test_run_again_it_changes_nothing(supabase: Project) -> None:
    venue = Venue(supabase)
    booking = venue.book(venue.id("b"))
    before, row = everything(supabase.rows), venue.booking(booking)
    supabase.run(SQL)
    assert everything(supabase.rows) == before
    assert venue.booking(booking) == row


def test_every_table_function_and_column_says_what_it_is(supabase: Project) -> None:
    tables = supabase.rows("select relname as name, obj_description(oid) as said from pg_class"
                           " where relnamespace = 'public'::regnamespace and relkind = 'r'")
    assert {row["name"] for row in tables if row["said"]} == TABLES
    assert not supabase.rows("select proname from pg_proc where pronamespace in (select oid from pg_namespace where"
                             " nspname in ('public', 'ezrec'))"
                             " and obj_description(oid) is null")
    dumb = supabase.rows("select attrelid::regclass::text || '.' || attname as name from pg_attribute"
                         " where attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace"
                         "  and relkind = 'r') and attnum > 0 and col_description(attrelid, attnum) is null")
    assert {row["name"] for row in dumb} == {"videos.id", "ezrec_devices.id"} | {
        f"{table}.created_at" for table in TABLES - {"system_status", "user_settings"}}  # whose names say it


def test_a_video_has_a_column_for_each_of_its_fields(supabase: Project) -> None:
    columns = {row["c"] for row in supabase.rows(SHAPE) if row["t"] == "videos"}
    assert {one.name for one in fields(Video)} <= columns


OLDER = """
create table bookings (id uuid primary key, user_id uuid, camera_id text, starts_at timestamptz, ends_at timestamptz,
  status text);
create table videos (id uuid primary key default gen_random_uuid(), user_id uuid, booking_id uuid, video_url text,
  filename text);
create table system_status (id uuid default gen_random_uuid(), user_id uuid not null, camera_id text not null,
  cpu_percent int);
insert into bookings values ('6f1a2b3c-0000-4000-8000-000000000001', '6f1a2b3c-0000-4000-8000-0123456789ab', 'c1',
  now(), now() + interval '1 h', 'paid');
insert into videos (user_id, booking_id, video_url, filename) values ('6f1a2b3c-0000-4000-8000-0123456789ab',
  '6f1a2b3c-0000-4000-8000-000000000002', 'https://x/y', 'y');
"""


async def test_an_older_project_is_completed_keeps_its_rows_and_rules_and_then_works(
        new_supabase: Callable[..., Project]) -> None:
    project = new_supabase(OLDER)
    before = [project.rows(f"select * from {table}") for table in ("bookings", "videos", "system_status")]
    project.change(SQL)
    for table, rows in zip(("bookings", "videos", "system_status"), before, strict=True):
        assert [{name: row[name] for name in old} for row, old in
                zip(project.rows(f"select * from {table}"), rows, strict=True)] == rows
    secure = project.rows("select relname as name, relrowsecurity as secure from pg_class where relkind = 'r'"
                          " and relnamespace = 'public'::regnamespace and relrowsecurity")
    assert {row["name"] for row in secure} == TABLES - {"bookings", "videos", "system_status"}

    venue = Venue(project, "6f1a2b3c-0000-4000-8000-0123456789ab")
    booking = "6f1a2b3c-0000-4000-8000-000000000001"
    async with venue.client(device=True) as client:
        court = venue.court(client, device=True)
        for _ in range(2):
            await court.publisher.publish(venue.video(booking))
            await court.status.put({"version": "2", "cpu_percent": 12.5}, limit_s=60)
    assert [row["recording_id"] for row in venue.videos()] == [f"{booking}-0", None]
    assert venue.booking(booking)["status"] == "video_uploaded"
    assert len(project.rows("select * from system_status")) == 1


def test_doubles_that_forbid_a_key_are_named_and_nothing_is_changed(postgres: Postgres) -> None:
    postgres.create("doubles")
    postgres.run("doubles", OLDER + "alter table videos add camera_id text default 'c1';"
                 "insert into videos (booking_id, user_id) select booking_id, user_id from videos;")

    def rows(sql: str) -> list[dict[str, Any]]:
        return postgres.rows("doubles", sql)

    before = everything(rows)
    with pytest.raises(AssertionError, match=r"videos_court_booking_key[\s\S]*is duplicated"):
        postgres.run("doubles", SQL)
    assert everything(rows) == before


def test_a_plain_postgresql_takes_it_too(postgres: Postgres) -> None:
    """One without Supabase's roles; here they are there already, as roles belong to the whole server."""
    postgres.create("plain")
    postgres.run("plain", SQL.replace("'anon', 'authenticated', 'service_role'", "'nobody_here'"))
    assert len(postgres.rows("plain", "select 1 as one from pg_tables where schemaname = 'public'")) == len(TABLES)
    assert postgres.rows("plain", POLICIES) == []
    video = json.dumps(vars(Venue(None).video("b")))  # type: ignore[arg-type]
    assert len(postgres.rows("plain", "select * from publish_video(:'video')", video=video)) == 1


BAD_ROWS = {
    "an id that is a path": "insert into bookings (id, user_id, camera_id, start_time, end_time)"
                            " values ('a/../b', 'u', 'c', now(), now() + interval '1 h')",
    "an end before the start": "insert into bookings (user_id, camera_id, start_time, end_time)"
                               " values ('u', 'c', now(), now() - interval '1 h')",
    "an endless status": "insert into bookings (user_id, camera_id, start_time, end_time, status)"
                         " values ('u', 'c', now(), now() + interval '1 h', repeat('x', 65))",
    "a film without a place": "insert into videos (recording_id, booking_id, user_id, camera_id)"
                              " values ('r', 'b', 'u', 'c')",
    "a link whose secret is kept": "insert into shared_links (token_hash, recording_id, user_id, camera_id)"
                                   " values ('secret', 'r', 'u', 'c')",
    "a link to no film": "insert into shared_links (token_hash, recording_id, user_id, camera_id)"
                         " values (repeat('a', 64), 'none', 'u', 'c')",
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_row_that_cannot_be_meant_is_refused(supabase: Project, kind: str) -> None:
    with pytest.raises(AssertionError, match="violates"):
        supabase.run(BAD_ROWS[kind])


def test_the_command_prints_sql_that_runs(postgres: Postgres) -> None:
    done = subprocess.run([sys.executable, "-m", "ezrec", "tables"], capture_output=True, text=True, timeout=60,
                          check=True)
    assert done.stdout.endswith(SQL)
    assert 'ezrec tables | psql "$DATABASE_URL"' in done.stdout
    postgres.create("by_command")
    postgres.run("by_command", done.stdout)
    assert len(postgres.rows("by_command", "select 1 as one from pg_tables where schemaname = 'public'")) == len(TABLES)


def test_a_psql_that_goes_on_after_errors_ends_with_a_status_that_tells_of_them(postgres: Postgres) -> None:
    postgres.create("told")
    psql = [postgres.program("psql"), "-X", postgres.url("told")]
    bad = SQL.replace("comment on table public.videos", "comment on table public.nowhere")
    for text, fine in ((SQL, True), (bad, False), (SQL, True), (bad, False)):
        done = subprocess.run(psql, input=text, text=True, capture_output=True, timeout=60, check=False)
        assert (done.returncode == 0) == fine, done.stderr
