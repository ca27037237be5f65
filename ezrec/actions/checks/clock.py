"""The clock: whether somebody sets it, and how far it is from the cloud's."""

from collections.abc import AsyncIterator, Iterator

from ezrec.actions.checks import Found, Grade, Look, Surroundings
from ezrec.adapters.system import clock_is_set
from ezrec.domain.clock import SECOND, utc_text
from ezrec.domain.errors import RetryError

EARLIEST_US = 1_735_689_600 * SECOND  # 2025: before it a clock was never set
FAR_S, TOO_FAR_S = 2.0, 60.0  # from the cloud's; beyond the second a match is recorded at another time, and S3 refuses
SET_IT = "see that the box reaches a time server (timedatectl), or give it a battery for its clock"


def clock(around: Surroundings) -> Iterator[Found]:
    """Whether the clock says a year that can be, and somebody sets it."""
    now = around.clock.wall_us()
    if now < EARLIEST_US:
        yield Found("clock", Grade.BAD, f"it says {utc_text(now)}", SET_IT)
    elif not clock_is_set():
        yield Found("clock", Grade.WARNING, f"it is not synchronised; it says {utc_text(now)}", SET_IT)
    else:
        yield Found("clock", Grade.OK, f"synchronised; it says {utc_text(now)}")


async def skew(around: Surroundings) -> list[Found]:
    """How far the clock is from the cloud's, by the time in an answer."""
    return [one async for one in _skew(around)]


async def _skew(around: Surroundings) -> AsyncIterator[Found]:
    address = cloud_address(around)
    if not address:
        return
    from ezrec.adapters.dates import skew_s  # noqa: PLC0415 - loads httpx

    try:
        seconds = await skew_s(address, around.clock)
    except RetryError as error:
        yield Found("clock's skew", Grade.WARNING, f"cannot be compared with the cloud's: {error}",
                   "see that the network reaches it")
        return
    if seconds is None:
        yield Found("clock's skew", Grade.WARNING, f"{address} does not say what time it is")
        return
    facts = {"skew_s": round(seconds, 1)}
    words = "less than 2 s" if abs(seconds) < FAR_S else f"{abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"
    grade = Grade.BAD if abs(seconds) >= TOO_FAR_S else Grade.WARNING if abs(seconds) >= FAR_S else Grade.OK
    remedy = "" if grade is Grade.OK else SET_IT
    yield Found("clock's skew", grade, f"{words}, compared with the cloud's", remedy, facts)


def cloud_address(around: Surroundings) -> str:
    """Whose time counts; empty: there is no cloud."""
    settings = around.settings
    if settings.supabase.url:
        return settings.supabase.url
    if settings.storage.kind == "s3":
        return settings.s3.endpoint or f"https://s3.{settings.s3.region}.amazonaws.com"
    return ""


LOOKS = (Look("clock", clock), Look("clock's skew", skew, 15.0, by_itself=True))
