"""What looks see of a bucket and of a Supabase project, on real servers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ezrec.actions import checks
from ezrec.actions.checks import Grade, Surroundings, clock, project, storage
from ezrec.cli.tables import sql
from tests.fakes.clocks import MadeUpClock
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.faults import S3_BAD_KEY, S3_DENIED
from tests.fakes.cloud.s3 import S3
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.machine import Machine

OWNER = "6f1a2b3c-0000-4000-8000-0123456789ab"
SITE = {"user_id": OWNER, "camera_id": "court-1"}


def bucket_of(machine: Machine, server: S3, bucket: str, endpoint: str = "") -> Surroundings:
    return machine.around(site=SITE, storage={"kind": "s3"}, s3={
        "endpoint": endpoint or server.endpoint, "bucket": bucket, "access_key_id": server.key,
        "secret_access_key": server.secret})


def project_of(machine: Machine, project: Project, **more: Any) -> Surroundings:
    return machine.around(site=SITE, bookings={"source": "supabase"}, publishing={"kind": "supabase"},
                          supabase={"url": project.url, "key": project.service_key} | more)


# ---- the bucket


async def test_a_bucket_that_takes_films_is_fine_and_nothing_stays_there(machine: Machine, any_s3: S3) -> None:
    bucket = any_s3.make_bucket()
    (found,) = await storage.storage(bucket_of(machine, any_s3, bucket))
    assert found.grade is Grade.OK, found
    assert any_s3.objects(bucket) == {}
    assert any_s3.kind == "rclone" or any_s3.unfinished(bucket) == []


@pytest.mark.parametrize(("right", "method", "target", "grade"), [
    ("s3:ListBucket", "GET", "list-type=2", "bad"), ("s3:ListBucketMultipartUploads", "GET", "uploads", "bad"),
    ("s3:PutObject", "PUT|POST", "", "bad"), ("s3:GetObject", "GET", r"^[^?]*\.txt(\?x-id=GetObject)?$", "bad"),
    ("s3:ListMultipartUploadParts", "GET", "uploadId=", "bad"),
    ("s3:AbortMultipartUpload", "DELETE", "uploadId=", "bad"),
    ("s3:DeleteObject", "DELETE", r"\.txt(\?x-id=DeleteObject)?$", "warning")])
async def test_the_right_that_is_missing_is_named_and_nothing_stays_there(
        machine: Machine, ministack: S3, bucket: str, s3_net: ChaosProxy, right: str, method: str, target: str,
        grade: str) -> None:
    for one in method.split("|"):
        s3_net.answer(S3_DENIED, method=one, target=target or None)
    found = await storage.storage(bucket_of(machine, ministack, bucket, s3_net.url))
    said = [(str(one.grade), right in one.problem, right in one.remedy) for one in found]
    assert said == [(grade, True, True)], found
    assert ministack.objects(bucket) == {}
    assert ministack.unfinished(bucket) == []


async def test_a_wrong_key_a_missing_bucket_and_no_network_are_one_sentence_each(
        machine: Machine, ministack: S3, bucket: str, s3_net: ChaosProxy) -> None:
    fault = s3_net.answer(S3_BAD_KEY)
    (wrong,) = await storage.storage(bucket_of(machine, ministack, bucket, s3_net.url))
    assert "check the access key" in wrong.words
    assert fault.hits <= 3
    (missing,) = await storage.storage(bucket_of(machine, ministack, "no-such-bucket"))
    assert "make the bucket, or correct s3.bucket" in missing.words
    (away,) = await storage.storage(bucket_of(machine, ministack, bucket, "http://127.0.0.1:9"))
    assert {one.grade for one in (wrong, missing, away)} == {Grade.BAD}
    assert ministack.secret not in str((wrong, missing, away))


# ---- the clock


@pytest.mark.parametrize(("off_s", "grade", "words"), [
    (0, "ok", "less than 2 s"), (20, "warning", "s ahead"), (-3600, "bad", "s behind")])
async def test_the_clock_is_held_against_the_clouds(
        machine: Machine, ministack: S3, bucket: str, off_s: float, grade: str, words: str) -> None:
    around = bucket_of(machine, ministack, bucket)
    now = checks.SystemClock().wall_us() / 1_000_000
    (found,) = await clock.skew(replace(around, clock=MadeUpClock(10, now + off_s)))
    assert (str(found.grade), words in found.words) == (grade, True), found
    assert abs(found.facts["skew_s"] - off_s) < 2


async def test_without_a_cloud_or_without_network_the_clock_is_compared_with_nothing(machine: Machine) -> None:
    assert await clock.skew(machine.around()) == []
    (found,) = await clock.skew(machine.around(supabase={"url": "http://127.0.0.1:9"}))
    assert (found.grade, "127.0.0.1:9" in found.words) == (Grade.WARNING, True)


# ---- the project


async def test_a_project_that_fits_is_fine(machine: Machine, new_supabase: Callable[..., Project]) -> None:
    (found,) = await project.project(project_of(machine, new_supabase(sql())))
    assert found.grade is Grade.OK, found
    assert await project.project(machine.around()) == []


async def test_a_project_that_is_away_refuses_the_key_or_lacks_the_tables_is_told(
        machine: Machine, new_supabase: Callable[..., Project]) -> None:
    made = new_supabase(sql())
    (away,) = await project.project(project_of(machine, made, url="http://127.0.0.1:9"))
    (key,) = await project.project(project_of(machine, made, key="x.y.z"))
    lacking = await project.project(project_of(machine, new_supabase("")))
    assert [one.grade for one in (away, key, *lacking)] == [Grade.BAD] * (2 + len(lacking))
    assert "supabase.url" in away.remedy
    assert "supabase.key" in key.remedy
    assert "`ezrec tables`" in lacking[0].remedy


ROWS = f"""
  insert into system_status (user_id, camera_id) values ('{OWNER}', 'court-2');
  insert into bookings (id, user_id, camera_id, start_time, end_time, status) values
    ('twice-1', '{OWNER}', 'court-1', now() + '1 h', now() + '2 h', 'scheduled'),
    ('twice-2', '{OWNER}', 'court-1', now() + '1 h', now() + '2 h', 'confirmed'),
    ('off', '{OWNER}', 'court-1', now() + '1 h', now() + '2 h', 'cancelled'),
    ('other', '{OWNER}', 'court-2', now() + '1 h', now() + '2 h', 'scheduled'),
    ('past', '{OWNER}', 'court-9', now() - '2 h'::interval, now() - '1 h'::interval, 'scheduled'),
    ('lost', '{OWNER}', 'court-9', now() + '3 h', now() + '4 h', 'scheduled');
  insert into videos (recording_id, booking_id, user_id, camera_id, storage_path, video_url, duration_seconds,
      file_size, filename, date, uploaded_at) values
    ('r1', 'twice-1', '{OWNER}', 'court-1', 'a', 'a', 1, 1, 'a', '2026-11-20', now() - '1 h'::interval),
    ('r2', 'twice-2@20261120T180000Z', '{OWNER}', 'court-1', 'a', 'a', 1, 1, 'a', '2026-11-20', now()),
    ('r3', 'gone', '{OWNER}', 'court-1', 'b', 'b', 1, 1, 'b', '2026-11-20', now()),
    ('r4', 'gone', '{OWNER}', 'court-2', 'b', 'b', 1, 1, 'b', '2026-11-20', now());
  do $$ declare one record; begin
    for one in select conname from pg_constraint where conrelid = 'shared_links'::regclass and contype = 'f' loop
      execute format('alter table shared_links drop constraint %I', one.conname);
    end loop; end $$;
  insert into shared_links (token_hash, user_id, camera_id, recording_id) values
    (repeat('a', 64), '{OWNER}', 'court-1', 'r3'), (repeat('b', 64), '{OWNER}', 'court-1', 'r9'),
    (repeat('c', 64), '{OWNER}', 'court-2', 'r8')"""


@pytest.mark.parametrize("device", [False, True])
async def test_rows_that_are_there_twice_or_point_nowhere_are_told_with_the_sql_that_puts_them_right(
        machine: Machine, new_supabase: Callable[..., Project], device: bool) -> None:
    made = new_supabase(sql())
    made.run(ROWS)
    around = project_of(machine, made)
    if device:
        around = project_of(machine, made, key=made.publishable_key,
                            device_token=made.device_token(OWNER, "court-1"))
    found = await project.project(around)
    assert {one.grade for one in found} == {Grade.WARNING}, found
    assert [one.words.partition(":")[0] for one in found] == [
        "1 of this court's films stand there twice", "1 of this court's films name a booking that is not there",
        "1 of this court's links lead to films that are not there",
        "the bookings twice-1, twice-2 are for the same time",
        "no box reports for the court court-9, so nobody records its bookings ahead"], found
    for one in found:
        made.run(one.remedy[one.remedy.index(first_word(one.remedy)):])
    films = made.rows("select recording_id from videos order by 1")
    assert [one["recording_id"] for one in films] == ["r2", "r3", "r4"]
    assert [one["id"] for one in made.rows("select id from bookings where id like 'twice%'")] == ["twice-1"]
    (left,) = await project.project(around)
    assert "name a booking that is not there" in left.words
    assert left.words.startswith("2 of")  # twice-2 went, and its film stays


def first_word(remedy: str) -> str:
    """Where the SQL of a remedy begins."""
    return next((word for word in ("delete from", "update public", "select recording_id") if word in remedy), "")
