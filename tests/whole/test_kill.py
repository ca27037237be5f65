"""The real program is killed before and after each durable step, and at random moments, and started again."""

import signal
from pathlib import Path

import pytest

from tests.fakes.site import Site

MOMENTS = [
    ("chunk planned", {}, 2),
    ("rendering chunk", {}, 2),
]


@pytest.mark.parametrize(("event", "where", "nth"), MOMENTS, ids=lambda value: str(value))
def test_a_film_survives_a_kill_at(tmp_path: Path, event: str, where: dict[str, str], nth: int) -> None:
    site = Site(tmp_path)
    site.book("match", 2.5, 8)
    try:
        site.start(kill_at={"event": event, "where": where, "nth": nth})
        assert site.wait_dead() == -signal.SIGKILL
        site.start()
        site.wait_stage("match", "cleaned")
        site.check("match")
        site.check_no_leftovers()
        assert site.stop() == 0
    finally:
        site.end()
