"""How long to wait before a failed call is made again."""

import random

BASE_S, LONGEST_S = 1.0, 60.0
_MOST_DOUBLINGS = 16  # beyond it the longest wait is reached long since


def wait_s(failures: int) -> float:
    """A wait in seconds after so many failures in a row: exponential, with full jitter, so devices do not call in step.

    It is drawn evenly between 0 and min(LONGEST_S, BASE_S * 2^failures):
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0, min(LONGEST_S, BASE_S * 2 ** min(failures, _MOST_DOUBLINGS)))
