"""The SQL of the project's tables: what it makes, what it leaves alone, and who may do what afterwards."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import fields
from importlib import resources
from typing import Any

import pytest
from pydantic import SecretStr

from ezrec.domain.errors import CredentialError, Refused
from ezrec.domain.messages import Video
from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import Venue

SQL = resources.files("ezrec.adapters.supabase").joinpath("tables.sql").read_text("utf-8")
DEVICE_TABLES = ("bookings", "videos", "system_status", "shared_links")
TABLES = {*DEVICE_TABLES, "user_settings"}
SHAPE = """select table_name as t, column_name as c, data_type as d, is_nullable as n, column_default as f
  from information_schema.columns where table_schema = 'public' order by t, c"""
INDICES = "select indexdef as i from pg_indexes where schemaname = 'public' order by i"
POLICIES = "select tablename as t, policyname as p, cmd as c, qual as q from pg_policies order by t, p"


def everything(rows: Callable[[str], list[dict[str, Any]]]) -> list[Any]:
    return [rows(sql) for sql in (SHAPE, INDICES, POLICIES)]


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
    assert not supabase.rows("select proname from pg_proc where pronamespace = 'public'::regnamespace"
                             " and obj_description(oid) is null")
    dumb = supabase.rows("select attrelid::regclass::text || '.' || attname as name from pg_attribute"
                         " where attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace"
                         "  and relkind = 'r') and attnum > 0 and col_description(attrelid, attnum) is null")
    assert {row["name"] for row in dumb} == {"bookings.created_at", "videos.id", "videos.created_at",
                                             "shared_links.created_at"}  # whose names say it


def test_a_video_has_a_column_for_each_of_its_fields(supabase: Project) -> None:
    columns = {row["c"] for row in supabase.rows(SHAPE) if row["t"] == "videos"}
    assert {one.name for one in fields(Video)} <= columns


@pytest.mark.parametrize("generous", [True, False])
def test_row_level_security_is_on_for_what_was_made_whatever_the_project_grants_by_itself(
        new_supabase: Callable[..., Project], generous: bool) -> None:
    project = new_supabase(SQL, generous=generous)
    grants = project.rows("select relname as name, relrowsecurity as secure, has_table_privilege('anon', oid,"
                          " 'select,insert,update,delete') as anon, has_table_privilege('authenticated', oid, 'delete')"
                          " as gone, has_table_privilege('authenticated', oid, 'update') as change,"
                          " has_table_privilege('service_role', oid, 'delete') as service from pg_class"
                          " where relnamespace = 'public'::regnamespace and relkind = 'r'")
    assert {row["name"] for row in grants} == TABLES
    for row in grants:
        assert (row["secure"], row["anon"], row["gone"], row["service"]) == (True, False, False, True)
        assert row["change"] == (row["name"] in {"videos", "system_status", "shared_links"})
    assert project.rows("select has_function_privilege('anon', 'publish_video(jsonb,text[])', 'execute') as may") == [
        {"may": False}]


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
    assert {row["name"] for row in secure} == {"user_settings", "shared_links"}

    venue = Venue(project, "6f1a2b3c-0000-4000-8000-0123456789ab")
    booking = "6f1a2b3c-0000-4000-8000-000000000001"
    async with venue.client(device=True) as client:
        await venue.publisher(client).publish(venue.video(booking))
        await venue.publisher(client).publish(venue.video(booking))
        await client.upsert("system_status", {"user_id": venue.user, "camera_id": "c1", "version": "2"},
                            "user_id,camera_id")
    assert [row["recording_id"] for row in venue.videos()] == [f"{booking}-0", None]
    assert venue.booking(booking)["status"] == "video_uploaded"
    assert len(project.rows("select * from system_status")) == 1


def test_doubles_that_forbid_a_key_are_named_and_nothing_is_changed(postgres: Postgres) -> None:
    postgres.create("doubles")
    postgres.run("doubles", OLDER + "insert into videos (booking_id) select booking_id from videos;")

    def rows(sql: str) -> list[dict[str, Any]]:
        return postgres.rows("doubles", sql)

    before = everything(rows)
    with pytest.raises(AssertionError, match=r"videos_booking_id_key[\s\S]*is duplicated"):
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


def row_of(table: str, venue: Venue, name: str) -> dict[str, object]:
    own: dict[str, object] = {"user_id": venue.user, "camera_id": venue.camera}
    return own | {
        "bookings": {"id": venue.id(name), "start_time": "2026-11-20T18:00Z", "end_time": "2026-11-20T19:00Z"},
        "videos": vars(venue.video(venue.id(name))),
        "system_status": {"version": name},
        "shared_links": {"token_hash": f"{uuid.uuid4().int:064x}", "recording_id": venue.id(name) + "-0"},
    }[table]


async def test_a_devices_jwt_reaches_its_own_rows_and_no_others(supabase: Project) -> None:
    mine, other = Venue(supabase), Venue(supabase)
    neighbour = Venue(supabase, mine.user, "c2")
    courts = ((mine, "b"), (other, "b"), (neighbour, "n"))
    async with mine.client() as service:
        for table in DEVICE_TABLES:
            for venue, name in courts:
                row = row_of(table, venue, name)
                await service.rows("put", lambda client, t=table, r=row: client.table(t).insert(r))
    async with mine.client(device=True) as device:
        for table in DEVICE_TABLES:
            seen = await device.rows("read", lambda client, t=table: client.table(t).select("user_id,camera_id"))
            assert seen == [{"user_id": mine.user, "camera_id": mine.camera}]
            for venue in (other, neighbour):
                with pytest.raises(Refused) as caught:
                    await device.rows("put", lambda client, t=table, v=venue: client.table(t).insert(row_of(t, v, "x")))
                assert caught.value.code == "42501"
            with pytest.raises(Refused) as caught:
                await device.rows("drop", lambda client, t=table: client.table(t).delete().eq("user_id", mine.user))
            assert caught.value.code == "42501"
        for booking in (other.id("b"), neighbour.id("n")):
            assert await device.patch("bookings", {"status": "recording"}, {"id": booking}) == []
    assert [row["status"] for row in supabase.rows(
        "select status from bookings where user_id in (:'a', :'b')", a=mine.user, b=other.user)] == ["scheduled"] * 3


@pytest.mark.parametrize("claims", [{}, {"user_id": "x"}, {"camera_id": "c1"}, {"user_id": None, "camera_id": None},
                                    {"user_id": ["x"], "camera_id": "c1"}])
async def test_a_logged_in_player_without_a_devices_claims_reaches_nothing_of_ours(
        supabase: Project, claims: dict[str, object]) -> None:
    venue = Venue(supabase, "x")
    venue.book(str(uuid.uuid4()))
    async with venue.client(device=True, device_token=SecretStr(supabase.device_jwt(**claims))) as player:
        for table in TABLES:
            assert await player.rows("read", lambda client, t=table: client.table(t).select("user_id")) == []


async def test_nobody_without_a_credential_of_his_own_reaches_anything(supabase: Project) -> None:
    venue = Venue(supabase)
    async with venue.client(key=SecretStr(supabase.publishable_key)) as anonymous:
        for table in TABLES:
            with pytest.raises(CredentialError, match="permission denied"):
                await anonymous.rows("read", lambda client, t=table: client.table(t).select("user_id"))
        with pytest.raises(CredentialError, match="permission denied"):
            await venue.publisher(anonymous).publish(venue.video("b"))


def test_the_command_prints_sql_that_runs(postgres: Postgres) -> None:
    done = subprocess.run([sys.executable, "-m", "ezrec", "tables"], capture_output=True, text=True, timeout=60,
                          check=True)
    assert done.stdout.endswith(SQL)
    assert 'ezrec tables | psql -v ON_ERROR_STOP=1 "$DATABASE_URL"' in done.stdout
    postgres.create("by_command")
    postgres.run("by_command", done.stdout)
    assert len(postgres.rows("by_command", "select 1 as one from pg_tables where schemaname = 'public'")) == len(TABLES)
