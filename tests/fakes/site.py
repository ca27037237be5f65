"""A court for tests of the whole program: a folder with settings, the real `python -m ezrec run`, and what it leaves.

Small pictures and short windows keep it quick. Everything is looked at from outside: the log, the store's file, the
library, the commands. `tests.fakes.cloud_site` has one whose bookings, films and rows are in a cloud.
"""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from ezrec.adapters.cameras.synthetic.counters import Seen, look_at
from ezrec.store import VERSION
from tests.fakes.pi import environment as pi_environment
from tests.fakes.waiting import wait_until

ROOT = Path(__file__).parents[2]
KILLER = Path(__file__).parent / "killer"

SETTINGS: dict[str, dict[str, Any]] = {
    "bookings": {"poll_s": 0.3},
    "cameras": {"fps": 15, "width": 192, "height": 108, "bitrate": 200_000, "lead_s": 0.7, "keyframe_s": 0.5},
    "recorder": {"segment_s": 1.0},
    "film": {"chunk_s": 1.0, "preset": "ultrafast", "maxrate": 600_000, "bufsize": 1_200_000, "threads": 1},
    "disk": {"min_free_mb": 10},
    "logs": {"level": "debug"},
}
"""A pair of tiny cameras, 15 frames a second: 2 CPU seconds for a window of 5 s."""

KEPT = ("logs", "media", "library", "ezrec.lock", "state.json", "cameras.json", "check", "reference")
"""What of a data folder does not belong to any film."""

LIMIT_S = 60.0  # for anything that is waited for; a busy machine may be slow


