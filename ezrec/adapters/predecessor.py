"""What EZREC's predecessor left in its folder: recordings, finished films that wait for their upload, bookings, media.

A recording is what was recorded for one booking: files of one or two cameras, the same merged, the film of it, or some
of these. Nothing here is opened as a film, and nothing is written.

The folder's files are told by their names alone: `recordings/<day>/session_<booking>/camera_<0|1>_<stamp>.mp4`,
`recordings/<day>/<start>-<end>_….mp4` with markers and a `.json` beside them, `processed/` and `final/`, and
`pending_uploads.json`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ezrec.domain.clock import SECOND
from ezrec.domain.encodings import decode

USUAL = Path("/opt/ezrec-backend")
LARGEST = 8_000_000  # bytes of a JSON file
TOGETHER_US = 2 * SECOND
"""Files of two cameras whose names are no further apart were started together: names tell whole seconds."""

BOOKINGS_FILES = ("api/local_data/bookings.json", "backend/bookings.json", "bookings.json")
CACHES = ("backend/bookings_cache.json", "backend/.bookings_cache", "bookings_cache.json", ".bookings_cache",
          "api/local_data/bookings_cache.json")

_SESSION = re.compile(r"camera_([01])_(\d{8})_?(\d{6})\.mp4", re.ASCII)
_FLAT = re.compile(r"(\d{6})-(\d{6})_(.+)\.mp4", re.ASCII)
_SIDES = ("left", "right")


@dataclass(frozen=True)
class CameraFile:
    """A file of one camera."""

    camera: str
    path: Path
    starts_at: int  # UTC µs


@dataclass(frozen=True)
class OldMatch:
    """What was recorded for one booking, as far as files tell."""

    name: str  # below the folder; it is what the recording is known by
    starts_at: int  # UTC µs
    parts: tuple[CameraFile, ...] = ()
    merged: Path | None = None  # both cameras in one picture, without logos
    film: Path | None = None  # as it was to be uploaded
    booking_id: str = ""  # as the predecessor has it; empty: not known
    booked_at: int | None = None  # UTC µs: the booking's start, where its files name it
    called: frozenset[str] = frozenset()  # by which the table `videos` may know it: recording ids, file names, keys
    uploaded: bool = False  # its own mark says so

    @property
    def files(self) -> list[Path]:
        """All of its files."""
        return [*(part.path for part in self.parts), *(path for path in (self.merged, self.film) if path)]


def recordings(old: Path, zone: ZoneInfo, names: Mapping[str, str]) -> list[OldMatch]:
    """All recordings below the folder `old`, oldest first.

    `zone` is that of the times in file names; `names` holds the predecessor's settings, for the names of its cameras.
    """
    found: list[OldMatch] = []
    for day in sorted(_folders(old / "recordings")):
        for session in sorted(_folders(day)):
            found += _session(old, session, zone)
        found += _flat(day, zone, names)
    found = _with_films(old, found, zone)
    return sorted(_unlike(found), key=lambda one: one.starts_at)


def _session(old: Path, folder: Path, zone: ZoneInfo) -> Iterator[OldMatch]:
    """The recording of a session's folder."""
    parts = [CameraFile(_SIDES[int(match[1])], path, at) for path in sorted(_files(folder))
             if (match := _SESSION.fullmatch(path.name))
             and (at := _moment(match[2], match[3], zone)) is not None]
    if parts:
        known = folder.name.removeprefix("session_") if folder.name.startswith("session_") else ""
        yield OldMatch(folder.relative_to(old).as_posix(), *_together(parts), booking_id=known,
                        called=frozenset({folder.name, *(part.path.stem for part in parts)}),
                        uploaded=any((folder / f"{part.path.stem}.completed").exists() for part in parts))


