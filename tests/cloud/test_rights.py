"""Who may do what in a project: tried with every role, on every table, function and verb that its catalogue lists.

What is granted where is read from the catalogue, so that a table or function that is added later cannot be forgotten:
it has to be entered here. Then the doors are tried, through PostgREST's answers, by those who should find them closed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ezrec.cli.tables import sql
from ezrec.domain.errors import EzrecError
from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.supabase import GENEROUS, ROLES
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import Venue

OLD = Path(__file__).with_name("old")
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
STRANGERS = ("anon", "authenticated")
OURS = {"bookings", "videos", "system_status", "user_settings", "shared_links", "ezrec_devices", "ezrec_marks",
        "ezrec_clips"}
DEVICE = {"ezrec_version", "ezrec_check", "ezrec_bookings", "ezrec_beat", "ezrec_tell", "ezrec_booking_put",
          "ezrec_booking_cancel", "publish_video", "ezrec_videos", "ezrec_settings", "ezrec_mark_put", "ezrec_clip_put",
          "ezrec_erase", "ezrec_link_make", "ezrec_link_revoke"}
SECRET = {"ezrec_device_add", "ezrec_device_list", "ezrec_device_revoke", "ezrec_fleet"}
ANYBODY = {"ezrec_link_seen"}
TRIGGERS = {"ezrec_stamp_status", "ezrec_stamp_row"}
CLOSED = """
create table bookings (id text primary key, user_id text, camera_id text, start_time timestamptz, end_time timestamptz,
  status text);
create table videos (id bigint generated always as identity primary key, user_id text, booking_id text);
create table system_status (user_id text, camera_id text, primary key (user_id, camera_id));
revoke all on bookings, videos, system_status from anon, authenticated;
"""
GRANTS = """select role, relname as name, verb from pg_class, unnest(array['anon', 'authenticated', 'ezrec_device',
    'service_role']) as role, unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
    as verb
  where relkind in ('r', 'v', 'm', 'p', 'f')
    and relnamespace in (select oid from pg_namespace where nspname in ('public', 'ezrec'))
    and (has_table_privilege(role, pg_class.oid, verb)
         or verb in ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
            and has_any_column_privilege(role, pg_class.oid, verb))"""
CALLS = """select role, proname as name, nspname as schema
  from pg_proc join pg_namespace on pg_namespace.oid = pronamespace,
    unnest(array['anon', 'authenticated', 'ezrec_device', 'service_role']) as role
  where nspname in ('public', 'ezrec') and has_function_privilege(role, pg_proc.oid, 'EXECUTE')"""
PROJECTS = {"fresh": "", "closed": CLOSED, "0.1.0": (OLD / "0.1.0.sql").read_text("utf-8"),
            "0.1.0 over closed": CLOSED + (OLD / "0.1.0.sql").read_text("utf-8"),
            "predecessor": (OLD / "predecessor.sql").read_text("utf-8")}
LEFT_OPEN = {  # by others, before us: named, and left as it is
    "0.1.0 over closed": {"bookings", "videos", "system_status"},
    "predecessor": {"bookings", "videos", "system_status", "user_settings", "shared_links", "cameras", "recordings",
                    "popular_videos"},
}


def granted(rows: Callable[[str], list[dict[str, Any]]]) -> set[tuple[str, str, str]]:
    return {(row["role"], row["name"], row["verb"]) for row in rows(GRANTS)}


def project(postgres: Postgres, name: str, before: str) -> tuple[str, Callable[[str], list[dict[str, Any]]]]:
    """A database with a project's tables; its name, and what reads it."""
    database = f"rights {name}"
    postgres.create(database)
    postgres.run(database, ROLES + GENEROUS + before)
    return database, lambda text: postgres.rows(database, text)


