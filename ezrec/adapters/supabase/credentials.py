"""What a device shows a project: its token as it stands in the settings, in a file, or as a command prints it.

A token that is renewed elsewhere (a file that somebody writes, a command that asks an identity service) is taken up
without a new start: a file when it changes, a command's before its token runs out and when the project refused it.
"""

import asyncio
import base64
import errno
import json
import math
import os
import shlex
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import httpx

from ezrec.adapters.supabase.transport import NoAnswerTaken
from ezrec.config.sections import SupabaseSettings

COMMAND_S = 10.0  # what a command may take
EARLY_S = 60.0  # so long before a token runs out the next one is asked for
AGAIN_S = 30.0  # a command is not run more often for refusals
LONGEST = 16_384  # bytes of a token


class NoToken(NoAnswerTaken):
    """There is no token to show."""


class Tokens(Protocol):
    """Where a device's token comes from. Raises NoToken if there is none."""

    async def token(self) -> str:
        """The token to show."""

    async def renewed(self, refused: str) -> str:
        """The token to show after `refused` was refused; the same one if there is no other."""


class GivenToken:
    """The token of the settings."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """The token of the settings."""
        return self._token

    async def renewed(self, refused: str) -> str:
        """There is no other."""
        return refused


class FileToken:
    """A token in a file, which is read for each call: it may be renewed at any time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def token(self) -> str:
        """What the file holds now."""
        try:
            data = await asyncio.to_thread(_read, self._file)
        except OSError as error:
            raise NoToken(f"supabase.token_file: {self._file} cannot be read ({error.strerror})") from error
        return _checked(data, f"supabase.token_file: {self._file}")

    async def renewed(self, refused: str) -> str:  # noqa: ARG002 - as of Tokens
        """What the file holds now: it may have been written since."""
        return await self.token()


class CommandToken:
    """A token that a command prints. It is kept until a minute before it runs out, or until it is refused."""

    def __init__(self, command: str) -> None:
        self._words = shlex.split(command)
        self._known, self._until, self._run_at = "", -math.inf, -math.inf
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """The token that is known, or a new one; an old one that still holds if there is no new one."""
        async with self._lock:
            if time.time() < self._until - EARLY_S:
                return self._known
            try:
                await self._renew()
            except NoToken:
                if time.time() >= self._until:
                    raise
            return self._known

    async def renewed(self, refused: str) -> str:
        """A new token, unless the command was run just now."""
        async with self._lock:
            if refused == self._known and time.monotonic() - self._run_at >= AGAIN_S:
                await self._renew()
            return self._known

    async def _renew(self) -> None:
        self._run_at = time.monotonic()
        token = _checked(await self._output(), "supabase.token_command")
        self._known, self._until = token, _runs_out(token)

    async def _output(self) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            raise NoToken(f"supabase.token_command: cannot run {self._words[0]} ({error.strerror})") from error
        try:
            async with asyncio.timeout(COMMAND_S):
                output, _ = await process.communicate()
        except TimeoutError:
            raise NoToken(f"supabase.token_command: no end within {COMMAND_S:g} s") from None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, 9)  # what it started, too
        if process.returncode:
            raise NoToken(f"supabase.token_command: it ended with status {process.returncode}")
        return output


class TokenTransport(httpx.AsyncBaseTransport):
    """`inner`, with a token shown at each request, and once more a new one to a project that refused it (HTTP 401).

    Not httpx's `auth`: postgrest sets that for each request, to none.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, tokens: Tokens) -> None:
        self._inner, self._tokens = inner, tokens

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            NoToken: there is no token to show.
            httpx.RequestError: as `inner`.
        """
        token = await self._tokens.token()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = await self._inner.handle_async_request(request)
        if answer.status_code == httpx.codes.UNAUTHORIZED and (new := await self._tokens.renewed(token)) != token:
            request.headers["Authorization"] = f"Bearer {new}"
            answer = await self._inner.handle_async_request(request)
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def tokens(settings: SupabaseSettings) -> Tokens | None:
    """Where this device's token comes from; None: it has none, so the project's key is its credential."""
    if settings.token_command:
        return CommandToken(settings.token_command)
    if settings.token_file:
        return FileToken(settings.token_file)
    given = settings.device_token.get_secret_value()
    return GivenToken(given) if given else None


def _read(file: Path) -> bytes:
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no file")
    with file.open("rb") as opened:
        return opened.read(LONGEST + 1)


def _checked(data: bytes, where: str) -> str:
    """A token as it may stand in a header; the token itself is never part of an error."""
    text = data.decode("ascii", "replace").strip()
    if not text:
        raise NoToken(f"{where} is empty")
    if len(data) > LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise NoToken(f"{where} holds no token")
    return text


def _runs_out(token: str) -> float:
    """When a JWT says that it runs out (Unix time, s; RFC 7519, 4.1.4); never if it says nothing."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf
