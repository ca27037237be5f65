"""Tables whose types and rules are not ours: each film is published, or the check had named the column."""

import json
import uuid
from typing import Any

import pytest

from ezrec.cli.tables import sql
from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.supabase import GENEROUS, ROLES

COURT = {"user_id": "u", "camera_id": "c"}
BOOKING = "6f1a2b3c-0000-4000-8000-000000000001"
WORDS = ("recording", "completed", "video_processed", "video_uploaded")
OURS = "'scheduled', 'recording', 'completed', 'video_processed', 'video_uploaded', 'failed'"
FITTED = {  # the film is published, whatever the columns can hold of it
    "whole seconds": "alter table videos alter duration_seconds type integer",
    "seconds as text": "alter table videos drop constraint videos_duration_seconds_check,"
                       " alter duration_seconds type text",
    "small files": "alter table videos alter file_size type integer, alter file_size drop not null",
    "a short name": "alter table videos alter filename type varchar(40)",
    "a short poster": "alter table videos alter poster_url type varchar(20)",
    "a day as a time stamp": "alter table videos alter date type timestamptz",
    "an instant without a zone": "alter table videos alter uploaded_at type timestamp",
    "a day as text": "alter table videos alter date type text",
    "a column of the venue's": "alter table videos add title text default 'untitled' not null",
    "ids of another kind": "alter table videos alter booking_id drop not null,"
                           " alter booking_id type uuid using null::uuid",
    "words as an enum": f"create type word as enum ({OURS}); alter table bookings drop constraint"
                        " bookings_status_check, alter status drop default, alter status type word using status::word",
    "an enum without our words": "create type word as enum ('scheduled'); alter table bookings drop constraint"
                                 " bookings_status_check, alter status drop default, alter status type word using"
                                 " status::word",
    "a check without our words": "alter table bookings add check (status in ('scheduled', 'cancelled'))",
    "a short word": "alter table bookings alter status type varchar(9)",
    "a trigger that objects": "create function no() returns trigger language plpgsql as $$ begin raise exception 'no';"
                              " end $$; create trigger no before update on bookings for each row execute function no()",
    "sizes as numbers": "alter table videos alter file_size type numeric(20, 0),"
                        " alter duration_seconds type numeric(8, 1)",
    "a narrow number": "alter table videos alter duration_seconds type numeric(4, 1),"
                       " alter duration_seconds drop not null",
    "a short status of the device": "alter table system_status alter last_error type varchar(20),"
                                    " alter throttled type varchar(4), alter version type varchar(2)",
    "whole percents": "alter table system_status alter cpu_percent type smallint, alter memory_mb type integer,"
                      " alter uptime_s type smallint",
    "no reason": "drop trigger ezrec_stamp_status on bookings; alter table bookings drop status_reason",
}
NAMED = {  # nobody could fit these; the check says so
    "a short key": ("videos.storage_path", "alter table videos alter storage_path type varchar(99)"),
    "a short address": ("videos.video_url", "alter table videos alter video_url type varchar(99)"),
    "a short id": ("videos.recording_id", "alter table videos alter recording_id type varchar(9)"),
    "short matches": ("videos.duration_seconds", "alter table videos add check (duration_seconds < 7200)"),
    "small files only": ("videos.file_size", "alter table videos alter file_size type integer"),
    "a rule for files": ("videos.file_size", "alter table videos add check (file_size < 2147483648)"),
    "a column that must be given": ("videos", "alter table videos add title text not null"),
    "an id of another kind": (
        "videos.recording_id",
        "drop table shared_links, ezrec_clips; alter table videos alter recording_id type uuid using null"),
    "a status that must be given": ("system_status", "alter table system_status add status text not null"),
    "a rule for courts": ("videos", "alter table videos add check (length(camera_id) > 4)"),
    "one film a day": ("videos", "create unique index one_a_day on videos (user_id, camera_id, date)"),
    "one film of a length": ("videos", "alter table videos add constraint lengths unique (duration_seconds)"),
    "a heartbeat's rule": ("system_status.memory_mb", "alter table system_status add check (memory_mb < 8000)"),
}


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    """A project with our tables, made once; each test works on a copy."""
    postgres.create("columns")
    postgres.run("columns", ROLES + GENEROUS + sql() + "insert into bookings (id, user_id, camera_id, start_time,"
                 f" end_time) values ('{BOOKING}', 'u', 'c', now(), now() + interval '1 h');")
    return "columns"


def altered(postgres: Postgres, database: str, how: str) -> str:
    """A copy of the project with other columns; its name."""
    name = f"columns {uuid.uuid4().hex}"
    postgres.run("postgres", f'create database "{name}" template {database}')
    postgres.run(name, how)
    return name


def problems(postgres: Postgres, name: str) -> dict[str, str]:
    rows = postgres.rows(name, "select * from ezrec_check(:'court')", court=json.dumps(COURT))
    return {row["about"]: row["remedy"] for row in rows}


def publish(postgres: Postgres, name: str) -> list[dict[str, Any]]:
    """Publish a film that is as large as they come."""
    video = COURT | {"recording_id": "20261120-1800", "booking_id": BOOKING, "storage_path": "k" * 400,
                     "video_url": "https://" + "v" * 400, "poster_url": "https://" + "p" * 400,
                     "duration_seconds": 86_399.6, "file_size": 9 << 30, "filename": "f" * 100, "date": "2026-11-20",
                     "uploaded_at": "2026-11-20T19:00:05.123+00:00"}
    return postgres.rows(name, "select * from publish_video(:'video')", video=json.dumps(video))


@pytest.mark.parametrize("how", FITTED)
def test_what_can_be_fitted_is_and_no_word_keeps_a_film_from_its_players(
        postgres: Postgres, database: str, how: str) -> None:
    name = altered(postgres, database, FITTED[how])
    before = postgres.rows(name, "select * from videos union all select * from videos")
    problems(postgres, name)
    assert postgres.rows(name, "select * from videos union all select * from videos") == before
    for word in WORDS:
        postgres.rows(name, f"select * from ezrec_tell(:'court', '{BOOKING}', '{word}')",
                      court=json.dumps(COURT))
    (film,) = publish(postgres, name)
    assert film["recording_id"] == "20261120-1800"


@pytest.mark.parametrize("how", NAMED)
def test_what_cannot_be_fitted_is_named_and_the_remedy_puts_it_right(
        postgres: Postgres, database: str, how: str) -> None:
    column, change = NAMED[how]
    name = altered(postgres, database, change)
    found = problems(postgres, name)
    assert set(found) == {column}, found
    if found[column].endswith(";"):
        postgres.run(name, found[column])
        assert problems(postgres, name) == {}
        assert len(publish(postgres, name)) == 1


@pytest.mark.parametrize("how", ["an enum without our words", "a check without our words", "a short word"])
def test_words_that_cannot_be_told_are_named(postgres: Postgres, database: str, how: str) -> None:
    name = altered(postgres, database, FITTED[how])
    assert set(problems(postgres, name)) == {"bookings.status"}