@pytest.mark.parametrize("name", PROJECTS)
def test_nobody_may_do_anything_that_is_not_listed_here(postgres: Postgres, name: str) -> None:
    database, rows = project(postgres, name, PROJECTS[name])
    before = granted(rows) if rows("select 1 as n from pg_roles where rolname = 'ezrec_device'") else set()
    postgres.run(database, sql())
    tables = {row["n"] for row in rows("select relname as n from pg_class where relkind in ('r', 'v')"
                                       " and relnamespace = 'public'::regnamespace")}
    assert tables - LEFT_OPEN.get(name, set()) <= OURS, "a new table: who may do what with it?"
    now = granted(rows)
    strangers = {one for one in now if one[0] != "service_role"}
    assert {one[1] for one in strangers} <= LEFT_OPEN.get(name, set()), "open to strangers"
    assert not {one for one in strangers if one[0] == "ezrec_device"}, "a device reaches no table"
    assert strangers <= before or not before
    assert {(table, verb) for role, table, verb in now if role == "service_role"} >= {
        (table, verb) for table in OURS for verb in VERBS[:4]}

    functions = {row["n"] for row in rows(
        "select proname as n from pg_proc where pronamespace = 'public'::regnamespace")} - {"cleanup_expired_links"}
    assert functions == DEVICE | SECRET | ANYBODY | TRIGGERS, "a new function: who may call it?"
    calls = {(row["role"], row["name"]) for row in rows(CALLS) if row["name"] != "cleanup_expired_links"}
    wanted = {("anon", one) for one in (*ANYBODY, "count_view")} | {("ezrec_device", one) for one in DEVICE} | {
        ("service_role", one) for one in (*DEVICE, *SECRET, *ANYBODY, "count_view")}
    assert calls == wanted
    loose = rows("select proname as n from pg_proc join pg_namespace on pg_namespace.oid = pronamespace"
                 " where nspname in ('public', 'ezrec') and proname <> 'cleanup_expired_links' and not"
                 " coalesce(proconfig, '{}') @>"
                 " array['search_path=\"\"']")
    assert loose == [], "a function without a search path of its own"


def test_what_version_0_1_0_granted_is_withdrawn_but_not_what_the_venues_own_policies_need(
        postgres: Postgres) -> None:
    own = "create policy players on videos for select to authenticated using (user_id = 'me');"
    database, rows = project(postgres, "own policy", PROJECTS["0.1.0"] + own)
    postgres.run(database, sql())
    assert {one for one in granted(rows) if one[0] in STRANGERS} == {("authenticated", "videos", "SELECT")}
    assert [row["p"] for row in rows("select policyname as p from pg_policies")] == ["players"]


def test_what_is_open_is_named_with_statements_that_close_it_and_nothing_of_it_is_changed(
        postgres: Postgres) -> None:
    database, rows = project(postgres, "named", PROJECTS["predecessor"])
    policies = "select tablename as t, policyname as p from pg_policies order by t, p"
    before = rows(policies)
    postgres.run(database, sql())
    assert rows(policies) == before
    found = rows("select * from ezrec.open_doors()")
    assert {row["about"] for row in found} == LEFT_OPEN["predecessor"] - {"videos"}
    for row in found:
        postgres.run(database, row["remedy"])
    assert rows("select * from ezrec.open_doors()") == []
    anon = {one for one in granted(rows) if one[0] == "anon"}
    assert {one[1] for one in anon} <= {"bookings", "videos", "popular_videos"}  # no policy lets anon in


