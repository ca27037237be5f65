"""A real SMTP server in this process, and what it took."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.smtp import SMTP


class Box:
    """What a server took; `answers` are given before it takes anything."""

    def __init__(self) -> None:
        self.letters: list[Any] = []
        self.answers: list[str] = []

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
            self, server: Any, session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.letters.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
            self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 ok"


@asynccontextmanager
async def a_mail_server() -> AsyncIterator[tuple[Box, int]]:
    """The server's letters and its port, as long as it is there."""
    box, loop = Box(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop, hostname="mail.example"), "127.0.0.1", 0)
    yield box, server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
