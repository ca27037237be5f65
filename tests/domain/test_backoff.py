"""How long to wait before a failed call is made again."""

import time
from email.utils import formatdate

import pytest

from ezrec.domain.backoff import LONGEST_ASKED_S, asked_s


@pytest.mark.parametrize(("text", "wait_s"), [
    ("30", 30), (" 0 ", 0), ("86400", LONGEST_ASKED_S), ("9" * 400, LONGEST_ASKED_S), ("", 0), ("soon", 0), ("-5", 0),
    ("1.5", 0), ("²", 0), ("Wed, 99 Foo 2026 07:28:00 GMT", 0), (formatdate(0, usegmt=True), 0),
    ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_ASKED_S)])
def test_a_wait_that_is_asked_for_is_a_number_or_a_date_of_at_most_an_hour(text: str, wait_s: float) -> None:
    assert asked_s(text) == wait_s


def test_a_date_is_waited_for() -> None:
    assert 55 <= asked_s(formatdate(time.time() + 60, usegmt=True)) <= 60
