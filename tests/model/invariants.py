"""What holds after every act of a model, looked at from outside: store, library, folders, and what memory keeps."""

import hashlib
import json
import sqlite3
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ezrec.domain.clock import SECOND
from ezrec.domain.film import ChunkJob
from ezrec.domain.stages import STEPS, Stage
from ezrec.domain.timeline import HOLD_US
from ezrec.pipeline import LIVE_US
from ezrec.store import Store
from tests.fakes.model.recorder import CHUNK_S, PART_BYTES, Recorder, open_files

MOST_GENERATIONS = 12
MOST_BEHIND = 6  # chunks of films that are over, in a row, while a live one could be gone on with
MOST_CALLED_OFF = 6  # chunks of a film, after it was called off
MOST_PARKED = 1  # times at one step, for each time that a person sent the film on its way
REASONS = (
    "made up", "a bug", "MemoryError", "needs more memory", "a worker died", "no answer for",  # what was made up
    "there is no footage in the window", "nothing that was recorded in the window can be read",
    "though it was rendered again", "it was made again", "none of its camera files is left",  # the damage that was done
)
CAUSES = (
    "made up", "a bug", "MemoryError", "a worker died", "did not answer for", "database is locked",
    "the film has just been begun again or called off", "being made again", "does not follow chunk",
    "cannot be read as a film", "No such file or directory",  # a film's file was cut, or is just being made again
)
"""Why a step may fail and be tried again."""
CHUNK_US = round(CHUNK_S * SECOND)
END = (Stage.CLEANED,)