@pytest.mark.parametrize("generous", [True, False])
async def test_strangers_and_players_find_every_door_closed(
        new_supabase: Callable[..., Project], generous: bool) -> None:
    """As the catalogue says, so PostgREST answers: each table is asked for and written, each function called."""
    project = new_supabase(sql(), generous=generous)
    venue = Venue(project)
    venue.book(venue.id("b"))
    strangers = {"anon": {"key": SecretStr(project.publishable_key)},
                 "player": {"device": True, "device_token": SecretStr(project.player_jwt())}}
    court = {"user_id": venue.user, "camera_id": venue.camera}
    arguments: dict[Any, dict[str, Any]] = {
        row["n"]: {one: court if one == "court" else None for one in row["a"] or []}  # type: ignore[attr-defined]
        for row in project.rows(
            "select proname as n, proargnames[1:pronargs] as a from pg_proc"
            " where pronamespace = 'public'::regnamespace")}
    for who, how in strangers.items():
        async with venue.client(**how) as client:  # type: ignore[arg-type]
            for table in OURS:
                for build in (lambda one, t=table: one.table(t).select("*"),
                              lambda one, t=table: one.table(t).insert({"user_id": "x"}),
                              lambda one, t=table: one.table(t).update({"user_id": "x"}).eq("user_id", venue.user),
                              lambda one, t=table: one.table(t).delete().eq("user_id", venue.user)):
                    with pytest.raises(EzrecError, match="permission denied"):
                        await client.rows(f"{who} {table}", build)
            for name in DEVICE | SECRET:
                with pytest.raises(EzrecError, match="permission denied"):
                    await client.rows(f"{who} {name}", lambda one, n=name: one.rpc(n, arguments[n]))
    async with venue.client(device=True) as device:
        for table in OURS:
            with pytest.raises(EzrecError, match="permission denied"):
                await device.rows(f"device {table}", lambda one, t=table: one.table(t).select("*"))
        for name in SECRET:
            with pytest.raises(EzrecError, match="permission denied"):
                await device.rows(f"device {name}", lambda one, n=name: one.rpc(n, arguments[n]))


def test_anybody_counts_a_links_views_and_learns_nothing_but_whether_it_holds(postgres: Postgres) -> None:
    database, rows = project(postgres, "links", PROJECTS["predecessor"])
    postgres.run(database, sql())
    token = "encode(sha256('0123456789abcdef0123456789abcdef'), 'hex')"
    as_anon = "set role anon; select ezrec_link_seen({}); select ezrec_link_seen({}, true); reset role;"
    assert postgres.run(database, as_anon.format(token, token)).split() == ["t", "t"]
    assert postgres.run(database, as_anon.format("repeat('0', 64)", "''")).split() == ["f", "f"]
    (link,) = rows("select * from shared_links")
    assert (link["views"], link["downloads"], link["access_count"]) == (1, 1, 1)
    postgres.run(database, "update shared_links set revoked = true")  # as an old page does
    assert postgres.run(database, as_anon.format(token, token)).split() == ["f", "f"]


STORAGE = """
create schema storage;
create table storage.objects (id uuid default gen_random_uuid(), bucket_id text, name text);
alter table storage.objects enable row level security;
"""


def test_a_device_puts_its_logs_below_its_own_folder_and_nowhere_else(postgres: Postgres) -> None:
    database, rows = project(postgres, "logs", STORAGE)
    postgres.run(database, sql())
    (device,) = rows("select * from ezrec_device_add('{\"user_id\": \"u\", \"camera_id\": \"c1\"}')")
    claims = json.dumps({"role": "ezrec_device", "sub": device["id"]})
    put = (f"select set_config('request.jwt.claims', '{claims}', false); set role ezrec_device;"
           " insert into storage.objects (bucket_id, name) values (:'bucket', :'name');")
    postgres.run(database, put, bucket="logs", name="c1/2026-11-20.log")
    for bucket, name in (("logs", "c2/x.log"), ("films", "c1/x.log"), ("logs", "c1"), ("logs", "x.log")):
        with pytest.raises(AssertionError, match="row-level security"):
            postgres.run(database, put, bucket=bucket, name=name)
    with pytest.raises(AssertionError, match="permission denied"):
        postgres.run(database, put + "select * from storage.objects;", bucket="logs", name="c1/y.log")
    postgres.run(database, "update ezrec_devices set revoked_at = now()")
    with pytest.raises(AssertionError, match="was revoked"):
        postgres.run(database, put, bucket="logs", name="c1/z.log")
