"""What time others say it is: the `Date` header of any answer."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import RetryError

LIMIT_S = 10.0
WHOLE_S = 0.5  # a header tells whole seconds: on average it is half of one late


async def skew_s(address: str, clock: Clock, limit_s: float = LIMIT_S) -> float | None:
    """How many seconds the wall clock is ahead of what `address` says, to a second; None if it does not say.

    Nothing but its root is asked for, without any credential, and no redirect is followed.

    Raises:
        RetryError: no answer.
    """
    host = urlsplit(address)._replace(path="/", query="", fragment="").geturl()
    try:
        async with httpx.AsyncClient(timeout=limit_s, follow_redirects=False) as client:
            began = clock.wall_us()
            answer = await client.head(host)
            middle = (began + clock.wall_us()) / 2 / SECOND
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise RetryError(f"no answer from {urlsplit(host).netloc}: {str(error) or type(error).__name__}") from error
    try:
        said = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError, TypeError):
        return None
    return middle - (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() - WHOLE_S
