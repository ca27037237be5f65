"""A webhook: JSON posted to an address, signed so that the receiver knows whose it is and how old.

The signature is HMAC-SHA256 over "<timestamp>.<body>" with the key of the settings, in the header X-EZREC-Signature:
t=<UTC seconds>,v1=<hex>. The timestamp is that of the sending, so a receiver may refuse old ones; Idempotency-Key stays
the same however often a message is sent.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from ezrec.domain import backoff
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import CredentialError, ParkError, RetryError

LIMIT_S = 15.0
PASSING = frozenset({404, 408, 409, 425, 429})  # answers below 500 that may be others later


class Webhook:
    """Posts to one address."""

    def __init__(self, address: str, secret: str, clock: Clock) -> None:
        self._address, self._secret, self._clock = address, secret.encode(), clock

    async def post(self, message_id: str, body: Mapping[str, Any]) -> None:
        """Post a message; returns when the receiver has taken it (2xx).

        Raises:
            CredentialError: the receiver does not accept the signature.
            ParkError: it refuses the message for good.
            RetryError: it cannot be reached, or asks to come again.
        """
        import httpx  # noqa: PLC0415 - only where a webhook is wanted

        data = json.dumps(body, sort_keys=True).encode()
        now_s = self._clock.wall_us() // SECOND
        headers = {"Content-Type": "application/json", "Idempotency-Key": message_id,
                   "X-EZREC-Signature": f"t={now_s},v1={signature(self._secret, now_s, data)}"}
        try:
            async with httpx.AsyncClient(timeout=LIMIT_S, follow_redirects=False) as client:
                answer = await client.post(self._address, content=data, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise RetryError(f"alerts.webhook cannot be reached: {str(error) or type(error).__name__}") from error
        if answer.is_success:
            return
        words = f"alerts.webhook answers {answer.status_code}"
        if answer.status_code in (401, 403):
            raise CredentialError(f"{words}: look at alerts.webhook_secret and this machine's clock")
        if answer.status_code >= 500 or answer.status_code in PASSING:
            raise RetryError(words, after_s=backoff.asked_s(answer.headers.get("Retry-After", "")))
        raise ParkError(f"{words}: it does not take alerts")


def signature(secret: bytes, timestamp_s: int, body: bytes) -> str:
    """What a receiver compares with, in hex."""
    return hmac.new(secret, f"{timestamp_s}.".encode() + body, hashlib.sha256).hexdigest()
