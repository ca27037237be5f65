"""E-mail over SMTP: one letter to one recipient, taken or refused.

The server says that it has taken a letter in one answer, after the last byte. If the connection or this process dies
between the two, nobody can know whether it was taken: the letter is sent again with the same Message-ID, by which mail
servers and readers tell that it is the same one. Everything before the last byte may be repeated without any effect.
"""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING

from ezrec.config.sections import EmailSettings
from ezrec.domain.errors import CredentialError, ParkError, RetryError

if TYPE_CHECKING:
    import aiosmtplib

LIMIT_S = 30.0  # for each answer of the server
TLS_PORT = 465  # encrypted from the beginning: RFC 8314, 3.3


@dataclass(frozen=True)
class Letter:
    """What is sent. `id` stays the same however often it is sent."""

    id: str  # letters, digits and -
    to: str
    subject: str
    text: str
    written_at: datetime  # with its zone
    html: str = ""  # beside the text, for readers who want it


class Mailer:
    """Sends letters through the mail server of the settings."""

    def __init__(self, settings: EmailSettings, context: ssl.SSLContext | None = None) -> None:
        """`context` is what TLS is checked with; None: the certificates that the system trusts."""
        self._settings = settings
        self._context = context
        self.sender = settings.sender or settings.user

    async def send(self, letter: Letter) -> None:
        """Hand a letter to the server; returns when it has been taken.

        Raises:
            CredentialError: the server refuses user or password.
            ParkError: it refuses this letter for good, or the settings would show the password to all.
            RetryError: it cannot be reached, or asks to come again.
        """
        import aiosmtplib  # noqa: PLC0415 - only where there is mail to send

        settings, message = self._settings, self._message(letter)
        password = settings.password.get_secret_value()
        secure = settings.tls or settings.port == TLS_PORT
        if password and not secure and not _is_here(settings.host):
            raise ParkError("the password would go to the mail server in the clear: set email.tls = true")
        client = aiosmtplib.SMTP(
            hostname=settings.host, port=settings.port, timeout=LIMIT_S, use_tls=settings.port == TLS_PORT,
            start_tls=settings.tls and settings.port != TLS_PORT, tls_context=self._context)
        where = f"the mail server {settings.host}:{settings.port}"
        try:
            await client.connect()
            if settings.user and password:
                await client.login(settings.user, password)
            await client.send_message(message, sender=self.sender, recipients=[letter.to])
        except aiosmtplib.SMTPAuthenticationError as error:
            raise CredentialError(f"{where} refuses email.user or email.password: {error.code}") from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refused(where, error.recipients[0]) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(where, error) from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise RetryError(f"{where} cannot be reached: {str(error) or type(error).__name__}") from error
        finally:
            client.close()  # QUIT would only wait for an answer that changes nothing

    def _message(self, letter: Letter) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = letter.to
        message["Subject"] = " ".join(letter.subject.split())  # a line end would begin another header
        message["Date"] = format_datetime(letter.written_at)
        message["Message-ID"] = f"<{letter.id}@{self.sender.rpartition('@')[2] or 'ezrec'}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody answers it by machine
        message.set_content(letter.text)
        if letter.html:
            message.add_alternative(letter.html, subtype="html")
        return message


def _refused(where: str, error: "aiosmtplib.SMTPResponseException") -> ParkError | RetryError:
    """RFC 5321, 4.2.1: 4xx may pass, 5xx will not."""
    words = f"{where} refuses the letter: {error.code} {error.message}"
    return ParkError(words) if 500 <= error.code < 600 else RetryError(words)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
