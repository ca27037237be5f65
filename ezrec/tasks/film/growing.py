"""The films' files while they grow: chunks are appended in order, each file on a thread of its own.

A chunk is joined to the file that holds all before it, and to no other. A closed file stays as it is until its film
has taken its step, however often that is tried. A file holds one generation. After a crash, or when its film is begun
again, it is made anew from its chunks. So is a file that does not hold what was written into it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ezrec import files, logs
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia, ChunkDamaged, IndexOutgrown, IntroLost, RetryError
from ezrec.domain.film import Film, recipe_of
from ezrec.domain.stages import Stage
from ezrec.folders import DataFolder
from ezrec.media.join import Joiner, index_growth

log = logs.get("film")

_R = TypeVar("_R")


@dataclass(frozen=True)
class Growth:
    """How far a film's file is: `final` bytes from the reserve on will not change any more.

    `index`: how many bytes of the reserve its index takes by the window's end, at most; None: not known. What lies
    between the two is empty and stays so, unless the booking is extended.

    `sums`: part number → SHA-256 as it was written, of what is final. It is the same mapping as long as a file grows;
    a film that an older version closed has none.
    """

    path: Path
    final: int
    closed: bool
    sums: Mapping[int, str] = field(default_factory=dict)
    index: int | None = None


@dataclass
class GrowingFile:
    """A film's file while it grows: its joiner, on a thread of its own."""

    generation: int
    joiner: Joiner
    thread: ThreadPoolExecutor
    joined: int  # the number of the newest chunk in it; 0 is the intro, -1 stands before one
    ticks: int = 0  # its length so far
    made: Growth | None = None  # what it came to, once it is closed
    damaged: bool = False  # it does not hold what was written

    async def call(self, what: Callable[[], _R]) -> _R:
        """Run `what` on the file's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, what)

    async def drop(self) -> None:
        """Give the file up, on its thread: it may be adding a chunk. One that is closed stays: it may be the film's."""
        if self.made is None:
            with suppress(OSError):  # whoever makes it anew tries to remove it, too
                await self.call(self.joiner.discard)
        self.thread.shutdown(wait=False)


