"""Freezing a film's recipe: canvas, rate, encoder, logos, intro, as the settings stand at its first chunk.

Logos and intro are copied into the media folder under the name of their content, so that what a film began with stays
there however the venue's files change. What cannot be used is left out and said in the recipe.
"""

import asyncio
import errno
import hashlib
import json
import math
import stat
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeVar

from ezrec import files, logs
from ezrec.adapters.workers import RenderPool
from ezrec.config import Settings
from ezrec.config.sections import FilmSettings, LogoSettings
from ezrec.domain.calibration import Calibration
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia, EzrecError, LeaveError, PoolClosed, RetryError
from ezrec.domain.film import Canvas, EncoderOptions, Film, Intro, Logo, Recipe
from ezrec.domain.stored import made_of
from ezrec.folders import DataFolder
from ezrec.media import intro, overlay
from ezrec.media.geometry import canvas_for
from ezrec.media.hashing import sha256_of
from ezrec.media.join import index_reserve
from ezrec.media.panorama.layout import NAME as PANORAMA
from ezrec.media.panorama.layout import panorama_canvas

log = logs.get("film")

MAX_MEDIA_BYTES = 1 << 30  # of a logo or an intro; more is a mistake
MOST_PARTS = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
ROOM = 1.1  # over what the encoder's limit allows, for index and container
KEEP_S = 60  # for copying one of the venue's files
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # the disk's trouble, which passes or is repaired
INTRO_FORM = 2  # counts up when an intro would be made in another way than one that lies there

_Media = TypeVar("_Media", Logo, Intro)


