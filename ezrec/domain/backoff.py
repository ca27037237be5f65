"""How long to wait before a failed call is made again."""

import random
import time
from email.utils import parsedate_to_datetime

BASE_S, LONGEST_S = 1.0, 60.0
SLOW_BASE_S, SLOWEST_S = 300.0, 3600.0
LONGEST_ASKED_S = 3600.0
_MOST_DOUBLINGS = 16  # beyond it the longest wait is reached long since


def wait_s(failures: int) -> float:
    """A wait in seconds after so many failures in a row: exponential, with full jitter, so devices do not call in step.

    It is drawn evenly between 0 and min(LONGEST_S, BASE_S * 2^failures):
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0, min(LONGEST_S, BASE_S * 2 ** min(failures, _MOST_DOUBLINGS)))


def slow_wait_s(refusals: int) -> float:
    """A wait in seconds after so many refusals in a row that may end by themselves: 5 to 10 minutes at first, then up
    to an hour. Half of it is jitter.
    """
    longest_s = min(SLOWEST_S, 2 * SLOW_BASE_S * 2 ** min(refusals, _MOST_DOUBLINGS))
    return random.uniform(longest_s / 2, longest_s)


def asked_s(retry_after: str) -> float:
    """How long an HTTP Retry-After asks to wait, in seconds, at most an hour: it names a number of seconds, or a date
    (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after). What cannot be read asks for nothing.
    """
    try:
        wait_s = (float(retry_after) if retry_after.strip().isdigit() else
                  parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
    return min(max(wait_s, 0.0), LONGEST_ASKED_S)