class Watch:
    """Looks at a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._seen = self._failures = 0  # of them so many were looked at
        self._asked: Counter[str] = Counter()  # booking → retries
        self.most_generations = MOST_GENERATIONS
        self.most_behind = MOST_BEHIND
        self.reasons = REASONS
        self._reader: sqlite3.Connection | None = None
        self._version = -1  # of the store's data when it was last looked at
        self._behind = 0  # chunks of films that are over, begun one after the other while a live one waited
        self._called_off: Counter[str] = Counter()  # booking → chunks begun since it was called off
        self._wrong: list[str] = []  # that was seen in the middle of an act
        self._objects_seen: set[Path] = set()
        self._harmed: set[str] = set()  # films' folders
        recorder.chunk_began = self._chunk_began

    # ---- rows

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Rows of the store as they are durable now."""
        if self._reader is None:
            path = self._recorder.folder.store
            if not path.exists():
                return []
            self._reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            self._reader.row_factory = sqlite3.Row
        try:
            return self._reader.execute(sql, values).fetchall()
        except sqlite3.OperationalError:
            return []  # not made yet

    def close(self) -> None:
        """Look no more."""
        if self._reader:
            self._reader.close()

    def films(self) -> list[sqlite3.Row]:
        """All films, oldest first."""
        return self.rows("SELECT * FROM film ORDER BY starts_at, booking_id")

    def retried(self, booking_id: str) -> None:
        """A person sends a film on its way again."""
        self._asked[booking_id] += 1

    # ---- after every act

    def look(self) -> None:
        """See that all holds."""
        steps = self._recorder.steps
        for booking_id, old, new in steps[self._seen:]:
            assert new in STEPS[Stage(old)], f"{booking_id} went from {old} to {new}"
        self._seen = len(steps)
        assert not (loop := self._recorder.loop) or not loop.errors, loop.errors
        assert not self._wrong, self._wrong
        for failure in self._recorder.failures[self._failures:]:
            assert any(words in failure for words in CAUSES), f"a step failed for no cause: {failure}"
        self._failures = len(self._recorder.failures)
        assert not self._recorder.connections.refused, self._recorder.connections.refused
        version = self.rows("PRAGMA data_version")
        if version and version[0][0] == self._version:
            return
        self._version = version[0][0] if version else -1
        films = self.films()
        self._objects(films)
        for film in films:
            begun = film["generation"]
            assert begun <= self.most_generations, f"{film['booking_id']}: {begun} generations"
        self._parked()
        assert self._recorder.lives < 200, self._recorder.left[-5:]

    def _parked(self) -> None:
        """A film is parked for what the model did to it, and no more than once for each time that it is tried."""
        parked = [(row["booking_id"], json.loads(row["detail"])) for row in self.rows(
            "SELECT booking_id, detail FROM event WHERE kind = 'parked'")]
        counts = Counter((booking_id, detail["parked_step"]) for booking_id, detail in parked)
        for (booking_id, step), count in counts.items():
            most = MOST_PARKED * (1 + self._asked[booking_id])
            assert count <= most, f"{booking_id} was parked {count} times at {step}"
        for booking_id, detail in parked:
            step, reason = detail["parked_step"], detail["parked_reason"]
            caused = any(words in reason for words in self.reasons)
            assert caused, f"{booking_id} was parked at {step} for no cause: {reason}"

    def _objects(self, films: list[sqlite3.Row]) -> None:
        """At most one object and one row for each booking; what is published is there, as it was joined."""
        library = self._recorder.folder.library
        paths = list(library.glob("*/*.mp4"))
        there = Counter(path.stem.partition("@")[0] for path in paths)
        assert all(count == 1 for count in there.values()), f"objects: {sorted(paths)}"
        videos = {row["booking_id"] for row in self.rows("SELECT booking_id FROM video")}
        for film in films:
            if film["stage"] in (Stage.PUBLISHED, Stage.CLEANED) and film["url"]:
                assert film["booking_id"] in videos, f"{film['booking_id']} is published without a row"
                path = library / film["object_key"]
                assert path.exists(), f"{film['booking_id']} is published without an object"
                if path not in self._objects_seen:
                    self._objects_seen.add(path)
                    if self._recorder.linked and film["recording_id"] in self._harmed:
                        continue  # one file is both: what a part comes to after it was looked at, nobody can know
                    assert _sums_of(path) in self._recorder.closed[film["recording_id"]], \
                        f"the object of {film['booking_id']} is not what was joined"

    def _chunk_began(self, job: ChunkJob) -> None:
        """A worker begins a chunk: live films come before those that are over, those called off not at all."""
        films = {film["recording_id"]: film for film in self.films()}
        film = films[Path(job.out).parent.name]
        if film["stage"] == Stage.CANCELLED:
            self._called_off[film["booking_id"]] += 1
            if self._called_off[film["booking_id"]] > MOST_CALLED_OFF:
                self._wrong.append(f"{film['booking_id']} was called off, and is rendered on")
        else:
            self._called_off.pop(film["booking_id"], None)
        now = self._recorder.clock.wall_us()
        live = [one for one in films.values() if one["stage"] == Stage.RECORDING and one["ends_at"] > now
                and not one["parked_step"] and one["retry_at"] is None]
        if film["ends_at"] + LIVE_US > now or not any(map(self._waits, live)):
            self._behind = 0
            return
        self._behind += 1
        if self._behind > self.most_behind:
            self._wrong.append(f"a live film waits while {self._behind} chunks of {film['booking_id']} are rendered")

    def _waits(self, film: sqlite3.Row) -> bool:
        """Whether a live film could be gone on with: a chunk of it and more is known and not rendered."""
        spans = self.rows("SELECT * FROM span WHERE film = ? ORDER BY run DESC LIMIT 1", film["booking_id"])
        if not spans:
            return False
        done = self.rows("SELECT max(start_us) AS us FROM chunk WHERE film = ? AND run = ? AND state = 'rendered'",
                         film["booking_id"], spans[0]["run"])[0]["us"]
        first = self.rows("SELECT min(start_us) AS us FROM segment WHERE run = ?", spans[0]["run"])[0]["us"]
        begins = max(spans[0]["start_us"], first or 0) if done is None else done + CHUNK_US
        seen = self.rows("SELECT min(end_us) AS us FROM (SELECT max(end_us) AS end_us FROM segment WHERE run = ?"
                         " GROUP BY camera)", spans[0]["run"])[0]["us"]
        return seen is not None and seen - HOLD_US - begins >= 2 * CHUNK_US

    # ---- in the end

    def not_ended(self) -> list[str]:
        """The films that still have a way to go."""
        films = {film["booking_id"]: film for film in self.films()}
        left = [f"{film['booking_id']} is {film['stage']}" for film in films.values()
                if film["stage"] not in END and not (film["parked_step"] and film["parked_reason"])]
        left += [f"{booking_id} has no film" for booking_id, row in self._recorder.rows.items()
                 if booking_id not in films and row["status"] == "scheduled"]
        return left

    def nothing_is_kept(self) -> None:
        """Of films that have ended nothing is left in memory, open or on the disk."""
        films = self.films()
        ended = {film["booking_id"] for film in films if film["stage"] in END}  # one that is parked is still known
        assert not self._recorder.joiners, [str(one._path) for one in self._recorder.joiners]
        assert not (held := open_files(self._recorder.folder.films)), held
        kept = {name: found for name, one in self._recorder.built.items() if (found := sorted(_kept(one, ended)))}
        assert not kept, kept

    def nothing_grows(self) -> None:
        """No file is held for a film that is not worked on: it was called off, or its making is parked."""
        rest = {film["recording_id"] for film in self.films() if film["stage"] == Stage.CANCELLED
                or _is_parked(film, "film")}
        held = [str(one._path) for one in self._recorder.joiners if one._path.parent.name in rest]
        assert not held, f"kept open for films that nobody works on: {held}"

    def damage(self, kind: str, how: str, which: int = -1) -> None:
        """Do harm to a chunk or film: the newest, or another of the sorted ones."""
        found = sorted(self._recorder.folder.films.glob(f"*/{kind}-*.mp4"))
        if not found:
            return
        path = found[which]
        self._harmed.add(path.parent.name)
        if how == "gone":
            path.unlink()
        elif how == "cut":
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)
        elif size := path.stat().st_size:
            with path.open("r+b") as file:
                file.seek(size // 2)
                byte = file.read(1)
                file.seek(size // 2)
                file.write(bytes([byte[0] ^ 0xFF]))


def _sums_of(path: Path) -> list[str]:
    """The SHA-256 of each part of an object."""
    with path.open("rb") as file:
        return [hashlib.sha256(part).hexdigest() for part in iter(lambda: file.read(PART_BYTES), b"")]


def _is_parked(film: sqlite3.Row, step: str) -> bool:
    """Whether a step waits for a person."""
    parked = {film["parked_step"], *json.loads(film["also_parked"] or "{}")}
    return step in parked - set(json.loads(film["passing"] or "{}"))


def _kept(root: Any, ended: set[str]) -> Iterator[str]:
    """Where below an object of ours containers still know one of these bookings."""
    seen: set[int] = set()
    todo: deque[tuple[str, Any]] = deque([(type(root).__name__, root)])
    while todo:
        where, one = todo.popleft()
        if id(one) in seen or isinstance(one, Store):
            continue
        seen.add(id(one))
        if isinstance(one, str):
            continue
        if isinstance(one, Mapping):
            for key, value in one.items():
                names = key if isinstance(key, tuple) else (key,)
                if any(isinstance(name, str) and name in ended for name in names):
                    yield f"{where}: {key}"
                todo.append((f"{where}[{key}]", value))
        elif isinstance(one, set | frozenset | list | tuple | deque):
            for value in one:
                if isinstance(value, str) and value in ended:
                    yield f"{where}: {value}"
                todo.append((where, value))
        elif type(one).__module__.startswith("ezrec.") and hasattr(one, "__dict__"):
            todo += [(f"{where}.{name}", value) for name, value in vars(one).items()]
