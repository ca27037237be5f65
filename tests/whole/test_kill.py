"""The real program is killed before and after each durable step, and at random moments, and started again.

After it: one film in the library and one row for each booking, no leftovers, every film decodes, what its pictures do
not show is what its certificate states, and no more is missing than promise 5 allows (`torture` looks at all that).
Each case kills twice: in front of a step in the first life, behind it in the second.
"""

import os
import random
import signal
from pathlib import Path

import pytest

from tests.whole.torture import (
    BACK_TO_BACK,
    BEFORE_AND_AFTER,
    BOOKED_S,
    ONE,
    OVERLAPPING,
    REPEATED,
    Case,
    Kill,
    run_case,
)

LONG = (("match", 0.0, 7.0),)
ORDERLY = ("segment written", "rendering chunk", "closing film", "storing film")


def _name(pair: object) -> str:
    (before, where), (after, _) = pair  # type: ignore[misc]
    return f"{before}, {after} {' '.join(map(str, where.values()))}".rstrip()


def _case(pair: object, number: int) -> Case:
    """A step of a window's middle is met at its second time; its window is long enough for two starts."""
    (before, where), after = pair  # type: ignore[misc]
    repeated = before in REPEATED
    kills = Kill(before, where, nth=2 if repeated else 1, number=number), Kill(*after, number=number)
    return Case(kills, LONG if repeated else ONE, branded="intro" in before)


def _survives(folder: Path, case: Case) -> None:
    outcome = run_case(folder, case)
    assert not outcome.wrong, f"{case}: {outcome.wrong}"
    assert not outcome.never, f"{case}: {outcome.never} never came"


@pytest.mark.parametrize("pair", BEFORE_AND_AFTER, ids=_name)
def test_a_film_survives_a_kill_before_a_durable_step_and_one_after_it(tmp_path: Path, pair: object) -> None:
    _survives(tmp_path, _case(pair, signal.SIGKILL))


@pytest.mark.parametrize("pair", [pair for pair in BEFORE_AND_AFTER if pair[0][0] in ORDERLY], ids=_name)
def test_a_recorder_that_is_told_to_stop_misses_the_pause_and_nothing_else(tmp_path: Path, pair: object) -> None:
    _survives(tmp_path, _case(pair, signal.SIGTERM))


def test_what_was_being_written_when_the_power_went_is_in_the_film(tmp_path: Path) -> None:
    _survives(tmp_path, Case((Kill(after_s=BOOKED_S + 3.4),), LONG, segment_s=10.0))


@pytest.mark.parametrize(("number", "windows"), list(enumerate((ONE, ONE, ONE, BACK_TO_BACK, OVERLAPPING))))
def test_films_survive_a_kill_at_any_moment(tmp_path: Path, number: int,
                                            windows: tuple[tuple[str, float, float], ...]) -> None:
    seed = int(os.environ.get("EZREC_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"EZREC_SEED={seed}")
    after_s = random.Random(seed + number).uniform(0, BOOKED_S + windows[-1][2] + 1)
    _survives(tmp_path, Case((Kill(after_s=after_s),), windows=windows))
