"""Makes the data folders of version 0.1.0 that test_upgrade.py lets the program of today go on with.

    PYTHONPATH=<checkout of version 0.1.0> python tests/whole/old/make.py

The real old program records simulated cameras and is killed with SIGKILL. Each folder below `0.1.0/` is packed just as
the kill left it, its database with the write-ahead log; only the log files, the lock and SQLite's index of the
write-ahead log are left out.

- `recording`: the film `recording` is in mid-window, in its second generation and on its second run. It has an intro
  and a logo, chunks that are rendered and one that is only planned, a growing film file, and segments without a row.
  The film `parked` is finished, but another object lay at its key.
- `rendered`: the film `rendered` is closed, and nothing of it is stored.
- `uploading`: the film `uploading` is closed, and one of its two parts is confirmed in a library that takes no links.
- `uploaded`: the film `uploaded` is stored; its row and its statuses wait in the outbox. Its booking is Supabase's.

They are made in `MADE_IN`, where the paths in their recipes lead to, by a clock that says `MADE_AT` at first.
"""

import shutil
import sqlite3
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ezrec import __version__
from ezrec.store import VERSION
from tests.fakes.site import LIMIT_S, ROOT, Site
from tests.fakes.waiting import wait_until
from tests.whole.torture import brand

RELEASE, SCHEMA = "0.1.0", 2
HERE = Path(__file__).parent / RELEASE
KILLER = Path(__file__).parents[2] / "fakes" / "killer"
MADE_IN = "/tmp/ezrec-0.1.0"
MADE_AT = datetime(2024, 6, 1, 18, tzinfo=UTC)  # long ago on every machine that runs the tests
AHEAD_S = MADE_AT.timestamp() - time.time()
LEFT_OUT = ("logs", "ezrec.lock", "ezrec.db-shm")

CAMERAS = {"fps": 15, "width": 192, "height": 108, "bitrate": 100_000, "preflight_s": 60}
FILM = {"crf": 36, "maxrate": 250_000, "bufsize": 500_000}
RESERVE_KB = 5632  # more than the 5 MiB of a part: a short film has two parts, and what fills them packs to nothing


def make_recording(folder: Path) -> None:
    """A film in mid-window, and one that is parked since the life before."""
    site = Site(folder, cameras=CAMERAS, film=FILM | brand(folder / "brand"))
    try:
        _start(site)
        _book(site, "parked", 2.5, 5)
        starts, ends = _book(site, "recording", 14, 34)  # far enough ahead for a pre-flight
        _occupy(site, "parked")
        site.wait_said("film parked", booking="parked")
        site.wait_said("chunk joined", booking="recording", chunk=2)
        site.book_at("recording", starts - 0.4, ends + 2)
        site.wait_said("film begun again", booking="recording")
        site.wait_said("chunk joined", booking="recording", chunk=4)
        site.kill()
        _run_until_killed(site, "rendering chunk", booking="recording", nth=4)
        film = _film(site, "recording", "recording")
        assert film["generation"] == 2
        states = {row["state"] for row in site.rows("SELECT state FROM chunk WHERE generation = 2")}
        assert states == {"planned", "rendered"}
        known = {row["path"] for row in site.rows("SELECT path FROM segment")}
        assert {str(path.relative_to(site.data)) for path in site.data.glob("segments/*/*/*.ts")} - known
        assert (site.data / f"films/{film['recording_id']}/film-2.mp4").exists()
        assert _film(site, "parked", "rendered")["parked_step"] == "upload"
    finally:
        site.end()


def make_rendered(folder: Path) -> None:
    """A film that is closed and not stored."""
    site = Site(folder, cameras=CAMERAS, film=FILM)
    try:
        _run_until_killed(site, "step taken", to="rendered", book="rendered")
        _film(site, "rendered", "rendered")
        assert not site.films_in_library()
        assert not site.rows("SELECT 1 FROM part")
    finally:
        site.end()


