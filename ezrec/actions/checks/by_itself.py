"""The looks that the recorder makes by itself, one after the other, as its check-up."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from ezrec.actions.checks import Grade, Look, Looking, Surroundings
from ezrec.actions.checks.every import EVERY


def own_looks(around: Surroundings) -> Sequence[Callable[[], Awaitable[list[str]]]]:
    """Each look as a function that gives what is bad, in words."""
    under_way: dict[str, Looking] = {}
    return [partial(_bad, look, around, under_way) for look in EVERY if look.by_itself]


async def _bad(look: Look, around: Surroundings, under_way: dict[str, Looking]) -> list[str]:
    """Make a look; one that still hangs since the last time is not begun beside itself, and told as hanging."""
    looking = under_way.get(look.about)
    if looking is None or not looking.hangs:
        looking = under_way[look.about] = Looking(look, around)
    try:
        found = await asyncio.to_thread(looking.result)
    except asyncio.CancelledError:
        looking.give_up()
        raise
    return [one.problem for one in found if one.grade is Grade.BAD]
