"""A court with a cloud: a `Site` whose bookings, films and rows live in real servers behind chaos proxies.

    site = new_cloud_site()                      # fixture of tests/whole: own user, own bucket, own pair of proxies
    site.start(); site.wait_said("ready")
    match = site.id()                            # a booking's id; ids are unique, as projects are shared by tests
    site.book(match, 2.5, 7.5)                   # a row of `bookings`; again with other times: moved
    site.change(match, status="cancelled")       # what its owner does to the row
    site.s3_net.hang(); site.supabase_net.bad_gateway(); site.heal()
    site.finish(match)                           # wait until all is told, then check_cloud: certificate, pictures
    site.words(match); site.videos(match); site.beats(); site.heartbeat(); site.objects(); site.unfinished()

The film is 16 MB although its pictures are tiny, so that it has four parts of the smallest size that S3 takes: an intro
of noise, in half a second of CPU, fills part 2 and most of 3, and the match goes on from there.
`local=` says what is not in the cloud: "bookings", "publishing", "storage".
"""

import hashlib
import io
import json
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import av
import numpy as np

from ezrec.adapters.cameras.synthetic.counters import Seen, look_at
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.s3 import S3
from tests.fakes.cloud.supabase import Supabase
from tests.fakes.site import LIMIT_S, Site, check_certificate, is_of
from tests.fakes.waiting import wait_until

PART = 5 << 20  # bytes; S3's smallest, and so the settings'
INTRO_PICTURES = 225  # at 15 a second: 15.5 MB, so that part 3 is full two seconds into the match
INTRO_SIZE = 364, 108  # the wide picture of two cameras of 192x108
FILM = {"crf": 4, "maxrate": 100_000_000, "bufsize": 200_000_000, "index_reserve_kb": 32}
"""Noise that is encoded as well as this takes 64 kB a picture."""

AUDIT = """
create table if not exists tests.word (at timestamptz default clock_timestamp(), booking text, word text, reason text);
create or replace function tests.keep_word() returns trigger language plpgsql security definer as $$ begin
  insert into tests.word (booking, word, reason) values (new.id, new.status, new.status_reason);
  return new;
end $$;
create or replace trigger keep_word after update of status on public.bookings for each row
  when (old.status is distinct from new.status) execute function tests.keep_word();
create table if not exists tests.beat (at timestamptz default clock_timestamp(), said jsonb);
create or replace function tests.keep_beat() returns trigger language plpgsql security definer as $$ begin
  insert into tests.beat (said) values (to_jsonb(new));
  return new;
end $$;
create or replace trigger keep_beat after insert or update on public.system_status
  for each row execute function tests.keep_beat();
"""
"""Every word that a booking's status was changed to, and every heartbeat, in order."""


@dataclass(frozen=True)
class Cloud:
    """The servers of a site, with a proxy in front of each."""

    s3: S3
    supabase: Supabase
    s3_net: ChaosProxy
    supabase_net: ChaosProxy


