"""The real supervisor on made-up time: everything of it is real but cameras, threads, workers and the clock.

`Recorder` is a machine with a service manager: it starts the program, kills it, and starts it again when it leaves.
What a killed program leaves is what it left on the disk: store, segments, chunks, the film's file as far as it grew.
"""

import os
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.typing import EventDict, WrappedLogger

from ezrec import supervisor
from ezrec.adapters import workers
from ezrec.adapters.cameras import Camera
from ezrec.adapters.storage.local import LocalStorage
from ezrec.config import Settings
from ezrec.domain.clock import SECOND
from ezrec.domain.film import ChunkJob
from ezrec.folders import DataFolder
from ezrec.media.join import Joiner
from ezrec.supervisor import Supervisor
from ezrec.tasks import opening, recovery
from ezrec.tasks.film import growing
from ezrec.tasks.film.recipe import Recipes
from tests.fakes.clocks import MadeUpClock
from tests.fakes.model.faults import Faults
from tests.fakes.model.lanes import MadeUpCamera, MadeUpLane, MadeUpMeter, MadeUpSource, adopt
from tests.fakes.model.loop import SteppedLoop
from tests.fakes.model.store import Connections
from tests.fakes.model.workers import SIZE, Workers

BEGIN_MONO_S, BEGIN_WALL_S = 5_000, 1_800_000_000
CHUNK_S = 2.0
PART_BYTES = 16 << 10  # about a chunk
KEPT_S = 60  # of a cancelled booking
LEAD_S = 1.0
MOST_S = 60  # for a stop in order
AGAIN_S = 2.0  # until the service manager starts it again
LOGGED = 400  # newest lines that are kept, to be shown if something is wrong
BUILT = ("Pipeline", "FilmMaking", "Upload", "Outbox", "Publish", "Cleanup", "Bookings", "Recording", "Preflight",
         "Recovery")


class _Recorder(Supervisor):
    """The supervisor with made-up lanes."""

    def __init__(self, settings: Settings, clock: MadeUpClock, dark: set[str], lanes: list[MadeUpLane],
                 kind: type[MadeUpLane]) -> None:
        super().__init__(settings, clock)
        self._dark, self._lanes, self._kind = dark, lanes, kind

    def _lane_of(self, camera: Camera) -> Any:
        def make(run: int, sealed: Callable[..., None]) -> MadeUpLane:
            lane = self._kind(camera, self._folder, run, self._clock, sealed, self._dark)  # type: ignore[arg-type]
            self._lanes.append(lane)
            return lane

        return make


