"""`ezrec status`: outages are the times between runs, whoever ended them."""

from ezrec.actions.state import last_words
from ezrec.actions.status import outages
from ezrec.domain.clock import SECOND
from ezrec.folders import DataFolder
from ezrec.store.runs import RunLife
from tests.fakes.desk import a_desk

HOUR = 3600 * SECOND


def test_a_pause_between_two_runs_is_an_outage_and_a_quick_restart_is_none() -> None:
    lives = [RunLife(1, 0, HOUR, in_order=False), RunLife(2, 3 * HOUR, 4 * HOUR, in_order=True),
             RunLife(3, 4 * HOUR + SECOND, None, in_order=False), RunLife(4, 9 * HOUR, None, in_order=False)]
    assert [(one.from_at, one.to_at, one.stopped) for one in outages(lives, 0, running=True)] == [
        (HOUR, 3 * HOUR, False), (None, 9 * HOUR, False)]
    assert outages(lives[:2], 0, running=False)[-1].to_at is None


async def test_a_run_s_end_is_what_its_state_file_says_and_what_is_known_stays(tmp_path) -> None:  # type: ignore[no-untyped-def]
    async with a_desk(tmp_path) as desk:
        run = await desk.run()
        folder = DataFolder(tmp_path)
        assert last_words(folder) is None
        folder.state.write_text(f'{{"run": {run}, "updated_at": "2027-01-15T08:00:01.000+00:00"}}')
        words = last_words(folder)
        assert words
        await desk.store.run_ended(*words, in_order=False)
        await desk.store.run_ended(run, 5, in_order=True)
        assert [(one.run, one.ended_at, one.in_order) for one in await desk.store.lives(0)] == [
            (run, 1_800_000_001 * SECOND, False)]
