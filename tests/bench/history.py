"""A store as years leave it: thousands of films behind, thousands of bookings ahead.

    python tests/bench/history.py FOLDER [--behind 10000] [--ahead 5000]
"""

import argparse
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from importlib import resources
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from ezrec.domain import events
from ezrec.domain.certificate import CameraPart, Certificate, Gap, StoredObject
from ezrec.domain.clock import SECOND, utc_text
from ezrec.domain.events import Booked, FilmEvent, PreflightBegun, PreflightDone, RecipeFrozen, StageChanged
from ezrec.domain.film import Canvas, EncoderOptions, Intro, Logo, Recipe, View
from ezrec.domain.stages import Stage
from ezrec.folders import DataFolder
from ezrec.store import VERSION

BEHIND, AHEAD = 10_000, 5_000
A_DAY = 14  # films, one an hour
HOUR_US = 3600 * SECOND
LINE = (Stage.BOOKED, Stage.RECORDING, Stage.RECORDED, Stage.RENDERED, Stage.UPLOADED, Stage.PUBLISHED, Stage.CLEANED)


def write(data: Path, behind: int = BEHIND, ahead: int = AHEAD, *, source: str = "local", seed: int = 1) -> None:
    """Make the data folder of a recorder with `behind` films that are done and `ahead` that are booked.

    `source` is the one that the bookings came from.
    """
    dice = random.Random(seed)
    data.mkdir(parents=True, exist_ok=True)
    schema = resources.files("ezrec.store").joinpath("schema.sql").read_text("utf-8")
    with closing(sqlite3.connect(DataFolder(data).store, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(f"BEGIN;\n{schema}\nPRAGMA user_version={VERSION};")
        for number, starts_at in zip(range(behind), _hours(-1), strict=False):
            _film(db, dice, f"past-{number}", starts_at, source)
        for number, starts_at in zip(range(ahead), _hours(1), strict=False):
            _booked(db, dice, f"next-{number}", starts_at, source)
        db.execute("COMMIT")


def rows_ahead(ahead: int = AHEAD) -> list[dict[str, Any]]:
    """The bookings ahead as a source lists them."""
    return [{"id": f"next-{number}", "start_time": utc_text(starts_at), "end_time": utc_text(starts_at + HOUR_US),
             "status": "scheduled"} for number, starts_at in zip(range(ahead), _hours(1), strict=False)]


def tomorrow() -> datetime:
    """The day (UTC) that the bookings ahead begin on."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _hours(way: int) -> Iterator[int]:
    """Starts of bookings from tomorrow on, or from yesterday back: hours of a day, then of the next."""
    for day in count(0 if way > 0 else 2):
        at = tomorrow() + way * timedelta(days=day)
        yield from (round((at + timedelta(hours=8 + hour)).timestamp()) * SECOND for hour in range(A_DAY))


def _booked(db: sqlite3.Connection, dice: random.Random, booking_id: str, starts_at: int, source: str) -> None:
    _booking(db, booking_id, starts_at, source)
    db.execute("INSERT INTO film (booking_id, recording_id, stage, starts_at, ends_at, changed_at)"
               " VALUES (?,?,?,?,?,?)",
               (booking_id, _recording_id(dice, starts_at), Stage.BOOKED, starts_at, starts_at + HOUR_US, starts_at))
    _tell(db, booking_id, starts_at - 24 * HOUR_US, Booked(starts_at, starts_at + HOUR_US))


def _booking(db: sqlite3.Connection, booking_id: str, starts_at: int, source: str) -> None:
    times = {"id": booking_id, "start_time": utc_text(starts_at), "end_time": utc_text(starts_at + HOUR_US)}
    db.execute("INSERT INTO booking (id, source, starts_at, ends_at, status, row, seen_at, reported)"
               " VALUES (?,?,?,?,?,?,?,?)",
               (booking_id, source, starts_at, starts_at + HOUR_US, "scheduled",
                json.dumps(times | {"status": "scheduled"}, sort_keys=True), min(starts_at, _now_us()) - 24 * HOUR_US,
                source == "supabase"))


def _film(db: sqlite3.Connection, dice: random.Random, booking_id: str, starts_at: int, source: str) -> None:
    _booking(db, booking_id, starts_at, source)
    ends_at, sha256 = starts_at + HOUR_US, dice.randbytes(32).hex()
    key = f"{utc_text(starts_at)[:10]}/{booking_id}.mp4"
    recording_id, url = _recording_id(dice, starts_at), f"https://films.example.org/{key}"
    db.execute(
        "INSERT INTO film (booking_id, recording_id, stage, starts_at, ends_at, recipe, object_key, url, bytes, sha256,"
        " certificate, changed_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        (booking_id, recording_id, Stage.CLEANED, starts_at, ends_at, _recipe(dice).dumps(), key, url, 2_000_000_000,
         sha256, json.dumps(_certificate(starts_at, key, sha256).to_json()), ends_at))
    run = starts_at // (24 * HOUR_US)
    db.execute("INSERT OR IGNORE INTO run (id, boot_id, started_at) VALUES (?,?,?)", (run, "boot", starts_at))
    db.execute("INSERT OR IGNORE INTO offset (run, from_us, wall_offset_us) VALUES (?, 0, ?)", (run, starts_at))
    db.execute("INSERT INTO span (film, run, start_offset_us, start_us, end_us, anchor_us, reach_from_us, reach_to_us)"
               " VALUES (?,?,?,?,?,?,?,?)", (booking_id, run, starts_at, 0, HOUR_US, 0, 0, HOUR_US))
    video = {"booking_id": booking_id, "recording_id": recording_id, "video_url": url, "sha256": sha256}
    db.execute("INSERT INTO video (booking_id, recording_id, row) VALUES (?,?,?)",
               (booking_id, recording_id, json.dumps(video)))
    steps = [StageChanged(before, after) for before, after in pairwise(LINE)]
    _tell(db, booking_id, starts_at - 24 * HOUR_US, Booked(starts_at, ends_at), PreflightBegun(), PreflightDone(()),
          RecipeFrozen(), *steps)


def _tell(db: sqlite3.Connection, booking_id: str, at: int, *story: FilmEvent) -> None:
    db.executemany("INSERT INTO event (at, booking_id, kind, detail) VALUES (?,?,?,?)",
                   [(at, booking_id, one.kind, json.dumps(events.to_json(one), sort_keys=True)) for one in story])


def _recording_id(dice: random.Random, starts_at: int) -> str:
    return f"{datetime.fromtimestamp(starts_at / SECOND, UTC):%Y%m%d-%H%M}-{dice.getrandbits(32):08x}"


def _recipe(dice: random.Random) -> Recipe:
    views = (View("left", 0, 1920, 1080), View("right", 1728, 1920, 1080))
    logos = tuple(Logo(f"logo {at}", f"media/{dice.randbytes(32).hex()}.png", dice.randbytes(32).hex(), "top_left", 300,
                       38) for at in range(3))
    return Recipe(Fraction(30), Canvas(3648, 1080, views), EncoderOptions(), logos,
                  Intro("media/intro.mp4", dice.randbytes(32).hex(), 150, sound=True))


def _certificate(starts_at: int, key: str, sha256: str) -> Certificate:
    window = utc_text(starts_at), utc_text(starts_at + HOUR_US)
    parts = {name: CameraPart(60.0, 108_000, fps=30.0, drift_ppm=3) for name in ("left", "right")}
    gap = Gap("left", window[0], window[0], 0.5, 1800.0)
    return Certificate(window=window, film_seconds=3600.0, cameras=parts, gaps=(gap,),
                       object=StoredObject(key, 2_000_000_000, sha256[:32], sha256), runs=1, picture=(3648, 1080))


def _now_us() -> int:
    return round(datetime.now(UTC).timestamp() * SECOND)


def main() -> None:
    """Write one from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the data folder that is made")
    parser.add_argument("--behind", type=int, default=BEHIND, help="films that are done")
    parser.add_argument("--ahead", type=int, default=AHEAD, help="films that are booked")
    asked = parser.parse_args()
    write(asked.folder, asked.behind, asked.ahead)


if __name__ == "__main__":
    main()
