"""Alerts: told once when trouble has lasted, once when it is over, and again only when it becomes more urgent."""

from dataclasses import replace
from pathlib import Path

from ezrec.domain.alerts import REMEDIES, Alert, AlertKind, Finding, Judge, urgency
from ezrec.domain.clock import SECOND

ROOT = Path(__file__).parents[2]
GONE = Finding(AlertKind.CAMERA, "left", "no frames come")
LASTS = 120 * SECOND


def known(seen: Alert) -> list[Alert]:
    return [replace(seen, id=1)]


def test_a_blink_is_told_to_nobody() -> None:
    judge = Judge(LASTS)
    first = judge.judge([], [GONE], 0, 0)
    assert not first.begun
    after = judge.judge(known(first.seen[0]), [], 60 * SECOND, 60 * SECOND)
    assert not after.begun
    assert not after.over
    assert [one.kind for one in after.forgotten] == [AlertKind.CAMERA]


def test_trouble_that_lasts_is_told_once_and_its_end_once() -> None:
    judge = Judge(LASTS)
    seen = judge.judge([], [GONE], 0, 0).seen[0]
    begun = judge.judge(known(seen), [GONE], LASTS, LASTS).begun
    assert len(begun) == 1
    now = known(begun[0])
    assert not judge.judge(now, [GONE], 2 * LASTS, 2 * LASTS)
    assert not judge.judge(now, [], 3 * LASTS, 3 * LASTS)
    assert not judge.judge(now, [GONE], 3 * LASTS + 1, 3 * LASTS + 1)  # it was away for a blink
    assert not judge.judge(now, [], 4 * LASTS, 4 * LASTS)
    assert len(judge.judge(now, [], 5 * LASTS, 5 * LASTS).over) == 1


def test_a_clock_that_is_set_makes_no_trouble_older() -> None:
    judge = Judge(LASTS)
    seen = judge.judge([], [GONE], 0, 0).seen[0]
    assert not judge.judge(known(seen), [GONE], 10**15, SECOND).begun


def test_trouble_that_outlives_the_process_counts_from_where_it_began() -> None:
    seen = Judge(LASTS).judge([], [GONE], 0, 0).seen[0]
    restarted = Judge(LASTS)
    assert not restarted.judge(known(seen), [GONE], LASTS - 1, 5).begun
    assert Judge(LASTS).judge(known(seen), [GONE], LASTS, 5).begun


def test_what_was_told_is_told_again_only_when_it_is_more_urgent() -> None:
    judge = Judge(0)
    day = Finding(AlertKind.BOOKING, "match", "…", 1)
    told = known(judge.judge([], [day], 0, 0).begun[0])
    assert not judge.judge(told, [day], 1, 1)
    assert [one.urgency for one in judge.judge(told, [replace(day, urgency=3)], 2, 2).begun] == [3]


def test_what_nobody_can_look_at_now_is_not_over() -> None:
    judge = Judge(0)
    told = known(judge.judge([], [GONE], 0, 0).begun[0])
    assert not judge.judge(told, [], LASTS, LASTS, {AlertKind.CAMERA})
    assert judge.judge(told, [], LASTS, LASTS).over


def test_a_booking_grows_urgent_a_day_six_hours_an_hour_and_ten_minutes_before() -> None:
    hour = 3600 * SECOND
    assert [urgency(us) for us in (25 * hour, 24 * hour, 6 * hour, hour, hour // 6)] == [0, 1, 2, 3, 4]


def test_the_table_of_alerts_names_every_kind_with_its_remedy_and_no_other() -> None:
    lines = (ROOT / "docs" / "alerts.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    assert [row[0].strip("`") for row in rows] == [str(kind) for kind in AlertKind]
    assert [row[2] for row in rows] == [REMEDIES[kind] for kind in AlertKind]
    assert all(row[1] for row in rows)
