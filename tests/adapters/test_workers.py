"""The pool of worker processes: real processes, killed for real."""

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from ezrec.adapters.workers import RenderPool
from ezrec.domain.errors import BadMedia, PoolClosed, RetryError, WorkerDied, WorkerHung

JOBS = '''
import os, signal, sys, threading
from ezrec.domain.errors import BadMedia

def double(n):
    return 2 * n

def pid(_):
    return os.getpid()

def fail(text):
    raise BadMedia(text)

def touch_and_hang(path):
    open(path, "w").close()
    while True:  # holding the interpreter, as a library may
        pass

def die(status):
    os._exit(status)

def modules(_):
    return sorted(name for name in sys.modules if name.split(".")[0] == "ezrec")

def manners(_):
    ignored = [signal.getsignal(n) == signal.SIG_IGN for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    oom = int(open("/proc/self/oom_score_adj").read())
    return os.nice(0), all(ignored), blocked, oom

def environment(_):
    return dict(os.environ)

def take(size):
    return len(bytearray(size))

def time_out(text):
    raise TimeoutError(text)

def unpicklable(_):
    return threading.Lock()
'''


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A module that workers can import too, and quickly: they would need pytest to import this one."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "pool_jobs.py").write_text(JOBS, "utf-8")
    sys.path.insert(0, str(folder))
    module = importlib.import_module("pool_jobs")
    sys.path.remove(str(folder))
    return module


@pytest.fixture(autouse=True)
def importable(jobs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(str(jobs.__file__)).parent))


@pytest.fixture
async def pool() -> AsyncIterator[RenderPool]:
    pool = RenderPool(1)
    yield pool
    await pool.close()