class Site:
    """One data folder and the recorder on it."""

    def __init__(self, folder: Path, **changes: Mapping[str, Any]) -> None:
        """Write the settings: SETTINGS with `changes` (section → keys) over them."""
        self.folder = folder
        self.data = folder / "data"
        self.library = self.data / "library"
        self.faults_file = folder / "faults.json"
        self.bookings_file = folder / "bookings.json"
        self.config = folder / "config.toml"
        self.lines: list[dict[str, Any]] = []  # of all runs
        self.errors = ""
        self.process: subprocess.Popen[str] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(**changes)

    def configure(self, **changes: Mapping[str, Any]) -> None:
        """Write the settings anew; a recorder that runs goes on with the old ones."""
        sections = {name: dict(keys) for name, keys in SETTINGS.items()}
        sections["paths"] = {"data": str(self.data)}
        for name, keys in changes.items():
            sections.setdefault(name, {}).update(keys)
        self.source = sections["cameras"].get("source", "simulated")
        sections["cameras"].setdefault("simulated", {}).setdefault("faults", str(self.faults_file))
        lines: list[str] = []
        for name, keys in sections.items():
            _toml(lines, name, keys)
        self.config.write_text("\n".join(lines), "utf-8")

    def faults(self, **cameras: Mapping[str, Any]) -> None:
        """Tell the simulated cameras to misbehave, e.g. left={"stalled": True}; without arguments: to behave."""
        temporary = self.faults_file.with_suffix(".new")
        temporary.write_text(json.dumps(cameras), "utf-8")
        temporary.replace(self.faults_file)

    # ---- the recorder

    def start(self, kill_at: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Start `python -m ezrec run`; with `kill_at` it gets a signal at a line of its log (fakes/killer)."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        env = os.environ | self.path(KILLER, ROOT) | {"PYTHONUNBUFFERED": "1"} | dict(environment or {})
        env.pop("KILL_AT", None)
        if kill_at:
            env["KILL_AT"] = json.dumps(kill_at)
        self.process = subprocess.Popen([sys.executable, "-m", "ezrec", "-c", str(self.config), "run"], text=True,
                                        env=env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._readers = [threading.Thread(target=self._read_log, args=(self.process,)),
                         threading.Thread(target=self._read_errors, args=(self.process,))]
        for reader in self._readers:
            reader.start()

    def path(self, *folders: Path) -> dict[str, str]:
        """Where a program finds its modules; for cameras of a Pi, the stand-in for libcamera too."""
        found = {"PYTHONPATH": os.pathsep.join(map(str, folders))}
        if self.source == "picamera2":
            pi = pi_environment(self.faults_file)
            found = pi | {"PYTHONPATH": os.pathsep.join((*map(str, folders), pi["PYTHONPATH"]))}
        return found

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.errors += line
        process.stdout.close()

    def _read_errors(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr
        for line in process.stderr:
            self.errors += line
        process.stderr.close()

    def wait_dead(self, limit_s: float = LIMIT_S) -> int:
        """Wait until the recorder has ended; its exit status (negative: the signal)."""
        assert self.process
        status = self.process.wait(limit_s)
        for reader in self._readers:
            reader.join(limit_s)
        return status

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.signal(signal.SIGKILL)
        self.wait_dead()

    def stop(self) -> int:
        """SIGTERM, and wait; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_dead()

    def signal(self, number: int) -> None:
        """Send a signal to the recorder."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)

    def end(self) -> None:
        """For fixtures: whatever state it is in, end it."""
        if self.process is not None:
            self.kill()

    def said(self, event: str, **keys: Any) -> list[dict[str, Any]]:
        """The log lines of an event with these keys, of all runs."""
        return [line for line in self.lines if line.get("event") == event
                and all(line.get(key) == value for key, value in keys.items())]

    def wait_said(self, event: str, times: int = 1, limit_s: float = LIMIT_S, **keys: Any) -> dict[str, Any]:
        """Wait until the log holds an event (so many times); its last line."""
        return wait_until(lambda: self.said(event, **keys)[times - 1:] or self._must_live(), limit_s,
                          f"{event!r} {keys}\n{self.errors[-2000:]}")[-1]

    def alive(self) -> bool:
        """Whether the recorder runs."""
        return self.process is not None and self.process.poll() is None

    def _must_live(self) -> None:
        assert self.process is None or self.process.poll() is None, (
            f"the recorder ended with {self.process.poll()}\n{self.errors[-3000:]}")

    # ---- commands

    def command(self, *words: str, status: int | None = 0) -> str:
        """Run an `ezrec` command beside the recorder; what it printed (stdout, then stderr)."""
        done = subprocess.run([sys.executable, "-m", "ezrec", "-c", str(self.config), *words], text=True,
                              capture_output=True, cwd=self.folder, timeout=LIMIT_S, check=False,
                              env=os.environ | self.path(ROOT) | {"COLUMNS": "200", "NO_COLOR": "1"})
        assert status is None or done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def book(self, booking_id: str, start_s: float, end_s: float, status: str = "scheduled") -> tuple[float, float]:
        """Book (or change) a window from `start_s` to `end_s` seconds after now, through the store; its UTC seconds."""
        now = time.time()
        return self.book_at(booking_id, now + start_s, now + end_s, status)

    def book_at(self, booking_id: str, starts: float, ends: float, status: str = "scheduled", *,
                reported: bool = False) -> tuple[float, float]:
        """Book (or change) a window given in UTC seconds, as `ezrec bookings add` would, but at once.

        `reported`: what becomes of it is put into the outbox, as for a cloud's.
        """
        if not (self.data / "ezrec.db").exists():
            self.data.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.data / "ezrec.db")) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript((ROOT / "ezrec/store/schema.sql").read_text("utf-8"))
                db.execute(f"PRAGMA user_version = {VERSION}")
        with closing(self._db(write=True)) as db:
            db.execute("INSERT INTO booking VALUES (?, 'cli', ?, ?, ?, '{}', 0, ?) ON CONFLICT (id) DO UPDATE SET"
                       " starts_at = excluded.starts_at, ends_at = excluded.ends_at, status = excluded.status",
                       (booking_id, round(starts * 1e6), round(ends * 1e6), status, reported))
        return starts, ends

    # ---- what it leaves

    def _db(self, *, write: bool = False) -> sqlite3.Connection:
        mode = "rw" if write else "ro"
        db = sqlite3.connect(f"file:{self.data / 'ezrec.db'}?mode={mode}", uri=True, timeout=10, autocommit=True) \
            if sys.version_info >= (3, 12) else \
            sqlite3.connect(f"file:{self.data / 'ezrec.db'}?mode={mode}", uri=True, timeout=10, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the store."""
        db = self._db()
        try:
            return [dict(row) for row in db.execute(sql, values)]
        finally:
            db.close()

    def film(self, booking_id: str) -> dict[str, Any] | None:
        """The film's row; its certificate read."""
        if not (self.data / "ezrec.db").exists():
            return None
        rows = self.rows("SELECT * FROM film WHERE booking_id = ?", booking_id)
        if rows and rows[0]["certificate"]:
            rows[0]["certificate"] = json.loads(rows[0]["certificate"])
        return rows[0] if rows else None

    def wait_stage(self, booking_id: str, *stages: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """Wait until a film is in one of the stages; its row."""
        def there() -> dict[str, Any] | None:
            film = self.film(booking_id)
            if film and film["stage"] in stages:
                return film
            assert not (film and film["parked_reason"] and "cleaned" in stages), film
            assert not (film and film["stage"] == "missed"), film
            self._must_live()
            return None

        return wait_until(there, limit_s, f"{booking_id} to be {' or '.join(stages)}; it is {self.film(booking_id)}")

    def films_in_library(self) -> list[Path]:
        """All films in the library."""
        return sorted(self.library.rglob("*.mp4"))

    def look_at(self, booking_id: str) -> tuple[dict[str, Any], Seen]:
        """A published film's certificate, and what its pictures say when it is decoded from end to end."""
        film = self.film(booking_id)
        assert film is not None, f"no film of {booking_id}"
        assert film["certificate"], film
        recipe = json.loads(film["recipe"])
        intro = recipe["intro"]["ticks"] if recipe["intro"] else 0
        cameras = [view["camera"] for view in recipe["canvas"]["views"]]
        return film["certificate"], look_at(self.library / film["object_key"], intro, cameras)

    def check(self, booking_id: str) -> tuple[dict[str, Any], Seen]:
        """What must hold of every published film: one object, one row, no leftovers, and a certificate that is true."""
        film = self.film(booking_id)
        assert film is not None, f"no film of {booking_id}"
        assert (film["stage"], film["parked_reason"]) == ("cleaned", None), film
        mine = [path for path in self.films_in_library() if is_of(booking_id, path.name)]
        assert mine == [self.library / film["object_key"]]
        assert len(self.rows("SELECT 1 FROM video WHERE booking_id = ?", booking_id)) == 1
        assert not (self.data / "films" / film["recording_id"]).exists()
        assert mine[0].stat().st_size == film["bytes"]
        certificate, seen = self.look_at(booking_id)
        check_certificate(certificate, seen)
        return certificate, seen

    def check_no_leftovers(self) -> None:
        """After every film is cleaned nothing but store, logs, media and library is left."""
        wait_until(lambda: not files_below(self.data / "segments"), LIMIT_S, "all segments to be deleted")
        left = [path for path in files_below(self.data)
                if path.relative_to(self.data).parts[0] not in KEPT and not path.name.startswith("ezrec.db")]
        assert left == []
        assert [path for path in files_below(self.library) if path.suffix not in (".mp4", ".jpg")] == []


def is_of(booking_id: str, name: str) -> bool:
    """Whether a film or a poster of this name is the booking's, of whatever generation (".2": as 0.1.0 wrote it)."""
    return re.fullmatch(rf"{re.escape(booking_id)}([@.]\d+)?\.(mp4|jpg)", name) is not None


def files_below(folder: Path) -> list[Path]:
    """All files below a folder in which folders may be going at this moment (`Path.rglob` would trip over that)."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def check_certificate(certificate: dict[str, Any], seen: Seen) -> None:
    """Every deviation of the frame counters from +1 is one that the certificate counts, and nothing else is missing."""
    rate = float(Fraction(certificate["rate"]))
    gaps = certificate["gaps"]
    cut_s = sum(gap["seconds"] for gap in gaps if gap["camera"] == "both" or len(certificate["cameras"]) == 1)
    starts, ends = (_seconds(text) for text in certificate["window"])
    assert abs(certificate["film_seconds"] + cut_s - (ends - starts)) <= (2 + len(gaps)) / rate, certificate
    assert abs(seen.ticks - certificate["film_seconds"] * rate) < 1.5
    cuts = {round(gap["at_s"] * rate) for gap in gaps}
    for camera, said in certificate["cameras"].items():
        counters = seen.counters[camera]
        assert sum(one is not None for one in counters) == said["shown_ticks"], camera
        assert sum(one is None for one in counters) == said["filled_ticks"], camera
        repeats = skips = at_cuts = 0
        for tick, (one, other) in enumerate(pairwise(counters), start=1):
            if one is None or other is None:
                continue
            moved = (other - one) % (1 << 24)
            if moved > 1 and any(abs(tick - cut) <= 1 for cut in cuts):
                at_cuts += moved - 1 if moved <= 4 else 0  # a cut that the certificate states, or a skip beside it
                continue
            repeats += moved == 0
            skips += max(0, moved - 1)
        assert repeats == said["repeats"], (camera, certificate)
        assert skips <= said["skips"] <= skips + at_cuts, (camera, certificate)


def _seconds(text: str) -> float:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(text).timestamp()


def _toml(lines: list[str], name: str, keys: Mapping[str, Any]) -> None:
    tables = {key: value for key, value in keys.items() if isinstance(value, Mapping)}
    lists = {key: value for key, value in keys.items()
             if isinstance(value, list) and value and isinstance(value[0], dict)}
    lines.append(f"[{name}]")
    lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items() if key not in tables and key not in lists]
    for key, rows in lists.items():
        for row in rows:
            lines.append(f"[[{name}.{key}]]")
            lines += [f"{inner} = {json.dumps(value)}" for inner, value in row.items()]
    for key, table in tables.items():
        _toml(lines, f"{name}.{key}", table)
