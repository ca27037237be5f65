"""aiosqlite without its thread: each call on a connection is a job of the loop that runs."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import aiosqlite.core
import pytest

from tests.fakes.model.faults import Faults
from tests.fakes.model.loop import Job, SteppedLoop


class Connections:
    """All connections to stores. `stepped` is called, in SQLite, with each step of a film."""

    def __init__(self, faults: Faults, stepped: Callable[[str, str, str], None]) -> None:
        self._faults = faults
        self._stepped = stepped
        self.refused: list[str] = []  # what a store refused by itself
        self._open: list[sqlite3.Connection] = []
        self._watched: set[sqlite3.Connection] = set()

    def patch(self, patches: pytest.MonkeyPatch) -> None:
        """Have all stores that are opened from now on made of these."""
        everyone = self

        class Calls:
            """In the stead of the queue to a connection's thread."""

            def put_nowait(self, call: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
                everyone._add(self, *call)

        class NoThread:
            def __init__(self, **_: Any) -> None:
                """Nothing runs here."""

            def start(self) -> None:
                """Nothing to start."""

        patches.setattr(aiosqlite.core, "SimpleQueue", Calls)
        patches.setattr(aiosqlite.core, "Thread", NoThread)
        patches.setattr(aiosqlite.core.Connection, "__del__", lambda _: None)  # killed processes close nothing

    def count(self) -> int:
        """How many are open."""
        return sum(map(_is_open, self._open))

    def drop(self) -> None:
        """Their process was killed: what was not committed is undone."""
        for one in self._open:
            with suppress(sqlite3.ProgrammingError):  # it was closed in order
                if one.in_transaction:
                    one.rollback()  # closing alone leaves one that a statement still holds
                one.close()
        self._open.clear()
        self._watched.clear()

    def _add(self, line: object, future: asyncio.Future[Any] | None, what: Callable[[], Any]) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteppedLoop)

        def call() -> Any:
            sql, *values = what.args if isinstance(what, partial) and what.args else ("",)
            sql = str(sql)
            if sql and not sql.startswith(("ROLLBACK", "PRAGMA")) and (
                    error := self._faults.at("store", f"{sql} {values}")):
                raise error
            if sql == "BEGIN IMMEDIATE" and isinstance(what, partial):
                self._watch_steps(what.func.__self__)
            try:
                result = what()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                    self.refused.append(f"{sql}: {error}")
                raise
            if isinstance(result, sqlite3.Connection):
                self._open.append(result)
                result.create_function("stepped", 3, self._stepped)
            if sql.startswith("PRAGMA busy_timeout") and isinstance(what, partial):
                what.func.__self__.execute("PRAGMA busy_timeout=0")  # whom it waits for would never come to its turn
            return result

        def done(result: Any, error: BaseException | None) -> None:
            if future is None or future.done():
                return
            with suppress(asyncio.InvalidStateError):
                if error is None:
                    future.set_result(result)
                else:
                    future.set_exception(error)

        loop.add_job(Job(line, call, done))

    def _watch_steps(self, connection: sqlite3.Connection) -> None:
        """Have the steps of films told, once there is a table of them."""
        if connection not in self._watched:
            with suppress(sqlite3.OperationalError):
                connection.execute(
                    "CREATE TEMP TRIGGER told AFTER UPDATE OF stage ON film WHEN old.stage != new.stage"
                    " BEGIN SELECT stepped(new.booking_id, old.stage, new.stage); END")
                self._watched.add(connection)


def _is_open(connection: sqlite3.Connection) -> bool:
    with suppress(sqlite3.ProgrammingError):
        return connection.total_changes >= 0
    return False