class CloudSite(Site):
    """One data folder, the recorder on it, and what it leaves in the cloud."""

    def __init__(self, folder: Path, cloud: Cloud, *, local: Collection[str] = (), device: bool = False,
                 **changes: Mapping[str, Any]) -> None:
        """Make a bucket and write the settings; `changes` (section → keys) go over them.

        With `device` the recorder has a JWT of its own, held to its own rows, in the place of the project's secret key.
        """
        self.cloud, self.local, self.device = cloud, frozenset(local), device
        self.s3_net, self.supabase_net = cloud.s3_net, cloud.supabase_net
        self.tag = uuid.uuid4().hex[:8]
        self.user, self.camera = f"user-{self.tag}", f"court-{self.tag}"
        self._token = ""
        self.bucket = cloud.s3.make_bucket()
        self.intro = folder / "intro.mkv"
        folder.mkdir(parents=True, exist_ok=True)
        self.intro.write_bytes(_noise())
        cloud.supabase.run(AUDIT)
        super().__init__(folder, **changes)

    def configure(self, **changes: Mapping[str, Any]) -> None:
        """Write the settings anew; a recorder that runs goes on with the old ones."""
        sections: dict[str, dict[str, Any]] = {
            "site": {"user_id": self.user, "camera_id": self.camera},
            "film": FILM | {"intro": str(self.intro)},
            # the longest film at FILM's limit must fit into parts of the smallest size
            "bookings": {"source": "local" if "bookings" in self.local else "supabase", "longest_h": 0.5},
            "publishing": {"kind": "local" if "publishing" in self.local else "supabase"},
            "storage": {"kind": "local" if "storage" in self.local else "s3", "part_mb": PART >> 20},
        }
        if not {"bookings", "publishing"} <= self.local:
            sections["supabase"] = {"url": self.supabase_net.url, "limit_s": 4, "heartbeat_s": 2} | self._credential()
        if "storage" not in self.local:
            sections["s3"] = {"endpoint": self.s3_net.url, "access_key_id": self.cloud.s3.key,
                              "secret_access_key": self.cloud.s3.secret, "region": self.cloud.s3.region,
                              "bucket": self.bucket, "addressing": "path"}
        for name, keys in changes.items():
            sections.setdefault(name, {}).update(keys)
        super().configure(**sections)

    def _credential(self) -> dict[str, str]:
        project = self.cloud.supabase
        if not self.device:
            return {"key": project.service_key}
        self._token = self._token or project.device_token(self.user, self.camera)
        return {"key": project.publishable_key,
                "device_token": self._token}

    def end(self) -> None:
        """For fixtures: end the recorder and empty the bucket, which lies in the server's memory."""
        super().end()
        for key, upload in self.unfinished():
            self.cloud.s3.abort(self.bucket, key, upload)
        with self.cloud.s3.client() as s3:
            for key in self.objects():
                s3.delete_object(Bucket=self.bucket, Key=key)

    def heal(self) -> None:
        """Both networks are well again."""
        self.s3_net.heal()
        self.supabase_net.heal()

    # ---- bookings

    def id(self, name: str = "match") -> str:
        """A booking's id that no other site uses."""
        return f"{name}-{self.tag}"

    def book_at(self, booking_id: str, starts: float, ends: float, status: str = "scheduled") -> tuple[float, float]:
        """Book (or move) a window given in UTC seconds: in the table `bookings`, or in the store if that is local."""
        if "bookings" in self.local:
            return super().book_at(booking_id, starts, ends, status)
        self.cloud.supabase.run(
            "insert into bookings (id, user_id, camera_id, start_time, end_time, status) values (:'id', :'user',"
            " :'camera', to_timestamp(:'starts'), to_timestamp(:'ends'), :'status') on conflict (id) do update"
            " set start_time = excluded.start_time, end_time = excluded.end_time",
            id=booking_id, user=self.user, camera=self.camera, starts=f"{starts:.6f}", ends=f"{ends:.6f}",
            status=status)
        return starts, ends

    def change(self, booking_id: str, **columns: object) -> None:
        """Change columns of a booking's row, as its owner would; None deletes nothing, it is null."""
        for column, value in columns.items():
            self.cloud.supabase.run(f"update bookings set {column} = nullif(:'value', '') where id = :'id'",
                                    id=booking_id, value="" if value is None else value)

    # ---- what is in the cloud

    def booking(self, booking_id: str) -> dict[str, Any]:
        """A booking's row."""
        (row,) = self.cloud.supabase.rows("select * from bookings where id = :'id'", id=booking_id)
        return row

    def words(self, booking_id: str) -> list[str]:
        """Every word that a booking's status was changed to, in order, the owner's own included."""
        rows = self.cloud.supabase.rows("select word from tests.word where booking = :'id' order by at", id=booking_id)
        return [str(row["word"]) for row in rows]

    def wait_word(self, booking_id: str, word: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """Wait until a booking's status is a word; its row."""
        wait_until(lambda: self.booking(booking_id)["status"] == word or self._must_live(), limit_s,
                   f"{booking_id} to be {word}; it is {self.booking(booking_id)['status']}")
        return self.booking(booking_id)

    def videos(self, booking_id: str | None = None) -> list[dict[str, Any]]:
        """This court's rows of `videos`, or those of one booking."""
        where = "and booking_id = :'id'" if booking_id else ""
        return self.cloud.supabase.rows(f"select * from videos where user_id = :'user' {where}", user=self.user,
                                        **({"id": booking_id} if booking_id else {}))

    def heartbeat(self) -> dict[str, Any] | None:
        """This device's row of `system_status`, with its age by the server's clock in `age_s`."""
        rows = self.cloud.supabase.rows(
            "select *, extract(epoch from clock_timestamp() - updated_at) as age_s from system_status"
            " where user_id = :'user' and camera_id = :'camera'", user=self.user, camera=self.camera)
        assert len(rows) < 2, rows
        return rows[0] if rows else None

    def beats(self, **columns: object) -> list[dict[str, Any]]:
        """All this device's heartbeats in order, or those with these columns."""
        rows = self.cloud.supabase.rows(
            "select said from tests.beat where said ->> 'user_id' = :'user' and said ->> 'camera_id' = :'camera'"
            " order by at", user=self.user, camera=self.camera)
        beats: list[dict[str, Any]] = [row["said"] for row in rows]  # type: ignore[misc]
        return [beat for beat in beats if all(beat[key] == value for key, value in columns.items())]

    def wait_heartbeat(self, after: float | None = None, limit_s: float = LIMIT_S,
                       **columns: object) -> dict[str, Any]:
        """Wait for a beat said later than `after` (UTC seconds; None: now) with these columns."""
        after = time.time() if after is None else after

        def there() -> dict[str, Any] | None:
            self._must_live()
            row = self.heartbeat()
            late = row and time.time() - float(row["age_s"]) > after
            return row if late and row and all(row[key] == value for key, value in columns.items()) else None

        return wait_until(there, limit_s, f"a heartbeat with {columns}; the last is {self.heartbeat()}")

    def objects(self, booking_id: str = "") -> dict[str, int]:
        """The bucket's objects (key → bytes), all of them or a booking's."""
        return {key: size for key, size in self.cloud.s3.objects(self.bucket).items()
                if _is_of(booking_id, key)}

    def unfinished(self, booking_id: str = "") -> list[tuple[str, str]]:
        """Unfinished uploads of the bucket (key, upload id), all of them or a booking's."""
        return [(key, upload) for key, upload in self.cloud.s3.unfinished(self.bucket) if _is_of(booking_id, key)]

    # ---- what must hold

    def outbox(self, booking_id: str) -> list[dict[str, Any]]:
        """What the cloud must still be told of a booking."""
        found = self.rows("SELECT * FROM outbox WHERE booking_id = ? ORDER BY id", booking_id)
        return [row | {"body": json.loads(row["body"])} for row in found]

    def finish(self, booking_id: str, limit_s: float = LIMIT_S,
               status: str = "video_uploaded") -> tuple[dict[str, Any], Seen]:
        """Wait until a film is cleaned and everything is told, then `check_cloud`."""
        self.wait_stage(booking_id, "cleaned", limit_s=limit_s)
        wait_until(lambda: not self.outbox(booking_id) or self._must_live(), limit_s,
                   f"all to be told of {booking_id}; {self.outbox(booking_id)} is left")
        return self.check_cloud(booking_id, status)

    def check_cloud(self, booking_id: str, status: str = "video_uploaded") -> tuple[dict[str, Any], Seen]:
        """What must hold of every published film, wherever it is: one object with its bytes, one row, the last word,
        nothing open at the server, nothing left here, nothing to tell, and a certificate that is true.

        Returns the certificate and what the object's pictures say when it is decoded from end to end.
        """
        film = self.film(booking_id)
        assert film is not None, f"no film of {booking_id}"
        assert (film["stage"], film["parked_reason"]) == ("cleaned", None), film
        assert not (self.data / "films" / film["recording_id"]).exists()
        assert self.outbox(booking_id) == []
        copy = self._object(film)
        certificate = film["certificate"]
        assert (certificate["object"]["key"], certificate["object"]["bytes"]) == (film["object_key"], film["bytes"])
        assert certificate["object"]["sha256"] == film["sha256"] == composite(copy, json.loads(
            film["recipe"])["part_size"])
        self._row(film)
        if "bookings" not in self.local:
            booking = self.booking(booking_id)
            assert (booking["status"], booking["status_reason"]) == (status, None), booking
        recipe = json.loads(film["recipe"])
        intro = recipe["intro"]["ticks"] if recipe["intro"] else 0
        seen = look_at(copy, intro, [view["camera"] for view in recipe["canvas"]["views"]])
        check_certificate(certificate, seen)
        return certificate, seen

    def _object(self, film: dict[str, Any]) -> Path:
        """The film's one object, as a file."""
        if "storage" in self.local:
            (path,) = [path for path in self.films_in_library() if _is_of(film["booking_id"], path.name)]
            assert path == self.library / film["object_key"]
            return path
        poster = film["object_key"].removesuffix(".mp4") + ".jpg"
        objects = self.objects(film["booking_id"])
        assert objects == {film["object_key"]: film["bytes"], poster: objects.get(poster)}, objects
        assert self.unfinished(film["booking_id"]) == []
        assert film["certificate"]["object"]["etag"] == self.cloud.s3.head(
            self.bucket, film["object_key"])["ETag"].strip('"')
        copy = self.folder / "object.mp4"
        copy.write_bytes(self.cloud.s3.read(self.bucket, film["object_key"]))
        return copy

    def _row(self, film: dict[str, Any]) -> None:
        """The film's one row says what is true."""
        if "publishing" in self.local:
            rows = [json.loads(row["row"]) for row in self.rows(
                "SELECT row FROM video WHERE booking_id = ?", film["booking_id"])]
        else:
            rows = self.videos(film["booking_id"])
            assert self.rows("SELECT 1 FROM video WHERE booking_id = ?", film["booking_id"]) == []
        (row,) = rows
        said, certificate = {key: row[key] for key in (
            "recording_id", "user_id", "camera_id", "storage_path", "video_url", "file_size", "filename")}, \
            film["certificate"]
        assert said == {
            "recording_id": film["recording_id"], "user_id": self.user, "camera_id": self.camera,
            "storage_path": film["object_key"], "video_url": film["url"], "file_size": film["bytes"],
            "filename": PurePosixPath(film["object_key"]).name}, row
        if "storage" not in self.local:
            assert film["url"].endswith(f"/{quote(film['object_key'])}")
        seconds = certificate["film_seconds"] + certificate["intro_seconds"]
        assert abs(float(row["duration_seconds"]) - seconds) < 0.001, (row, certificate)


def composite(film: Path, part: int) -> str:
    """A film's composite checksum: SHA-256 over the binary SHA-256s of its parts of `part` bytes, with their number."""
    parts = []
    with film.open("rb") as file:
        while data := file.read(part):
            parts.append(hashlib.sha256(data).digest())
    return f"{hashlib.sha256(b''.join(parts)).hexdigest()}-{len(parts)}"


def _is_of(booking_id: str, key: str) -> bool:
    return not booking_id or is_of(booking_id, PurePosixPath(key).name)


@cache
def _noise() -> bytes:
    """A clip of noise, quickly made (MJPEG): what it is encoded to is as large as the pictures themselves."""
    width, height = INTRO_SIZE
    dice = np.random.default_rng(1)
    pictures = [dice.integers(0, 256, (height * 3 // 2, width), np.uint8) for _ in range(8)]
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        stream: Any = container.add_stream("mjpeg", rate=15)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        for number in range(INTRO_PICTURES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pictures[number % 8], format="yuv420p")))
        container.mux(stream.encode(None))
    return out.getvalue()


MakeSite = Callable[..., CloudSite]
