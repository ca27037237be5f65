"""The pipeline: what fails is tried again or parked, no poke is lost, and one film never stops another."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ezrec.domain import backoff
from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia, IllegalStep, LeaveError, ParkError, PoolClosed, RetryError
from ezrec.domain.film import Film, Recipe
from ezrec.domain.stages import Stage
from ezrec.pipeline import Pipeline, Step
from ezrec.store import Store
from tests.fakes.desk import RECIPE, Desk, a_desk
from tests.fakes.waiting import eventually

Work = Callable[[Film], Awaitable[bool]]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path) as one:
        yield one


class Timers:
    """The pipeline's timers, fired by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []
        self.drawn: list[tuple[float, float]] = []
        self.share = 1.0  # of the longest delay that could be drawn
        loop = asyncio.get_running_loop()
        self._really = loop.call_later
        monkeypatch.setattr(loop, "call_later", self._call_later)
        monkeypatch.setattr(random, "uniform", self._uniform)

    def _call_later(self, delay: float, call: Callable[..., None], *args: Any, **more: Any) -> object:
        if call.__name__ != "_rested":
            return self._really(delay, call, *args, **more)
        self.set.append((delay, call, args))
        return Timers.Handle(self, self.set[-1])

    def _uniform(self, low: float, high: float) -> float:
        self.drawn.append((low, high))
        return low + (high - low) * self.share

    def fire(self) -> None:
        for _, call, args in self.set:
            call(*args)
        self.set.clear()

    class Handle:
        def __init__(self, timers: "Timers", timer: tuple[float, Callable[..., None], tuple[Any, ...]]) -> None:
            self._timers, self._timer = timers, timer

        def cancel(self) -> None:
            self._timers.set.remove(self._timer)