class Recipes:
    """Makes recipes from the settings of now and the cameras that deliver."""

    def __init__(self, settings: Settings, folder: DataFolder, pool: RenderPool, camera_rate: Fraction,
                 turned: Mapping[str, int]) -> None:
        """`camera_rate` counts where the settings name no rate; `turned` is by how many degrees clockwise each camera
        turns its picture itself.
        """
        self._settings = settings
        self._media = folder.media
        self._calibration = folder.calibration
        self._pool = pool
        self._turned = turned
        self._reading: dict[Path, asyncio.Future[tuple[Path, str]]] = {}  # by the venue's file
        self.rate = settings.film.rate or camera_rate

    async def freeze(self, film: Film, sizes: dict[str, tuple[int, int]]) -> Recipe:
        """The recipe of a film whose cameras deliver pictures of these sizes (width and height in pixels)."""
        wanted = self._settings.film
        canvas, fallback = await self._canvas(sizes)
        plain = Recipe(self.rate, canvas, self._encoder(wanted), part_size=self._part_size(), fallback=fallback)
        skipped: list[str] = [f"panorama: {fallback}"] if fallback else []
        logos = [await self._or_left_out(f"logo {one.name}", skipped, self._logo(one, plain.canvas))
                 for one in wanted.logos]
        plain = replace(plain, logos=tuple(logo for logo in logos if logo))
        if wanted.intro:
            plain = replace(plain, intro=await self._or_left_out("intro", skipped, self._intro(wanted.intro, plain)))
        plain = _said(plain, skipped)
        for words in plain.skipped:
            log.warning("media skipped", booking=film.booking_id, error=words)
        return replace(plain, index_reserve=self._reserve(film, plain))

    async def recast(self, film: Film, recipe: Recipe, sizes: dict[str, tuple[int, int]]) -> Recipe:
        """The same recipe on the canvas of other cameras; logos and intro stay those it was frozen with."""
        canvas, fallback = await self._canvas(sizes)
        scale = canvas.width / recipe.canvas.width
        logos = tuple(replace(logo, width=_even(logo.width * scale), margin=round(logo.margin * scale))
                      for logo in recipe.logos)
        new = replace(recipe, canvas=canvas, logos=logos, intro=None, fallback=fallback)
        skipped: list[str] = [f"panorama: {fallback}"] if fallback else []
        if recipe.intro:
            again = self._kept_intro(recipe.intro.sha256, new)
            new = replace(new, intro=await self._or_left_out("intro", skipped, again))
        new = _said(new, skipped)
        return replace(new, index_reserve=self._reserve(film, new))

    async def _canvas(self, sizes: dict[str, tuple[int, int]]) -> tuple[Canvas, str]:
        """The canvas of these cameras, and why it is not that of a panorama if one was asked for."""
        if self._settings.film.layout != PANORAMA or len(sizes) < 2:
            return self.canvas(sizes), ""
        try:
            kept, sha256 = await self._keep(self._calibration)
            calibration = Calibration.loads(await asyncio.to_thread(kept.read_bytes))
            return panorama_canvas(kept, sha256, calibration, sizes, self._rotations()), ""
        except (BadMedia, OSError) as error:
            if not await asyncio.to_thread(self._calibration.exists):
                return self.canvas(sizes), "the cameras are not calibrated: run `ezrec calibrate`"
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            return self.canvas(sizes), str(error)

    def canvas(self, sizes: dict[str, tuple[int, int]]) -> Canvas:
        """The canvas of these cameras, left before right, of whatever is not calibrated."""
        film = self._settings.film
        return canvas_for(film.layout, sizes, self._rotations(), film.overlap)

    def _rotations(self) -> dict[str, int]:
        """By how many degrees clockwise each camera's picture is still to be turned."""
        cameras = self._settings.cameras
        wanted = {"left": cameras.left.rotation, "right": cameras.right.rotation}
        return {name: (degrees - self._turned.get(name, 0)) % 360 for name, degrees in wanted.items()}

    def _encoder(self, wanted: FilmSettings) -> EncoderOptions:
        return EncoderOptions(wanted.preset, wanted.crf, wanted.maxrate, wanted.bufsize,
                              keyint=max(1, int(2 * self.rate)), threads=wanted.threads)

    def _part_size(self) -> int:
        """The size of parts, in bytes: as set, but not so small that the longest film could not be stored."""
        most_mb = self._settings.film.maxrate / 8 * self._longest_s() * ROOM / (1 << 20)
        return max(self._settings.storage.part_mb, math.ceil(most_mb / MOST_PARTS)) << 20

    def _longest_s(self) -> float:
        """The length of the longest film that the settings allow, in seconds."""
        bookings = self._settings.bookings
        return (bookings.longest_h * 3600 + bookings.pre_roll_s + bookings.post_roll_s
                + self._settings.film.intro_max_s)

    def _reserve(self, film: Film, recipe: Recipe) -> int:
        """Room for the index, in bytes: for twice what is booked.

        A booking can be extended; a film that outgrew its index would have to be stored anew.
        """
        if self._settings.film.index_reserve_kb:
            return self._settings.film.index_reserve_kb << 10
        clip = recipe.intro
        booked_s = (film.ends_at - film.starts_at) / SECOND + (float(clip.ticks / recipe.rate) if clip else 0)
        room_s = min(2 * booked_s, max(booked_s, self._longest_s()))
        media_bytes = int(recipe.encoder.maxrate / 8 * room_s)
        ticks = math.ceil(room_s * recipe.rate / 2)  # the reserve has room for twice as many
        return index_reserve(ticks, recipe.encoder, bool(clip and clip.sound), media_bytes)

    async def _or_left_out(self, what: str, skipped: list[str], preparing: Awaitable[_Media]) -> _Media | None:
        """What is prepared; or None, and why in `skipped`, whatever was wrong with it.

        Raises:
            RetryError, LeaveError, PoolClosed: nothing is wrong with it.
            OSError: the disk of the media folder is full.
        """
        try:
            return await preparing
        except (RetryError, LeaveError, PoolClosed):
            raise
        except Exception as error:  # a venue's file may raise anything, and must not cost a match
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            foreseen = isinstance(error, EzrecError | OSError | MemoryError)
            skipped.append(f"{what}: {error}" if foreseen else f"{what}: {type(error).__name__}: {error}")
            return None

    async def _logo(self, wanted: LogoSettings, canvas: Canvas) -> Logo:
        path, sha256 = await self._keep(wanted.file)
        pixels = _even(wanted.width * canvas.width)
        await self._pool.run(partial(overlay.prepare_logo, str(path)), pixels)  # a broken one is found out here
        return Logo(wanted.name, str(path), sha256, wanted.position, pixels, round(wanted.margin * canvas.width),
                    wanted.opacity)

    async def _intro(self, file: Path, recipe: Recipe) -> Intro:
        path, sha256 = await self._keep(file)
        return await self._normalised(path, sha256, recipe)

    async def _kept_intro(self, sha256: str, recipe: Recipe) -> Intro:
        """The intro that an earlier recipe of the film was frozen with."""
        source = next(self._media.glob(f"{sha256}.*"), None)
        if source is None:
            raise BadMedia(f"{self._media / sha256}: is gone")
        return await self._normalised(source, sha256, recipe)

    async def _normalised(self, source: Path, sha256: str, recipe: Recipe) -> Intro:
        """The intro as chunk 0, made once for each clip, canvas, rate and encoder."""
        look = json.dumps([INTRO_FORM, sha256, asdict(recipe.canvas), str(recipe.rate), asdict(recipe.encoder)],
                          sort_keys=True)
        out = self._media / f"intro-{hashlib.sha256(look.encode()).hexdigest()[:32]}.mp4"
        known = out.with_suffix(".json")
        if before := await asyncio.to_thread(_made_before, out, known):
            return before
        normalise = partial(intro.normalise, str(source), replace(recipe, logos=(), intro=None), str(out))
        made: Intro = await self._pool.run(normalise, self._settings.film.intro_max_s)
        made = replace(made, path=str(out), sha256=sha256, made_sha256=await asyncio.to_thread(sha256_of, out))
        files.write_atomically(known, json.dumps(asdict(made)).encode())
        return made

    async def _keep(self, file: Path) -> tuple[Path, str]:
        """Copy a file into the media folder under its content's name.

        Raises:
            BadMedia: it cannot be read, or not in time: it may lie on a network disk that hangs.
        """
        reading = self._reading.get(file)
        if reading is None or reading.done():  # one that hangs holds one thread, however many films ask for it
            reading = self._reading[file] = asyncio.ensure_future(asyncio.to_thread(self._keep_now, file))
        done, _ = await asyncio.wait([reading], timeout=KEEP_S)
        if not done:
            raise BadMedia(f"{file} cannot be read within {KEEP_S} s")
        return reading.result()

    def _keep_now(self, file: Path) -> tuple[Path, str]:
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device might never end
                raise BadMedia(f"{file} is not a file")
            if status.st_size > MAX_MEDIA_BYTES:
                raise BadMedia(f"{file} is larger than {MAX_MEDIA_BYTES >> 20} MB")
            with file.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise BadMedia(f"{file} cannot be read: {error.strerror}") from error
        kept = self._media / f"{sha256}{file.suffix.lower()}"
        if not kept.exists():
            files.make_folders(self._media)
            with file.open("rb") as content:
                files.write_atomically(kept, content)
        return kept, sha256


def _made_before(out: Path, known: Path) -> Intro | None:
    """An intro that was made for an earlier film, if it still is what was made then."""
    try:
        made = made_of(Intro, json.loads(known.read_text("utf-8")))
        return made if made.made_sha256 in ("", sha256_of(out)) and out.is_file() else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _said(recipe: Recipe, skipped: list[str]) -> Recipe:
    """The recipe with what was left out, and what of its intro."""
    partly = [f"intro: {recipe.intro.left_out}"] if recipe.intro and recipe.intro.left_out else []
    return replace(recipe, skipped=tuple(dict.fromkeys((*recipe.skipped, *skipped, *partly))))


def _even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)
