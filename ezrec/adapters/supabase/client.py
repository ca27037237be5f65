"""The one door to a Supabase project: whoever asks it for something goes through `Supabase`, and gets rows or an error.

A call has one try and a limit in time; trying again is the caller's. A failed answer is logged whole once for each kind
of call, until that call works again or fails in another way: a network that is away for a week must not fill the log.

Limits: PostgREST only (tables and functions); no sessions, nothing realtime.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
from postgrest import APIError, AsyncPostgrestClient
from structlog.stdlib import BoundLogger

from ezrec import logs
from ezrec.adapters.supabase.answers import refusal, rows_of
from ezrec.adapters.supabase.credentials import TokenTransport, tokens
from ezrec.adapters.supabase.transport import NoAnswerTaken, transport
from ezrec.config.sections import SupabaseSettings
from ezrec.domain.errors import ParkError, Refused, RetryError

CONNECT_S = 5.0  # what connecting may take of a call's limit
CONNECTIONS = 4
KEEP_S = 60.0  # longer than the time between two polls, or each would shake hands anew
LACKING_S = 600.0  # how long a column that a table lacks is left out before it is tried again
NO_KEY = "-"  # a project that asks for none reads the token alone
LOGGED = 20_000  # characters of a failed answer; what is longer is somebody's page

Row = dict[str, Any]


class Query(Protocol):
    """A request as postgrest-py builds it."""

    async def execute(self) -> Any:
        """Send it; returns an `APIResponse`."""


Build = Callable[[AsyncPostgrestClient], Query]


class Supabase:
    """A project and the credential for it, with connections of its own.

    To be made before anything is recorded: it reads the machine's certificates, which may take 0.1 s.
    """

    def __init__(self, settings: SupabaseSettings) -> None:
        self._limit_s = settings.limit_s
        self._host = urlsplit(settings.url).netloc
        # by table: columns that it turned out not to have, and until when (loop's time) they are left out
        self._lacking: dict[str, dict[str, float]] = defaultdict(dict)
        self._logged: dict[str, str] = {}  # by kind of call: the failure that was logged
        way: httpx.AsyncBaseTransport = transport(settings.url, _certificates(), httpx.Limits(
            max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEP_S))
        device = tokens(settings)
        self._http = httpx.AsyncClient(
            follow_redirects=False, event_hooks={"response": [_keep_answer]},
            timeout=httpx.Timeout(settings.limit_s, connect=min(CONNECT_S, settings.limit_s)),
            transport=TokenTransport(way, device) if device else way)
        key = settings.key.get_secret_value() or settings.device_token.get_secret_value() or NO_KEY
        self._client = AsyncPostgrestClient(
            f"{settings.url.rstrip('/')}/rest/v1", headers={"apikey": key, "Authorization": f"Bearer {key}"},
            http_client=self._http, retry_enabled=False)

    async def close(self) -> None:
        """Let go of the connections; no call may follow."""
        await self._http.aclose()

    async def rows(self, what: str, build: Build, *, limit_s: float | None = None,
                   expected: Collection[str] = ()) -> list[Row]:
        """The rows that a request is answered with.

        Args:
            what: the kind of call, for errors and the log: "read bookings".
            build: makes the request.
            limit_s: seconds it may take; None: `supabase.limit_s`.
            expected: codes of refusals that the caller deals with; they are not logged.

        Raises:
            RetryError: no answer, none that can be believed, or a passing trouble.
            CredentialError: the credential is refused, or this machine's clock is wrong.
            Refused (a ParkError): the project refuses, and asking again will not change that.
        """
        return (await self.page(what, build, limit_s=limit_s, expected=expected))[0]

    async def page(self, what: str, build: Build, *, limit_s: float | None = None,
                   expected: Collection[str] = ()) -> tuple[list[Row], int | None]:
        """As `rows`, with how many rows there are in all; None if the request did not ask or was not told."""
        answers: list[httpx.Response] = []
        before = _answers.set(answers)
        try:
            found = await self._call(build, limit_s or self._limit_s, answers)
        except (RetryError, ParkError) as error:
            error.args = (f"Supabase at {self._host}: {what}: {error}",)
            if not (isinstance(error, Refused) and error.code in expected):
                self._say_failed(what, str(error), answers)
            raise
        finally:
            _answers.reset(before)
        if self._logged.pop(what, None):
            task_log().info("cloud answers again", call=what)
        return found

    async def upsert(self, table: str, row: Mapping[str, object], on_conflict: str, *,
                     limit_s: float | None = None) -> None:
        """Put `row` into `table`, in the place of the one with the same `on_conflict` (columns, comma between).

        Columns that the table lacks are left out, and said once. Confirmed when this returns; errors as of `rows`.
        """
        def build(body: Row, client: AsyncPostgrestClient) -> Query:
            return client.table(table).upsert(body, on_conflict=on_conflict).select(on_conflict)

        if not await self._write(f"write {table}", table, row, build, limit_s):
            raise RetryError(f"Supabase at {self._host}: write {table}: the row was not confirmed")

    async def patch(self, table: str, row: Mapping[str, object], where: Mapping[str, str | None], *,
                    limit_s: float | None = None) -> list[Row]:
        """Set the columns of `row` in those rows of `table` that have the values `where` (None: null).

        Returns the ids of the rows that were changed. Columns that the table lacks are left out, and said once; errors
        as of `rows`.
        """
        def build(body: Row, client: AsyncPostgrestClient) -> Query:
            query = client.table(table).update(body)
            for column, value in where.items():
                query = query.is_(column, None) if value is None else query.eq(column, value)
            return query.select("id")

        return await self._write(f"change {table}", table, row, build, limit_s)

    async def _write(self, what: str, table: str, row: Mapping[str, object],
                     build: Callable[[Row, AsyncPostgrestClient], Query], limit_s: float | None) -> list[Row]:
        """Send a row without the columns that the table lacks, which are found out one by one."""
        lacking, now = self._lacking[table], asyncio.get_running_loop().time()
        while True:
            body = {column: value for column, value in row.items() if lacking.get(column, now) <= now}
            try:
                rows = await self.rows(what, partial(build, body), limit_s=limit_s, expected=("PGRST204",))
            except Refused as error:
                if error.code != "PGRST204" or error.column not in body:
                    raise
                if error.column not in lacking:
                    task_log().warning("table lacks a column, written without it", table=table, column=error.column,
                                   hint="`ezrec tables` prints the SQL that adds it; it is tried again now and then")
                lacking[error.column] = now + LACKING_S
                continue
            for column in lacking.keys() & body.keys():
                del lacking[column]
                task_log().info("table has the column now", table=table, column=column)
            return rows

    async def _call(self, build: Build, limit_s: float, answers: list[httpx.Response]) -> tuple[list[Row], int | None]:
        """One request, and what its answer means; `answers` is where the answer itself is left."""
        try:
            async with asyncio.timeout(limit_s):
                answer = await build(self._client).execute()
        except TimeoutError:
            raise RetryError(f"no answer within {limit_s:g} s") from None
        except NoAnswerTaken as error:
            raise RetryError(str(error)) from None
        except httpx.RequestError as error:
            raise RetryError(f"no answer ({type(error).__name__}: {error})") from error
        except APIError as error:
            raise refusal(answers[-1]) from error
        except RecursionError:
            raise RetryError("JSON that is nested too deeply instead of rows") from None
        return rows_of(answer.data, answers[-1]), answer.count

    def _say_failed(self, what: str, text: str, answers: list[httpx.Response]) -> None:
        """Log a failure, unless it is the one that was logged for this kind of call before."""
        if self._logged.get(what) == text:
            return
        self._logged[what] = text
        answer = {"status": answers[-1].status_code, "body": answers[-1].text[:LOGGED]} if answers else {}
        task_log().warning("cloud call failed", call=what, error=text, **answer)


_answers: ContextVar[list[httpx.Response]] = ContextVar("_answers")
"""Where the call under way leaves its answer: postgrest's errors carry neither the HTTP status nor the body."""


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to believe: the same for all clients, for it takes 50 ms and some MB to read."""
    return httpx.create_ssl_context()


async def _keep_answer(response: httpx.Response) -> None:
    await response.aread()
    _answers.get().append(response)


def task_log() -> BoundLogger:
    """The log of the task that calls."""
    task = asyncio.current_task()
    return logs.get(task.get_name() if task else "supabase")