class Recorder:
    """A recorder that is killed and started again. `steps` holds every step that a film took."""

    lane = MadeUpLane

    def __init__(self, data: Path, patches: pytest.MonkeyPatch, settings: Settings | None = None) -> None:
        self.linked = True  # the library lies on the data folder's file system
        self.data = data
        self.folder = DataFolder(data)
        self.clock = MadeUpClock(BEGIN_MONO_S, BEGIN_WALL_S)
        self.rows: dict[str, dict[str, Any]] = {}  # the source's table of bookings
        self.dark: set[str] = set()  # cameras that deliver nothing
        self.faults = Faults()
        self.steps: list[tuple[str, str, str]] = []
        self.lines: list[EventDict] = []
        self.built: dict[str, Any] = {}  # by class, of this life
        self.joiners: list[Joiner] = []  # that hold a film's file open
        self.left: list[str] = []  # why the program ended by itself, each time
        self.failures: list[str] = []  # why steps of films failed, all of them
        self.lives = 0
        self.chunk_began: Callable[[ChunkJob], None] = lambda _: None
        self._chance = random.Random(0)
        self._lanes: list[MadeUpLane] = []
        self.connections = Connections(self.faults, lambda *step: self.steps.append(step))
        self.closed: dict[str, list[list[str]]] = {}  # film's folder → its parts' SHA-256, each time that it was closed
        self.workers = Workers(self.faults, self._began)
        self._settings = settings or settings_for(data)
        self._patch(patches)
        self.loop: SteppedLoop | None = None

    # ---- the machine

    def start(self) -> None:
        """Start the program."""
        self.lives += 1
        self.built.clear()
        self._lanes.clear()
        self.loop = SteppedLoop(self.clock, order=self._whose_turn, watch=self.faults.watch)
        self._program = _Recorder(self._settings, self.clock, self.dark, self._lanes, self.lane)
        self._main = self.loop.create_task(self._program.run())

    def kill(self) -> None:
        """Kill the program."""
        if self.loop is None:
            return
        files = {joiner: _bytes(joiner) for joiner in self.joiners}
        self.loop.kill()
        for joiner, data in files.items():
            joiner.discard()
            if data is not None:
                Path(joiner._path).write_bytes(data)
        self.joiners.clear()
        self.connections.drop()
        self.loop = None

    def stop(self) -> None:
        """Have the program stop in order."""
        if self.loop is not None:
            self._program.stop()
            for _ in range(MOST_S):
                self.loop.turn()
                if self._main.done():
                    break
                self.let_pass(1)
            assert self._main.done(), "it does not stop"
            self.kill()

    def order(self, seed: int) -> None:
        """In which order threads come to their turn from now on; 0: as they were begun."""
        self._chance = random.Random(seed) if seed else _First()

    def run(self, jobs: int | None = None) -> None:
        """Let the program go on without a moment's passing: all that can be done, or so many jobs of threads."""
        if self.loop is None:
            return
        self.loop.turn(jobs)
        if self._main.done():
            self._left()

    def let_pass(self, seconds: float) -> None:
        """Let time pass in one go, as if the machine had stood still; then what is due is ready."""
        self.clock.forward(round(seconds * SECOND))
        for lane in self._lanes if self.loop else ():
            lane.catch_up()
        if self.loop:
            self.loop.passed()

    def person(self, act: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """What a command beside the recorder does, between two turns of it."""
        self.run()  # a transaction that is open would keep it waiting
        beside = SteppedLoop(self.clock)
        task = beside.create_task(act())
        beside.turn()
        assert task.done()
        task.result()

    def _left(self) -> None:
        """The program has ended by itself: it is started again, as systemd does."""
        error = self._main.exception()
        self.left.append(f"{error!r}" if error else str(self._program._error))
        self.kill()
        self.let_pass(AGAIN_S)
        self.start()

    # ---- what is made up

    def _patch(self, patches: pytest.MonkeyPatch) -> None:
        everything = self

        class Tracked(Joiner):
            """A joiner that is known as long as it holds its file."""

            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                everything.joiners.append(self)

            def close(self) -> Any:
                facts = super().close()
                sums = [self.sums[number] for number in sorted(self.sums)]
                everything.closed.setdefault(self._path.parent.name, []).append(sums)
                everything._forget(self)
                return facts

            def discard(self) -> None:
                super().discard()
                everything._forget(self)

        self.connections.patch(patches)
        patches.setattr(workers, "ProcessPoolExecutor", self.workers.executor())
        patches.setattr(workers, "gc", SimpleNamespace(collect=lambda: 0))  # a third of a model's time, for no process
        patches.setattr(supervisor, "make_cameras", lambda *_: [MadeUpCamera(name) for name in ("left", "right")])
        patches.setattr(supervisor, "make_sources", lambda *_: [MadeUpSource(self.rows, self.faults)])
        patches.setattr(supervisor, "make_storage", lambda settings, folder, _: LocalStorage(
            settings.paths.library_folder, folder.root, link=None if self.linked else False))
        patches.setattr(supervisor, "Meter", MadeUpMeter)
        patches.setattr(growing, "Joiner", Tracked)
        patches.setattr(recovery, "adopt", adopt)
        patches.setattr(Recipes, "_part_size", lambda _: PART_BYTES)
        patches.setattr(recovery, "BETWEEN_S", 0)  # or a look for each segment that is found
        patches.setattr(opening, "RESERVE_BYTES", 4096)
        patches.setattr(opening, "LEAST_BYTES", 2048)
        for name in BUILT:
            patches.setattr(supervisor, name, self._built(name, getattr(supervisor, name)))
        self._log = structlog.get_config()
        structlog.configure(processors=[self._note], cache_logger_on_first_use=False)

    def _whose_turn(self, count: int) -> int:
        return self._chance.randrange(count)

    def _began(self, job: ChunkJob) -> None:
        self.chunk_began(job)

    def _built(self, name: str, make: Callable[..., Any]) -> Callable[..., Any]:
        def build(*args: Any, **more: Any) -> Any:
            self.built[name] = made = make(*args, **more)
            return made

        return build

    def _forget(self, joiner: Joiner) -> None:
        if joiner in self.joiners:
            self.joiners.remove(joiner)

    def _note(self, _logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        self.lines.append({"level": method, **line})
        if line["event"] == "step failed, trying again":
            self.failures.append(f"{line['booking']} at {line['step']}: {line['error']}")
        if len(self.lines) > 2 * LOGGED:
            del self.lines[:LOGGED]
        raise structlog.DropEvent

    def close(self) -> None:
        """The machine goes."""
        self.kill()
        structlog.configure(**self._log)


class _First(random.Random):
    """No chance."""

    def randrange(self, *_: Any) -> int:  # type: ignore[override]
        return 0


def settings_for(data: Path) -> Settings:
    """Short chunks, and nothing kept for long."""
    return Settings(paths={"data": data}, bookings={"poll_s": 2},
                    cameras={"fps": 2, "width": SIZE[0], "height": SIZE[1], "lead_s": LEAD_S, "preflight_s": 0},
                    film={"chunk_s": CHUNK_S, "layout": "side_by_side", "overlap": 0, "preset": "ultrafast",
                          "threads": 1, "index_reserve_kb": PART_BYTES >> 10, "keep_cancelled_h": KEPT_S / 3600},
                    disk={"min_free_mb": 0})


def _bytes(joiner: Joiner) -> bytes | None:
    path = Path(joiner._path)
    return path.read_bytes() if path.exists() else None


def open_files(data: Path) -> list[str]:
    """The files below a folder that this process holds open."""
    found = []
    for handle in os.scandir("/proc/self/fd"):
        try:
            path = str(Path(handle.path).readlink())
        except OSError:
            continue
        if path.startswith(str(data)):
            found.append(path)
    return found
