"""E-mail, against a real SMTP server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ezrec.adapters.mail import Letter, Mailer
from ezrec.config.sections import EmailSettings
from ezrec.domain.errors import ParkError, RetryError
from tests.fakes.mail_server import Box, a_mail_server

LETTER = Letter("abc", "owner@example.org", "court-1: heat\r\nBcc: x@example.org", "It is hot: 85 °C\n",
                datetime(2026, 11, 20, tzinfo=UTC))


@pytest.fixture
async def box() -> AsyncIterator[tuple[Box, int]]:
    async with a_mail_server() as (box, port):
        yield box, port


def mailer(port: int, **more: Any) -> Mailer:
    usual = {"host": "127.0.0.1", "port": port, "tls": False, "sender": "box@court.example"}
    return Mailer(EmailSettings(**usual | more))


async def test_a_letter_arrives_with_its_id_and_no_header_of_anybody_else(box: tuple[Box, int]) -> None:
    await mailer(box[1]).send(LETTER)
    taken, = box[0].letters
    assert taken["Message-ID"] == "<abc@court.example>"
    assert (taken["To"], taken["From"], taken["Bcc"]) == ("owner@example.org", "box@court.example", None)
    assert taken.get_content().strip() == "It is hot: 85 °C"


async def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(box: tuple[Box, int]) -> None:
    box[0].answers += ["451 later", "554 spam"]
    with pytest.raises(RetryError, match="451"):
        await mailer(box[1]).send(LETTER)
    with pytest.raises(ParkError, match="554"):
        await mailer(box[1]).send(LETTER)
    with pytest.raises(ParkError, match="no such user"):
        await mailer(box[1]).send(Letter("abc", "nobody@example.org", "s", "t", LETTER.written_at))


async def test_a_server_that_is_not_there_or_knows_no_tls_is_tried_again(box: tuple[Box, int]) -> None:
    with pytest.raises(RetryError, match="cannot be reached"):
        await mailer(1).send(LETTER)
    with pytest.raises(RetryError):
        await mailer(box[1], tls=True).send(LETTER)
    assert box[0].letters == []


async def test_a_password_never_leaves_the_machine_in_the_clear() -> None:
    with pytest.raises(ParkError, match="in the clear"):
        await mailer(25, host="mail.example.org", user="u", password="p").send(LETTER)