def _flat(day: Path, zone: ZoneInfo, names: Mapping[str, str]) -> Iterator[OldMatch]:
    """The recordings of a day that lie beside each other, told apart by their booked times."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(_files(day)):
        if match := _FLAT.fullmatch(path.name):
            groups.setdefault(f"{match[1]}-{match[2]}", []).append(path)
    for times, files in groups.items():
        at = _moment(day.name.replace("-", ""), times[:6], zone)
        if at is not None:
            yield _group(day, times, files, at, names)


def _group(day: Path, times: str, files: Sequence[Path], at: int, names: Mapping[str, str]) -> OldMatch:
    merged = next((path for path in files if path.stem.endswith("_merged")), None)
    cameras = [path for path in files if path != merged]
    told = [_json(path.with_suffix(".json")) for path in files]
    facts: dict[str, Any] = next((one for one in told if isinstance(one, dict)), {})
    begun = _instant(facts.get("recording_start"))
    sides: dict[str, Path] = {}
    for side, name in zip(_SIDES, ("CAMERA_0_NAME", "CAMERA_1_NAME"), strict=True):
        wanted = names.get(name) or f"camera_{name[7]}"
        if path := next((path for path in cameras if path.stem.endswith(f"_{wanted}")), None):
            sides[side] = path
    for path in cameras:  # a name that nobody knows any more: the first file was the first camera's
        free = [side for side in _SIDES if side not in sides]
        if path not in sides.values() and free:
            sides[free[0]] = path
    start = at if begun is None else begun
    parts = tuple(CameraFile(side, path, start) for side, path in sorted(sides.items()))
    return OldMatch(
        f"recordings/{day.name}/{times}", start, parts, merged, booking_id=_word(facts.get("booking_id")),
        booked_at=_instant(facts.get("start_time")) or at,
        called=frozenset(name for path in files for name in (path.stem, path.name)),
        uploaded=any(path.with_suffix(".completed").exists() for path in files))


def _with_films(old: Path, found: Sequence[OldMatch], zone: ZoneInfo) -> list[OldMatch]:
    """The recordings with the finished films that belong to them, and those of which only the film is left."""
    films: dict[Path, Mapping[str, Any]] = {path: {} for folder in ("processed", "final")
                                            for path in sorted((old / folder).glob("**/*.mp4")) if path.is_file()}
    queue = _json(old / "pending_uploads.json")
    for entry in queue if isinstance(queue, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("final_file"), str):
            meta = entry.get("meta")
            path = moved(old, Path(entry["final_file"]))
            films[path] = (meta if isinstance(meta, dict) else {}) | {"s3_key": entry.get("s3_key")}
    by_file = {path: number for number, one in enumerate(found) for path in one.files}
    result = list(found)
    for path, meta in films.items():
        called = frozenset(filter(None, (path.stem, path.name, *(_word(meta.get(key)) for key in (
            "recording_id", "filename", "storage_path", "s3_key")))))
        booking = _word(meta.get("booking_id"))
        number = by_file.get(path, next((number for number, one in enumerate(result)
                                         if (booking and one.booking_id == booking) or called & one.called), None))
        if number is None:
            result.append(_film_alone(old, path, meta, zone, booking, called))
        else:
            one = result[number]
            result[number] = replace(one, film=path, booking_id=one.booking_id or booking, called=one.called | called)
    return result


def _film_alone(old: Path, path: Path, meta: Mapping[str, Any], zone: ZoneInfo, booking: str,
                called: frozenset[str]) -> OldMatch:
    match = _FLAT.fullmatch(path.name)
    day = _word(meta.get("date"))[:10].replace("-", "") or path.parent.name.replace("-", "")
    at = _moment(day, match[1] if match else "000000", zone)
    if at is None:
        at = int(path.stat().st_mtime_ns // 1000) if path.exists() else 0
    name = path.relative_to(old).as_posix() if path.is_relative_to(old) else path.name
    return OldMatch(name, at, film=path, booking_id=booking, booked_at=at if match else None, called=called)


def _unlike(found: Sequence[OldMatch]) -> Iterator[OldMatch]:
    """The recordings, those of one booking as one: what came later of a session that was begun again is its second
    part. A booking of which there is a film beside its cameras' files has one already.
    """
    seen: dict[str, OldMatch] = {}
    for number, one in enumerate(found):
        key = one.booking_id or f"\0{number}"
        if before := seen.get(key):
            parts = sorted({*before.parts, *one.parts}, key=lambda part: part.starts_at)
            one = replace(before, starts_at=min(before.starts_at, one.starts_at), parts=tuple(parts),  # noqa: PLW2901 - both in one
                          merged=before.merged or one.merged, film=before.film or one.film,
                          called=before.called | one.called, uploaded=before.uploaded or one.uploaded)
        seen[key] = one
    yield from seen.values()


def moved(old: Path, path: Path) -> Path:
    """Where a path of the predecessor's lies, if its folder was moved or mounted elsewhere."""
    return old / path.relative_to(USUAL) if path.is_relative_to(USUAL) else old / path