class Fails:
    """A step's work that fails as often as it is told to."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[str] = []

    async def __call__(self, film: Film) -> bool:
        self.calls.append(film.booking_id)
        if self.errors:
            raise self.errors.pop(0)
        return False


def line(desk: Desk, *works: Work, names: tuple[str, ...] = ("film", "upload")) -> tuple[Pipeline, list[Step]]:
    steps = [Step(name, frozenset({Stage.RECORDING, Stage.RECORDED}), work)
             for name, work in zip(names, works, strict=False)]
    made = Pipeline(desk.store, desk.clock)
    made.steps = steps
    return made, steps


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    return Timers(monkeypatch)


async def test_what_may_work_later_is_tried_again_with_full_jitter_up_to_a_cap(desk: Desk, timers: Timers) -> None:
    made, (step,) = line(desk, Fails(*(RetryError("no network") for _ in range(20))))
    await desk.film(Stage.RECORDING)
    timers.share = 0.5
    for attempt in range(1, 21):
        await made.work_once(step, "match")
        film = await desk.now()
        longest_s = min(backoff.LONGEST_S, backoff.BASE_S * 2**attempt)
        assert timers.drawn[-1] == (0, longest_s)
        assert timers.set[-1][0] == longest_s / 2
        assert (film.attempts, film.retry_at) == (attempt, desk.clock.wall_us() + round(longest_s / 2 * SECOND))
        assert film.parked_step is None  # however often
        timers.fire()
    assert longest_s == backoff.LONGEST_S


async def test_what_fails_for_a_week_is_said_a_few_times(desk: Desk, timers: Timers) -> None:
    made, (step,) = line(desk, Fails(*(RetryError("no network") for _ in range(150))))
    await desk.film(Stage.RECORDING)
    with capture_logs() as lines:
        for _ in range(150):
            await made.work_once(step, "match")
            timers.fire()
    said = [one for one in lines if one["event"] == "step failed, trying again"]
    assert len(said) == 150
    assert [one["attempt"] for one in said if one["log_level"] == "warning"] == [1, 2, 3, 10, 100]


async def test_queueing_films_does_not_read_what_takes_long(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    made, (step,) = line(desk, Fails())
    await desk.film(Stage.RECORDING, recipe=RECIPE.dumps())
    read: list[str] = []
    monkeypatch.setattr(Recipe, "loads", read.append)
    task = asyncio.create_task(made.run())

    async def queued() -> bool:
        return "match" in step.waiting or bool(read)

    await eventually(queued, what="the film to be queued")
    task.cancel()
    assert read == []


async def test_a_film_that_works_again_is_troubled_no_more(desk: Desk, timers: Timers) -> None:
    made, (step,) = line(desk, Fails(RetryError("no network")))
    await desk.film(Stage.RECORDING)
    await made.work_once(step, "match")
    timers.fire()
    await made.work_once(step, "match")
    film = await desk.now()
    assert (film.attempts, film.retry_at, step.failures) == (0, None, {})


async def test_what_troubled_a_film_before_a_restart_is_forgotten_once_it_works(desk: Desk) -> None:
    made, (step,) = line(desk, Fails())
    await desk.film(Stage.RECORDING, attempts=7, retry_at=desk.clock.wall_us() + 99)
    await made.work_once(step, "match")
    film = await desk.now()
    assert (film.attempts, film.retry_at) == (0, None)


async def test_one_steps_success_does_not_end_the_rest_of_another(desk: Desk, timers: Timers) -> None:
    made, (film_step, upload) = line(desk, Fails(), Fails(RetryError("no network")))
    await desk.film(Stage.RECORDING)
    await made.work_once(upload, "match")
    await made.work_once(film_step, "match")
    assert (await desk.now()).retry_at is not None
    made.enqueue(upload, await desk.now())
    assert (list(upload.resting), upload.waiting) == (["match"], set())


async def test_a_film_that_goes_through_has_those_tried_now_that_rest_at_the_same_step(
        desk: Desk, timers: Timers) -> None:
    async def work(film: Film) -> bool:
        if film.booking_id == "old":
            raise RetryError("no network")
        return True

    made, (film_step, upload) = line(desk, Fails(RetryError("no room")), work)
    await desk.film(Stage.RECORDING, "old")
    await desk.film(Stage.RECORDING, "young")
    for step in (film_step, upload):
        await made.work_once(step, "old")
    await made.work_once(upload, "young")
    assert (list(film_step.resting), list(upload.resting)) == (["old"], [])
    made.enqueue(upload, await desk.now("old"))
    assert upload.waiting == {"old"}


@pytest.mark.parametrize("error", [ValueError("a bug"), BadMedia("broken"), IllegalStep("not from here")])
async def test_what_fails_unforeseen_is_parked_after_the_third_time(
        desk: Desk, timers: Timers, error: Exception) -> None:
    work = Fails(error, error, error, error)
    made, (step,) = line(desk, work)
    await desk.film(Stage.RECORDING)
    for attempt in (1, 2):
        await made.work_once(step, "match")
        assert ((await desk.now()).parked_step, (await desk.now()).attempts) == (None, attempt)
        timers.fire()
    await made.work_once(step, "match")
    film = await desk.now()
    assert film.parked_step == "film"
    assert str(error) in (film.parked_reason or "")
    assert (await desk.store.events("match"))[-1].kind == "parked"
    await made.work_once(step, "match")
    assert len(work.calls) == 3


async def test_a_success_in_between_starts_the_count_anew(desk: Desk, timers: Timers) -> None:
    work = Fails(ValueError("a bug"), ValueError("a bug"))
    made, (step,) = line(desk, work)
    await desk.film(Stage.RECORDING)
    for _ in range(3):
        await made.work_once(step, "match")
        timers.fire()
    work.errors = [ValueError("a bug"), ValueError("a bug")]
    for _ in range(2):
        await made.work_once(step, "match")
        timers.fire()
    assert (await desk.now()).parked_step is None


async def test_what_cannot_succeed_is_parked_at_once_with_step_and_reason(desk: Desk) -> None:
    made, (step,) = line(desk, Fails(ParkError("the key is refused")))
    await desk.film(Stage.RECORDING)
    await made.work_once(step, "match")
    film = await desk.now()
    assert (film.parked_step, film.parked_reason) == ("film", "the key is refused")
    assert step.resting == {}


async def test_a_parked_upload_stops_neither_film_making_nor_the_next_step(desk: Desk) -> None:
    work = Fails()
    made, (film_step, upload) = line(desk, work, Fails(ParkError("refused")))
    await desk.film(Stage.RECORDING)
    await made.work_once(upload, "match")
    for step in made.steps:
        made.enqueue(step, await desk.now())
    assert (film_step.waiting, upload.waiting) == ({"match"}, set())
    await made.work_once(film_step, "match")
    film = await desk.store.step("match", Stage.RECORDED)
    made.enqueue(upload, film)
    assert (work.calls, film.parked_step, upload.waiting) == (["match"], "upload", set())


async def test_two_steps_that_park_a_film_both_stay_parked_and_each_says_so_once(desk: Desk) -> None:
    making, uploading = Fails(), Fails()
    making.errors, uploading.errors = ([ParkError(why) for _ in range(20)] for why in ("broken", "refused"))
    made, (film_step, upload) = line(desk, making, uploading)
    await desk.film(Stage.RECORDING)
    for _ in range(20):
        await made.work_once(film_step, "match")
        await made.work_once(upload, "match")
    film = await desk.now()
    assert film.parked == {"film": "broken", "upload": "refused"}
    assert (film.parked_step, film.parked_reason) == ("film", "broken")
    assert (len(making.calls), len(uploading.calls)) == (1, 1)
    assert [entry.kind for entry in await desk.store.events("match")].count("parked") == 2
    await desk.store.retry("match")
    assert (await desk.now()).parked == {}
    await made.work_once(upload, "match")
    assert len(uploading.calls) == 2


async def test_whoever_asks_not_to_be_called_is_not_called_before(desk: Desk, timers: Timers) -> None:
    made, (step,) = line(desk, Fails(RetryError("slow down", after_s=120)))
    await desk.film(Stage.RECORDING)
    await made.work_once(step, "match")
    assert timers.set[-1][0] == 120
    assert (await desk.now()).retry_at == desk.clock.wall_us() + 120 * SECOND


async def test_a_refusal_that_may_pass_is_told_once_and_tried_again_slowly_by_itself(
        desk: Desk, timers: Timers) -> None:
    work = Fails(*[ParkError("the project is restricted", passing=True) for _ in range(3)])
    made, (_, step) = line(desk, Fails(), work)
    await desk.film(Stage.RECORDING)
    for refusals, (least_s, most_s) in enumerate(((300, 600), (600, 1200), (1200, 2400))):
        await made.work_once(step, "match")
        assert timers.drawn[-1] == (least_s, most_s)
        film = await desk.now()
        assert film.parked == {"upload": "the project is restricted"}
        assert film.passing == {"upload": desk.clock.wall_us() + most_s * SECOND}
        made.enqueue(step, film)
        assert step.waiting == set()  # it rests
        assert len(work.calls) == refusals + 1
        timers.fire()
        made.enqueue(step, film)
        assert step.waiting == {"match"}
        step.waiting.clear()
    await made.work_once(step, "match")
    film = await desk.now()
    assert (film.parked, film.passing, step.refusals, film.parked_step) == ({}, {}, {}, None)
    assert [entry.kind for entry in await desk.store.events("match")].count("parked") == 1


async def test_a_refusal_that_may_pass_is_tried_again_after_a_restart_and_when_a_person_asks(
        desk: Desk, timers: Timers) -> None:
    await desk.film(Stage.RECORDING)
    made, (_, step) = line(desk, Fails(), Fails(ParkError("no such bucket", passing=True)))
    await made.work_once(step, "match")
    await desk.store.retry("match")
    made.enqueue(step, await desk.now())
    assert (step.waiting, step.resting) == ({"match"}, {})
    await desk.store.park("match", "upload", "no such bucket", desk.clock.wall_us() + 3600 * SECOND)
    made, (_, step) = line(desk, Fails(), Fails(ParkError("it is another's", passing=False)))
    made.enqueue(step, await desk.now())
    assert step.waiting == {"match"}
    await made.work_once(step, "match")
    film = await desk.now()
    assert (film.parked, film.passing, step.resting) == ({"upload": "no such bucket"}, {}, {})
    assert not step.takes(film)  # what it says now does not pass


async def test_a_live_film_goes_before_older_ones_and_these_give_way_meanwhile(desk: Desk) -> None:
    work = Fails()
    made, (step,) = line(desk, work)
    old = [await desk.film(Stage.RECORDED, f"old{hours}", -hours * 3600, -hours * 3600 + 60) for hours in (5, 3)]
    over = await desk.film(Stage.RECORDED, "just over", -3600, -10)
    async with running(made, ()):
        await eventually(lambda: has(len(step.waiting) == 3))
    assert [made.gives_way(film) for film in (*old, over)] == [True, True, False]
    live = await desk.film(Stage.RECORDING, "played", -60)
    made.enqueue(step, live)
    async with running(made):
        await eventually(lambda: has(len(set(work.calls)) == 4))
    assert list(dict.fromkeys(work.calls)) == ["just over", "played", "old5", "old3"]
    for name in ("just over", "played"):
        await desk.store.park(name, "film", "broken")
    async with running(made, ()):
        await eventually(lambda: has(not any(made.gives_way(film) for film in old)))  # there is nothing to wait for


@pytest.mark.parametrize("end", ["cancelled", "parked", "parked by a person's hand", "gone"])
async def test_a_step_keeps_nothing_of_a_film_that_it_will_not_work_on(
        desk: Desk, timers: Timers, end: str) -> None:
    forgotten: list[str] = []

    async def forget(booking_id: str) -> None:
        forgotten.append(booking_id)

    errors: dict[str, Exception] = {"match": RetryError("no network")}

    async def work(film: Film) -> bool:
        if film.booking_id in errors:
            raise errors[film.booking_id]
        return False

    made, (step,) = line(desk, work)
    step.forget = forget
    await desk.film(Stage.RECORDING)
    await desk.film(Stage.RECORDING, "other")
    async with running(made):
        await eventually(lambda: has(step.resting and step.known == {"match", "other"}))
        assert forgotten == []
        if end == "cancelled":
            await desk.store.step("match", Stage.CANCELLED)
        elif end == "parked":
            errors["match"] = ParkError("broken")
            timers.fire()
        elif end == "gone":
            await desk.store.step("match", Stage.CANCELLED)
            await desk.store.step("match", Stage.CLEANED)
        else:
            await desk.store.park("match", "film", "enough")
        made.notify()
        await eventually(lambda: has("match" in forgotten))
    assert (step.known, step.failures, step.resting, step.waiting) == ({"other"}, {}, {}, set())


@pytest.mark.parametrize("error", [LeaveError("hung"), PoolClosed("stopping")])
async def test_what_ends_the_process_is_no_failure_of_the_film(desk: Desk, error: Exception) -> None:
    made, (step,) = line(desk, Fails(error))
    before = await desk.film(Stage.RECORDING)
    with pytest.raises(type(error)):
        await made.work_once(step, "match")
    assert await desk.now() == before


async def test_a_person_that_asks_for_a_retry_ends_the_rest(desk: Desk, timers: Timers) -> None:
    made, (step,) = line(desk, Fails(RetryError("no network")))
    await desk.film(Stage.RECORDING)
    await made.work_once(step, "match")
    made.enqueue(step, await desk.now())
    assert step.waiting == set()
    made.enqueue(step, await desk.store.update_film("match", retry_at=None, attempts=0))
    assert (step.waiting, step.resting, timers.set) == ({"match"}, {}, [])


async def test_a_rest_that_is_over_queues_the_film_again(desk: Desk, timers: Timers) -> None:
    work = Fails(RetryError("no network"))
    made, _ = line(desk, work)
    await desk.film(Stage.RECORDING)
    async with running(made):
        await eventually(lambda: has(timers.set))
        timers.fire()
        await eventually(lambda: has(len(work.calls) == 2))


async def test_a_poke_during_the_work_is_not_lost(desk: Desk) -> None:
    calls: list[asyncio.Event] = []

    async def work(_: Film) -> bool:
        calls.append(asyncio.Event())
        await calls[-1].wait()
        return False

    made, (step,) = line(desk, work)
    film = await desk.film(Stage.RECORDING)
    async with running(made):
        await eventually(lambda: has(calls))
        made.enqueue(step, film)
        made.enqueue(step, film)
        calls[0].set()
        await eventually(lambda: has(len(calls) == 2))
        assert step.queue.empty()  # two pokes are one more look
        calls[1].set()


async def test_a_poke_during_work_that_fails_does_not_cut_its_rest_short(desk: Desk, timers: Timers) -> None:
    made, (step,) = line(desk, Fails())
    film = await desk.film(Stage.RECORDING)
    work = Fails(RetryError("no network"))

    async def poked(one: Film) -> bool:
        made.enqueue(step, film)
        return await work(one)

    step.work = poked
    other = Fails()
    async with running(made):
        await eventually(lambda: has(step.resting and step.queue.empty()))
        await desk.film(Stage.RECORDING, "other")
        step.work = other
        made.notify()
        await eventually(lambda: has(other.calls))
    assert (work.calls, other.calls) == (["match"], ["other"])


async def test_the_oldest_film_has_its_turn_first(desk: Desk) -> None:
    work = Fails()
    made, (step,) = line(desk, work)
    for name, start_s in (("late", -10), ("early", -30), ("middle", -20)):
        made.enqueue(step, await desk.film(Stage.RECORDING, name, start_s))
    async with running(made):
        await eventually(lambda: has(len(set(work.calls)) == 3))
    assert list(dict.fromkeys(work.calls)) == ["early", "middle", "late"]


async def test_at_start_every_film_goes_on_with_the_steps_of_its_stage(desk: Desk) -> None:
    making, publishing = Fails(), Fails()
    made, (step,) = line(desk, making)
    made.steps = (step, Step("publish", frozenset({Stage.UPLOADED}), publishing))
    for stage in Stage:
        await desk.film(stage, stage.value)
    await desk.store.update_film("recorded", retry_at=desk.clock.wall_us() + 9999 * SECOND, attempts=5)
    async with running(made):
        await eventually(lambda: has(len(making.calls) == 2 and publishing.calls))
    assert (sorted(making.calls), publishing.calls) == (["recorded", "recording"], ["uploaded"])


async def test_a_film_that_has_left_its_stage_while_it_waited_is_passed_over(desk: Desk) -> None:
    work = Fails()
    made, (step,) = line(desk, work)
    await desk.film(Stage.CANCELLED)
    await made.work_once(step, "match")
    await made.work_once(step, "gone")
    assert work.calls == []


async def test_a_step_that_is_done_hands_the_film_to_the_next(desk: Desk) -> None:
    published: list[str] = []

    async def make(film: Film) -> bool:
        await desk.store.step(film.booking_id, Stage.CANCELLED)
        return True

    async def publish(film: Film) -> bool:
        published.append(film.booking_id)
        return False

    made, (step,) = line(desk, make)
    made.steps = (step, Step("publish", frozenset({Stage.CANCELLED}), publish))
    await desk.film(Stage.RECORDING)
    async with running(made):
        await eventually(lambda: has(published))


async def has(value: object) -> bool:
    return bool(value)


class running:  # noqa: N801 - reads as a verb
    """The pipeline's tasks, for the length of a block."""

    def __init__(self, made: Pipeline, steps: Sequence[Step] | None = None) -> None:
        self._made = made
        self._steps = made.steps if steps is None else steps

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.create_task(self._made.run()),
                       *(asyncio.create_task(self._made.work(step)) for step in self._steps)]

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_a_film_that_the_store_cannot_be_asked_for_is_queued_again(
        desk: Desk, timers: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken from its queue: without that it would wait until something else happens, overnight say."""
    work = Fails()
    made, (step,) = line(desk, work)
    await desk.film(Stage.RECORDING)
    real, errors = Store.film, [RetryError("the store: database is locked")]

    async def film(store: Store, booking_id: str) -> Film | None:
        if errors:
            raise errors.pop()
        return await real(store, booking_id)

    monkeypatch.setattr(Store, "film", film)
    running = [asyncio.create_task(made.run()), asyncio.create_task(made.work(step))]
    try:
        await eventually(lambda: asyncio.sleep(0, bool(timers.set)))
        assert work.calls == []
        timers.fire()
        await eventually(lambda: asyncio.sleep(0, bool(work.calls)))
        assert not any(task.done() for task in running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
