"""The real program on a predecessor's project: a booking as its old page makes one is recorded, filmed, published, and
seen by what that page reads.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.cli.tables import sql
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.s3 import S3
from tests.fakes.cloud.supabase import Supabase
from tests.fakes.cloud_site import Cloud, CloudSite
from tests.fakes.site import LIMIT_S
from tests.fakes.waiting import wait_until

OLD = (Path(__file__).parents[1] / "cloud/old/predecessor.sql").read_text("utf-8")
OWNER, COURT = "6f1a2b3c-0000-4000-8000-0123456789ab", "7f1a2b3c-0000-4000-8000-000000000001"
WORDS = {"recording": "Recording", "completed": "RecordingFinished", "video_processed": "Processing",
         "video_uploaded": "Completed", "failed": "SkippedMissingFile"}
OPTIONS: dict[str, object] = {"camera_ids": ["0", ""], "status_words": WORDS}


@pytest.fixture
def project(postgres: Postgres, supabase: Supabase) -> Iterator[Supabase]:
    made = Supabase(postgres, OLD + sql() + sql())
    yield made
    made.end()


@pytest.mark.parametrize("device", [False, True])
def test_a_booking_of_the_old_page_is_filmed_and_seen_by_what_that_page_reads(
        tmp_path: Path, ministack: S3, project: Supabase, device: bool) -> None:
    with ExitStack() as stack:
        s3_net, supabase_net = ChaosProxy(ministack.endpoint), ChaosProxy(project.url)
        stack.callback(s3_net.end)
        stack.callback(supabase_net.end)
        site = CloudSite(tmp_path / "site", Cloud(ministack, project, s3_net, supabase_net))
        stack.callback(site.end)
        site.user, site.camera, site.device = OWNER, COURT, device
        site._token = project.device_token(OWNER, COURT, OPTIONS)
        site.configure(film={"intro": ""}, bookings={
            "camera_ids": ["0", "null"], "status_words": [f"{ours}={theirs}" for ours, theirs in WORDS.items()]})
        site.start()
        site.wait_said("ready")
        starts = datetime.now(UTC) + timedelta(seconds=9)
        (row,) = project.rows(
            "insert into bookings (user_id, date, start_time, end_time) values (:'user', :'date', :'starts', :'ends')"
            " returning id", user=OWNER, date=f"{starts:%Y-%m-%d}", starts=f"{starts:%H:%M:%S}",
            ends=f"{starts + timedelta(seconds=5):%H:%M:%S}")
        match = str(row["id"])
        site.wait_word(match, "Recording")
        (status,) = project.rows("select *, now() - last_heartbeat < interval '30 s' as fresh from system_status")
        assert (status["pi_active"], status["fresh"]) == (True, True)
        assert int(str(status["storage_used"])) > 0
        site.wait_stage(match, "cleaned")
        wait_until(lambda: not site.outbox(match), LIMIT_S, "all to be told")
        assert site.words(match) == ["Recording", "RecordingFinished", "Processing", "Completed"]
        (film,) = site.videos(match)
        assert (film["user_id"], film["booking_id"], film["duration_seconds"]) == (OWNER, match, 5)
        assert site.objects()[film["storage_path"]] == film["file_size"]
        (camera,) = project.rows("select *, now() - last_seen < interval '30 s' as fresh from cameras")
        assert (camera["status"], camera["fresh"]) == ("online", True)
        assert site.stop() == 0
        assert [line for line in site.lines if line.get("level") in ("error", "critical")] == []
