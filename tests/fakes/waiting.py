"""Waiting for a condition with a limit, the only way in which tests wait."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")

CHECK_EVERY_S = 0.02


def wait_until(condition: Callable[[], _T], limit_s: float = 20.0, what: str = "the condition") -> _T:
    """Return the first true value of `condition`; AssertionError after `limit_s` seconds."""
    until = time.monotonic() + limit_s
    while True:
        if value := condition():
            return value
        assert time.monotonic() < until, f"waited {limit_s:g} s for {what}"
        time.sleep(CHECK_EVERY_S)


async def eventually(condition: Callable[[], Awaitable[_T]], limit_s: float = 20.0, what: str = "the condition") -> _T:
    """Return the first true value of the coroutine function `condition`; AssertionError after `limit_s` seconds."""
    until = time.monotonic() + limit_s
    while True:
        if value := await condition():
            return value
        assert time.monotonic() < until, f"waited {limit_s:g} s for {what}"
        await asyncio.sleep(CHECK_EVERY_S)