class GrowingFiles:
    """The files of all films that are being made. `grown` is called whenever one grew."""

    def __init__(self, folder: DataFolder, grown: Callable[[], None]) -> None:
        self._folder = folder
        self._grown = grown
        self._files: dict[str, GrowingFile] = {}  # by booking

    def growth(self, film: Film) -> Growth | None:
        """How far the film's file is; None if there is none yet."""
        path = self._folder.film_file(film.recording_id, film.generation)
        if film.stage in (Stage.RENDERED, Stage.UPLOADED, Stage.PUBLISHED):
            return Growth(path, film.bytes or 0, closed=True, sums=dict(enumerate(film.sums, 1)))
        growing = self._files.get(film.booking_id)
        if growing is None or growing.generation != film.generation or growing.damaged:
            return None
        final = growing.made.final if growing.made else growing.joiner.grown
        return Growth(path, final, closed=False, sums=growing.joiner.sums,
                      index=growing.joiner.index_bytes() + _growth_left(film, growing.ticks))

    def doubt(self, film: Film) -> None:
        """The file is damaged: it is made anew when the film's work begins the next time, and shown to nobody."""
        growing = self._files.get(film.booking_id)
        if growing is not None and growing.generation == film.generation:
            growing.damaged = True

    def joined(self, film: Film) -> int:
        """How many chunks are in the film's file."""
        growing = self._files.get(film.booking_id)
        return max(growing.joined, 0) if growing and growing.generation == film.generation else 0

    async def join_intro(self, film: Film) -> None:
        """Begin the file with the intro, if the film has one; a file that is damaged is begun anew.

        Raises:
            IntroLost: the intro that the film began with cannot be joined any more.
        """
        growing = self._files.get(film.booking_id)
        if growing is not None and growing.damaged:
            await self.drop(film.booking_id)
        intro = recipe_of(film).intro
        if intro:
            try:
                await self.join(film, 0, Path(intro.path), intro.ticks, lambda: intro.made_sha256)
            except BadMedia as error:
                raise IntroLost(str(error)) from error

    async def join(self, film: Film, number: int, path: Path, ticks: int, sha256: Callable[[], str]) -> None:
        """Append a chunk (0: the intro), if it is not in the file yet; `sha256` looks up its file's, on a thread.

        Raises:
            RetryError: the file does not end with the chunk before it; if it was closed, it is made anew.
            IndexOutgrown: the film needs more room for its index.
            ChunkDamaged: the chunk is not what it should be, and is removed; the film's file is as it was.
            BadMedia: it cannot be joined; the film's file is made anew.
        """
        growing = await self._open(film)
        if growing.joined >= number:
            return
        if growing.made:  # more came to light than it was closed with
            await self.drop(film.booking_id)
        if growing.made or number != growing.joined + 1:
            raise RetryError(f"chunk {number} does not follow chunk {growing.joined} of the film's file")
        what = {"booking": film.booking_id} | ({"chunk": number} if number else {})
        log.debug("joining chunk" if number else "joining intro", **what)
        try:
            await growing.call(lambda: growing.joiner.add(str(path), ticks, sha256()))
        except ChunkDamaged:
            if number:
                await asyncio.to_thread(self._remove, [path])
            raise
        except Exception:
            await self.drop(film.booking_id)  # half a chunk may be in it
            raise
        if growing.joiner.index_bytes() > recipe_of(film).index_reserve:
            raise IndexOutgrown("the film outgrew the room kept for its index")
        growing.joined = number
        growing.ticks += ticks
        log.debug("chunk joined" if number else "intro joined", final=growing.joiner.grown, **what)
        self._grown()

    async def close(self, film: Film) -> Growth:
        """Close and validate the film's file, unless that is done. It stays this one's until `finish`.

        Raises:
            IndexOutgrown: the index does not fit into its reserve; the file is made anew.
            BadMedia: the closed file is not what was joined; the file is made anew.
        """
        growing = await self._open(film)
        if growing.made:
            return growing.made
        log.debug("closing film", booking=film.booking_id)
        try:
            facts = await growing.call(growing.joiner.close)
        except Exception:
            await self.drop(film.booking_id)
            raise
        log.debug("film closed", booking=film.booking_id, bytes=facts.bytes)
        path = self._folder.film_file(film.recording_id, film.generation)
        growing.made = Growth(path, facts.bytes, closed=True, sums=growing.joiner.sums)
        return growing.made

    def finish(self, film: Film) -> None:
        """The film has taken its step: its file is no longer this one's."""
        self._files.pop(film.booking_id).thread.shutdown(wait=False)
        self._grown()

    async def drop(self, booking_id: str) -> None:
        """Give a film's file up; harmless if there is none."""
        growing = self._files.pop(booking_id, None)
        if growing:
            await growing.drop()

    async def drop_all(self) -> None:
        """Give all files up."""
        for booking_id in list(self._files):
            await self.drop(booking_id)

    async def _open(self, film: Film) -> GrowingFile:
        """The file of the film's generation; files of older ones go."""
        growing = self._files.get(film.booking_id)
        if growing is not None and growing.generation == film.generation:
            return growing
        await self.drop(film.booking_id)
        path = self._folder.film_file(film.recording_id, film.generation)
        await asyncio.to_thread(self._folder.make_way, path)
        await asyncio.to_thread(self._remove, self._folder.film_files(film.recording_id))
        thread = ThreadPoolExecutor(1, thread_name_prefix="join")
        recipe = recipe_of(film)
        growing = GrowingFile(film.generation, Joiner(str(path), recipe), thread, joined=-1 if recipe.intro else 0)
        self._files[film.booking_id] = growing
        return growing

    def _remove(self, paths: Iterable[Path]) -> None:
        """Remove files of a film; what lies in their places and is none is set aside."""
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                self._folder.put_aside(path)
            else:
                files.remove(path)


def _growth_left(film: Film, ticks: int) -> int:
    """By how many bytes the film's index grows from `ticks` ticks to the window's end, at most."""
    recipe = recipe_of(film)
    booked = int((film.ends_at - film.starts_at) * recipe.rate / SECOND) + (recipe.intro.ticks if recipe.intro else 0)
    left = max(0, booked - ticks)
    return index_growth(left, recipe.encoder, int(recipe.encoder.maxrate / 8 * left / recipe.rate))