def make_uploading(folder: Path) -> None:
    """A film of whose two parts the second is in the library."""
    site = Site(folder, cameras=CAMERAS, film=FILM | {"index_reserve_kb": RESERVE_KB})
    try:
        _run_until_killed(site, "part uploaded", part=2, book="uploading")
        film = _film(site, "uploading", "rendered")
        assert [row["number"] for row in site.rows("SELECT number FROM part")] == [2]
        assert (site.library / ".uploads" / f"{film['upload_id']}.parts").exists()
        assert not site.films_in_library()
    finally:
        site.end()


def make_uploaded(folder: Path) -> None:
    """A film that is stored and whose row is still to be written."""
    site = Site(folder, cameras=CAMERAS, film=FILM)
    try:
        _run_until_killed(site, "writing row", book="uploaded")
        _film(site, "uploaded", "uploaded")
        assert {row["kind"] for row in site.rows("SELECT kind FROM outbox")} == {"status", "video"}
    finally:
        site.end()


def _occupy(site: Site, booking_id: str) -> None:
    """Put other bytes at the key of a film, so that it is parked."""
    film = wait_until(lambda: (row := site.film(booking_id)) and row["object_key"] and row, LIMIT_S, "the film's key")
    there = site.library / film["object_key"]
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(b"another film")


def _run_until_killed(site: Site, event: str, nth: int = 1, book: str = "", **where: Any) -> None:
    """Start the program, book a window of 3 s if one is named, and wait until the line of the log kills it."""
    _start(site, {"event": event, "nth": nth, "where": where}, links=book != "uploading")
    if book:
        _book(site, book, 2.5, 5.5)
    if book == "uploaded":
        with closing(site._db(write=True)) as db:
            db.execute("UPDATE booking SET source = 'supabase'")
    status = site.wait_dead()
    assert status == -9, site.errors


def _start(site: Site, kill_at: dict[str, Any] | None = None, *, links: bool = True) -> None:
    """Start the program at `MADE_AT`; without `links` the library is one that takes none."""
    killer = {"PYTHONPATH": f"{KILLER}:{ROOT}", "WALL_AHEAD_S": str(AHEAD_S)}
    lives = len(site.said("ready"))
    site.start(kill_at, killer | ({} if links else {"NO_LINKS": "1"}))
    site.wait_said("ready", lives + 1)


def _book(site: Site, booking_id: str, start_s: float, end_s: float) -> tuple[float, float]:
    now = time.time() + AHEAD_S
    return site.book_at(booking_id, now + start_s, now + end_s)


def _film(site: Site, booking_id: str, stage: str) -> dict[str, Any]:
    film = site.film(booking_id)
    assert film, booking_id
    assert film["stage"] == stage, film
    return film


def pack(data: Path, archive: Path) -> None:
    """Pack a data folder, without what names the machine."""
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in sorted(data.rglob("*")):
            inside = path.relative_to(data)
            if inside.parts[0] not in LEFT_OUT:
                tar.add(path, str(inside), recursive=False, filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = MADE_AT.timestamp()
    return member


MAKERS: dict[str, Callable[[Path], None]] = {
    "recording": make_recording, "rendered": make_rendered, "uploading": make_uploading, "uploaded": make_uploaded}


def main() -> None:
    """Make every data folder and pack it.

    Raises:
        SystemExit: another version than 0.1.0 is on the path.
    """
    if (__version__, VERSION) != (RELEASE, SCHEMA):
        raise SystemExit(f"this is EZREC {__version__} with a store of version {VERSION}: put a checkout of {RELEASE}"
                         f" with a store of version {SCHEMA} on PYTHONPATH")
    for name, make in MAKERS.items():
        folder = Path(MADE_IN) / name
        shutil.rmtree(folder, ignore_errors=True)
        make(folder)
        with closing(sqlite3.connect(f"file:{folder / 'data/ezrec.db'}?mode=ro", uri=True)) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        pack(folder / "data", HERE / f"{name}.tar.xz")
        print(f"{name}: {(HERE / f'{name}.tar.xz').stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