def booking_rows(old: Path) -> tuple[list[object], list[object]]:
    """The rows of its own bookings files, and those of its caches of the project's."""
    return ([row for name in BOOKINGS_FILES for row in _rows(old / name)],
            [row for name in CACHES for row in _rows(old / name)])


def media(old: Path, names: Mapping[str, str]) -> dict[str, Path]:
    """The venue's logos (main, user, sponsor1 to 3) and its intro, those that are there; the owner's go first."""
    user = _word(names.get("USER_ID"))
    cache = old / "media_cache" / user if re.fullmatch(r"[\w.-]+", user) else None
    found: dict[str, Path] = {}
    for name, setting, ours, cached in (
            ("main", "MAIN_LOGO_PATH", ("ezrec_logo.png", "../main_ezrec_logo.png"), ()),
            ("user", "USER_LOGO_PATH", ("user_logo.png",), ("logo.png", "logo/logo.png")),
            *((f"sponsor{n}", f"SPONSOR_LOGO_{n}_PATH", (f"sponsor_logo{n}.png",),
               (f"sponsor_logo{n}.png", f"sponsor-logo{n}/logo{n}.png")) for n in (1, 2, 3)),
            ("intro", "INTRO_VIDEO_PATH", ("intro.mp4",), ("intro.mp4", "intro-video/intro.mp4"))):
        named = [moved(old, Path(names[setting]))] if names.get(setting) else []
        places = [*((cache / one for one in cached) if cache else ()), *named, *(old / "assets" / one for one in ours)]
        if path := next((one for one in places if one.is_file()), None):
            found[name] = path
    return found


def _together(parts: Sequence[CameraFile]) -> tuple[int, tuple[CameraFile, ...]]:
    """When a session began, and its files; those that were started together have one start."""
    start = min(part.starts_at for part in parts)
    return start, tuple(replace(part, starts_at=start) if part.starts_at - start <= TOGETHER_US else part
                        for part in parts)


def _moment(day: str, clock: str, zone: ZoneInfo) -> int | None:
    """A local time of a file's name in UTC µs; None if there is none such."""
    try:
        local = datetime.strptime(f"{day}{clock}", "%Y%m%d%H%M%S").replace(tzinfo=zone)
    except ValueError:
        return None
    return round(local.astimezone(UTC).timestamp()) * SECOND


def _instant(text: object) -> int | None:
    """An instant with its offset in UTC µs; None if it is none: local times are told by names of files."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return round(moment.timestamp() * SECOND) if moment and moment.tzinfo else None


def _rows(path: Path) -> list[object]:
    content = _json(path)
    rows = content.get("bookings") if isinstance(content, dict) else content
    return rows if isinstance(rows, list) else []


def _json(path: Path) -> Any:
    """What a JSON file holds; None if that cannot be told."""
    try:
        return json.loads(decode(path.read_bytes())) if path.is_file() and path.stat().st_size <= LARGEST else None
    except (OSError, ValueError, RecursionError):
        return None


def _word(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _folders(path: Path) -> list[Path]:
    try:
        return [one for one in path.iterdir() if one.is_dir()]
    except OSError:
        return []


def _files(path: Path) -> list[Path]:
    try:
        return [one for one in path.iterdir() if one.is_file()]
    except OSError:
        return []