async def until(condition: Callable[[], bool], limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def hang(pool: RenderPool, jobs: ModuleType, tmp_path: Path) -> "asyncio.Task[None]":
    """A call that will never end, begun for certain."""
    begun = tmp_path / f"begun-{time.monotonic_ns()}"
    call = asyncio.create_task(pool.run(jobs.touch_and_hang, str(begun)))
    await until(begun.exists)
    return call


async def test_a_call_returns_what_its_function_returns(pool: RenderPool, jobs: ModuleType) -> None:
    assert await pool.run(jobs.double, 21) == 42
    assert await pool.run(jobs.pid, None) != os.getpid()


async def test_an_error_of_the_function_arrives_with_its_class_and_text_and_leaves_the_worker_alone(
        pool: RenderPool, jobs: ModuleType) -> None:
    before = await pool.run(jobs.pid, None)
    with pytest.raises(BadMedia, match=r"no picture in logo\.png"):
        await pool.run(jobs.fail, "no picture in logo.png")
    with pytest.raises(TypeError):
        await pool.run(jobs.unpicklable, None)
    assert await pool.run(jobs.pid, None) == before


async def test_a_worker_of_low_priority_leaves_signals_to_its_parent_and_memory_to_others(
        pool: RenderPool, jobs: ModuleType) -> None:
    assert await pool.run(jobs.manners, None) == (min(os.nice(0) + 10, 19), True, [], 500)
    assert psutil.Process(pool.pids()[0]).ionice().value == 7


async def test_starting_a_worker_leaves_the_parents_signals_as_they_were(pool: RenderPool, jobs: ModuleType) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    await pool.run(jobs.double, 1)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


async def test_a_worker_is_handed_no_secret_and_the_parent_keeps_them(
        pool: RenderPool, jobs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"SUPABASE_SERVICE_ROLE_KEY": "s1", "AWS_SECRET_ACCESS_KEY": "s2", "EMAIL_HOST_PASSWORD": "s3",
               "EZREC_S3__SECRET_ACCESS_KEY": "s4", "EZREC_SUPABASE__KEY_FILE": "/s5", "CREDENTIALS_DIRECTORY": "/s6",
               "GITHUB_TOKEN": "s7", "DATABASE": "postgres://me:s8@db/x"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    inside = await pool.run(jobs.environment, None)
    assert not secrets.keys() & inside.keys()
    assert inside["PATH"] == os.environ["PATH"]
    began_with = Path(f"/proc/{pool.pids()[0]}/environ").read_bytes()
    assert not any(value.encode() in began_with for value in secrets.values() if value.startswith("/"))
    assert secrets.items() <= dict(os.environ).items()


async def test_a_worker_that_wants_more_memory_than_its_limit_fails_its_call_alone(jobs: ModuleType) -> None:
    pool = RenderPool(1, memory_bytes=300 << 20)
    try:
        (worker,) = {await pool.run(jobs.pid, None)}
        with pytest.raises(MemoryError, match=r"take needs more memory: it may have 300 MiB \(film.worker_mb\)"):
            await pool.run(jobs.take, 400 << 20)
        assert await pool.run(jobs.take, 10 << 20) == 10 << 20
        assert await pool.run(jobs.pid, None) == worker
    finally:
        await pool.close()


async def test_a_worker_imports_nothing_of_the_program_but_what_it_needs(pool: RenderPool, jobs: ModuleType) -> None:
    assert set(await pool.run(jobs.modules, None)) == {
        "ezrec", "ezrec.adapters", "ezrec.adapters.system", "ezrec.adapters.workers", "ezrec.domain",
        "ezrec.domain.errors"}


async def test_a_worker_killed_in_mid_call_raises_once_and_the_next_call_works(
        pool: RenderPool, jobs: ModuleType, tmp_path: Path) -> None:
    call = await hang(pool, jobs, tmp_path)
    waiting = asyncio.create_task(pool.run(jobs.double, 4))
    os.kill(pool.pids()[0], signal.SIGKILL)
    with pytest.raises(WorkerDied, match="touch_and_hang"):
        await call
    assert await waiting == 8
    assert await pool.run(jobs.double, 5) == 10


async def test_a_worker_that_leaves_by_itself_raises_too(pool: RenderPool, jobs: ModuleType) -> None:
    with pytest.raises(WorkerDied, match="die"):
        await pool.run(jobs.die, 3)
    assert await pool.run(jobs.double, 5) == 10


async def test_a_worker_killed_while_idle_costs_no_call(pool: RenderPool, jobs: ModuleType) -> None:
    first = await pool.run(jobs.pid, None)
    os.kill(first, signal.SIGKILL)
    with suppress(ChildProcessError):  # the executor's own thread was quicker
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)  # holds the loop: the next call comes at once
    assert await pool.run(jobs.pid, None) != first


async def test_the_death_of_one_worker_leaves_the_call_of_another_alone(jobs: ModuleType, tmp_path: Path) -> None:
    pool = RenderPool(2)
    try:
        first = await hang(pool, jobs, tmp_path)
        victim = pool.pids()[0]
        second = await hang(pool, jobs, tmp_path)
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            await first
        assert await pool.run(jobs.double, 3) == 6
        assert not second.done()
    finally:
        await pool.close()
    with pytest.raises(PoolClosed):
        await second


async def test_workers_are_replaced_every_so_many_calls_and_nothing_is_left_of_them(jobs: ModuleType) -> None:
    pool = RenderPool(2, tasks_per_worker=5)
    try:
        await pool.run(jobs.pid, None)  # what Python opens once is open now
        before = psutil.Process().num_fds()
        pids = await asyncio.gather(*(pool.run(jobs.pid, None) for _ in range(200)))
        assert max(pids.count(pid) for pid in pids) <= 5
        assert len(set(pids)) >= 40
        await until(lambda: all(gone(pid) for pid in set(pids) - set(pool.pids())))
        await until(lambda: psutil.Process().num_fds() <= before + 20)  # two executors' own
    finally:
        await pool.close()


async def test_calls_are_served_in_the_order_they_were_made(pool: RenderPool, jobs: ModuleType) -> None:
    done: list[int] = []

    async def call(number: int) -> None:
        done.append(await pool.run(jobs.double, number))

    await asyncio.gather(*(call(number) for number in range(10)))
    assert done == [2 * number for number in range(10)]


async def test_a_call_that_is_cancelled_frees_its_worker(pool: RenderPool, jobs: ModuleType, tmp_path: Path) -> None:
    call = await hang(pool, jobs, tmp_path)
    busy = pool.pids()[0]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await pool.run(jobs.double, 2) == 4
    await until(lambda: gone(busy))


async def test_a_worker_that_does_not_answer_is_killed_and_the_next_call_works(
        jobs: ModuleType, tmp_path: Path) -> None:
    pool = RenderPool(1, limit_s=1.0)
    try:
        call = await hang(pool, jobs, tmp_path)
        hung = pool.pids()[0]
        waiting = asyncio.create_task(pool.run(jobs.double, 2))
        with pytest.raises(WorkerHung, match=r"touch_and_hang did not answer for 1 s"):
            await asyncio.wait_for(call, 20)
        await until(lambda: gone(hung))
        assert await waiting == 4  # it had waited for the worker for as long as a call may take
    finally:
        await pool.close()


async def test_a_worker_that_dies_is_told_by_the_name_of_the_call_alone(pool: RenderPool, jobs: ModuleType) -> None:
    with pytest.raises(WorkerDied, match=r"^a worker died while it ran die( \(|$)"):
        await pool.run(partial(jobs.die), 3)


async def test_a_time_out_within_a_function_is_its_own_error(pool: RenderPool, jobs: ModuleType) -> None:
    with pytest.raises(TimeoutError, match="the disk"):
        await pool.run(jobs.time_out, "the disk")
    assert len(pool.pids()) == 1


async def test_a_call_that_is_cancelled_while_it_waits_disturbs_nobody(
        pool: RenderPool, jobs: ModuleType, tmp_path: Path) -> None:
    running = await hang(pool, jobs, tmp_path)
    waiting = asyncio.create_task(pool.run(jobs.double, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
    assert await pool.run(jobs.double, 2) == 4


async def test_closing_ends_busy_workers_and_all_calls(jobs: ModuleType, tmp_path: Path) -> None:
    pool = RenderPool(2)
    calls = [await hang(pool, jobs, tmp_path) for _ in range(2)]
    waiting = [asyncio.create_task(pool.run(jobs.double, 1)) for _ in range(3)]
    await asyncio.sleep(0)
    pids = pool.pids()
    assert len(pids) == 2
    await asyncio.wait_for(pool.close(), 2)
    assert all(gone(pid) for pid in pids)
    ended = await asyncio.wait_for(asyncio.gather(*calls, *waiting, return_exceptions=True), 5)
    assert [type(error) for error in ended] == [PoolClosed] * 5
    with pytest.raises(PoolClosed):
        await pool.run(jobs.double, 1)
    await pool.close()
    assert pool.pids() == []


async def test_closing_a_pool_that_never_worked_is_fine() -> None:
    pool = RenderPool(2)
    await pool.close()


async def test_memory_is_that_of_the_workers_there_are(pool: RenderPool, jobs: ModuleType) -> None:
    assert pool.rss_bytes() == 0
    await pool.run(jobs.double, 1)
    assert 5_000_000 < pool.rss_bytes() < 200_000_000


async def test_a_worker_that_cannot_be_started_is_tried_again_later(
        pool: RenderPool, jobs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        def start(_: object) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        patch.setattr("ezrec.adapters.workers.SpawnProcess.start", start)
        with pytest.raises(RetryError, match="cannot start a worker"):
            await pool.run(jobs.double, 1)
    assert await pool.run(jobs.double, 1) == 2


PARENT = """
import asyncio, sys
from pathlib import Path
from ezrec.adapters.workers import RenderPool
import pool_jobs

async def main():
    pool = RenderPool(2)
    begun = [Path(sys.argv[1]) / name for name in ("a", "b")]
    calls = [asyncio.create_task(pool.run(pool_jobs.touch_and_hang, str(path))) for path in begun]
    while not all(path.exists() for path in begun):
        await asyncio.sleep(0.01)
    print(*pool.pids(), flush=True)
    await asyncio.wait(calls)

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_no_worker_outlives_a_parent_that_was_killed(jobs: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT, "utf-8")
    path = os.pathsep.join([str(Path(str(jobs.__file__)).parent), *sys.path])
    with subprocess.Popen([sys.executable, script, tmp_path], env=os.environ | {"PYTHONPATH": path},
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(parent.stdout.readline), 30)
        pids = [int(word) for word in line.split()]
        assert len(pids) == 2
        assert not any(gone(pid) for pid in pids)
        parent.kill()
    await until(lambda: all(gone(pid) for pid in pids))


def test_a_pool_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        RenderPool(0)


LEAVING = """
import asyncio, os, time
from ezrec.adapters.workers import RenderPool

async def main():
    pool = RenderPool(2)
    assert await pool.run(len, "abc") == 3
    busy = asyncio.create_task(pool.run(time.sleep, 60))
    while len(pool.pids()) < 2 and not busy.done():
        await asyncio.sleep(0)
    await pool.close()
    await asyncio.gather(busy, return_exceptions=True)
    os._exit(0)

asyncio.run(main())
"""


def test_a_program_that_leaves_at_once_after_closing_leaks_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING], cwd=Path(__file__).parents[2], capture_output=True,
                          text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
