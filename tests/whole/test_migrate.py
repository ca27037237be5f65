"""The real program after `ezrec migrate`: what the predecessor left unfinished is published, each film once."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import av
import pytest

from tests.fakes.cloud_site import MakeSite
from tests.fakes.predecessor import Predecessor, machine
from tests.fakes.site import LIMIT_S, Site
from tests.fakes.waiting import wait_until


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predecessor:
    for name, value in machine(tmp_path / "machine").items():
        monkeypatch.setenv(name, value)
    return Predecessor(tmp_path / "old")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site")
    with ExitStack() as stack:
        stack.callback(made.end)
        yield made


def length_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return float((container.duration or 0) / 1e6)


def test_unfinished_recordings_are_published_once_though_it_is_run_and_migrated_again(
        old: Predecessor, site: Site) -> None:
    old.session("both", 10, 3)
    old.pair(11, "done", "merged", "merge_error", merged=True, booking_id="pair", user_id="u-1")
    old.pending("waiting")
    old.media()
    old.aged()
    before = old.state()
    for times in (1, 2):
        site.command("migrate", str(old.folder), "--yes")
        site.start()
        site.wait_said("ready", times)
        for booking in ("both", "pair", "waiting"):
            site.wait_stage(booking, "cleaned")
        assert site.stop() == 0
    assert len(site.films_in_library()) == 3
    assert {row["booking_id"]: row["n"] for row in site.rows(
        "SELECT booking_id, count(*) AS n FROM video GROUP BY booking_id")} == {"both": 1, "pair": 1, "waiting": 1}
    lengths = {path.stem: length_s(path) for path in site.films_in_library()}
    assert lengths == pytest.approx({"both": 4, "pair": 3, "waiting": 3}, abs=0.2)  # a second of intro before two
    film = site.film("both")
    assert film is not None
    assert {camera: part["filled_ticks"] for camera, part in film["certificate"]["cameras"].items()} == {
        "left": 0, "right": 0}
    waiting = site.film("waiting")
    assert waiting is not None
    original = old.folder / "processed" / f"{old.day:%Y-%m-%d}" / "film.mp4"
    assert (site.library / waiting["object_key"]).read_bytes() == original.read_bytes()
    assert waiting["certificate"]["notes"] == ["the predecessor made this film; it was taken as it was"]
    assert old.state() == before
    assert [line for line in site.lines if line.get("level") in ("error", "critical")] == []
    site.check_no_leftovers()


def test_what_the_project_has_a_row_of_is_not_published_again(old: Predecessor, new_cloud_site: MakeSite) -> None:
    site = new_cloud_site()
    known, named, fresh = site.id("known"), site.id("named"), site.id("fresh")
    project = site.cloud.supabase
    old.session(known, 10)
    (raw,) = old.pair(11, names=("Goal_Left",))
    old.session(fresh, 12)
    for booking in (known, named, fresh):
        site.book_at(booking, old.day.replace(hour=12).timestamp(), old.day.replace(hour=12).timestamp() + 2,
                     "Uploading")
    for booking, recording in ((known, "somewhere"), (named, raw.stem)):
        project.run("insert into videos (booking_id, recording_id, user_id, camera_id, storage_path, video_url,"
                    " filename, duration_seconds, file_size, date, uploaded_at) values (:'b', :'r', :'u', 'c',"
                    " 'old/' || :'r', 'https://x.example', :'r' || '.mp4', 2, 9, '2026-01-01', now())",
                    b=booking, r=recording, u=site.user)
    old.dotenv(f"SUPABASE_SERVICE_ROLE_KEY={project.service_key}\nUSER_ID=other\nTIMEZONE_NAME=Europe/Berlin\n"
               "CAMERA_0_NAME=Goal_Left\n")
    old.aged()
    site.supabase_net.refuse()
    said = site.command("migrate", str(old.folder), "--yes", status=1)
    assert "it is not known which of them are published" in said
    assert site.rows("SELECT * FROM film") == []
    site.heal()
    said = site.command("migrate", str(old.folder), "--yes")
    assert project.service_key not in said
    assert [row["booking_id"] for row in site.rows("SELECT booking_id FROM film")] == [fresh]
    site.start()
    site.wait_stage(fresh, "cleaned")
    wait_until(lambda: not site.outbox(fresh), LIMIT_S, "all to be told")
    assert site.stop() == 0
    assert {booking: len(site.videos(booking)) for booking in (known, named, fresh)} == {known: 1, named: 1, fresh: 1}
    assert [len(site.objects(booking)) for booking in (known, named)] == [0, 0]
    assert site.booking(fresh)["status"] == "video_uploaded"
