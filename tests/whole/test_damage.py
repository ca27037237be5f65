"""The real program's data folder comes to harm between kills: ten of the cases of `make damage`."""

from pathlib import Path

import pytest

from tests.whole.damage import draw, run_case


@pytest.mark.parametrize("seed", range(1, 11))
def test_what_came_to_no_harm_is_published_and_the_certificate_states_the_rest(tmp_path: Path, seed: int) -> None:
    outcome = run_case(tmp_path, draw(seed))
    assert not outcome.wrong, str(outcome)
