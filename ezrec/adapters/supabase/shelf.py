"""Small files in Supabase Storage: log archives. One try with a limit; trying again is the caller's.

Limits: uploads only, of files that fit memory; the wire is Storage's own, https://supabase.github.io/storage/.
"""

import asyncio
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from ezrec.adapters.supabase.credentials import TokenTransport, tokens
from ezrec.adapters.supabase.transport import NoAnswerTaken, transport
from ezrec.config.sections import SupabaseSettings
from ezrec.domain.backoff import asked_s
from ezrec.domain.errors import CredentialError, EzrecError, ParkError, RetryError
from ezrec.files import os_errors

LIMIT_S = 60.0
SHOWN = 200  # characters of a refusal that are repeated


class Shelf:
    """A bucket of the project's Storage. Nothing is opened before the first call."""

    def __init__(self, settings: SupabaseSettings, bucket: str, limit_s: float = LIMIT_S) -> None:
        self._settings, self._bucket, self._limit_s = settings, bucket, limit_s
        self._place = f"the bucket {bucket} of Storage at {urlsplit(settings.url).netloc}"
        self._http: httpx.AsyncClient | None = None

    async def put_file(self, key: str, file: Path) -> str:
        """Store a small file whole, replacing what lies at `key`; returns its address below the project.

        Raises:
            RetryError: no answer, none that can be believed, or a passing trouble.
            CredentialError: the credential is refused, or may not do this.
            ParkError: the bucket is missing, or refuses the file.
        """
        with os_errors(f"read {file}"):
            data = await asyncio.to_thread(file.read_bytes)
        path = f"/storage/v1/object/{quote(self._bucket, safe='')}/{quote(key)}"
        try:
            async with asyncio.timeout(self._limit_s):
                answer = await (await self._client()).post(path, content=data, headers={
                    "Content-Type": "application/zip", "x-upsert": "true"})
        except TimeoutError:
            raise RetryError(f"store {key} in {self._place}: no answer within {self._limit_s:g} s") from None
        except (httpx.HTTPError, NoAnswerTaken) as error:
            raise RetryError(f"store {key} in {self._place}: {str(error) or type(error).__name__}") from error
        self._judge(answer, f"store {key} in {self._place}")
        return path

    def _judge(self, answer: httpx.Response, doing: str) -> None:
        """See that an answer says that the file is stored."""
        try:
            said = answer.json()
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):  # a captive portal's page, say
            raise RetryError(f"{doing}: HTTP {answer.status_code} with what Storage does not say")
        if answer.is_success and said.get("Key"):
            return
        status = str(said.get("statusCode") or answer.status_code)  # Storage answers 400 and says the true one inside
        words = f"{doing}: {status} {said.get('message') or said.get('error') or ''}"[:SHOWN + len(doing)]
        raise _refusal(status, words, answer)

    async def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            settings = self._settings
            verify = await asyncio.to_thread(httpx.create_ssl_context)
            way: httpx.AsyncBaseTransport = transport(settings.url, verify, httpx.Limits(max_connections=1))
            device = tokens(settings)
            key = settings.key.get_secret_value() or settings.device_token.get_secret_value()
            headers = {"apikey": key, "Authorization": f"Bearer {key}"} if key else {}
            self._http = httpx.AsyncClient(base_url=settings.url, follow_redirects=False, timeout=self._limit_s,
                                           headers=headers, transport=TokenTransport(way, device) if device else way)
        return self._http

    async def close(self) -> None:
        """Let go of the connection; no call may follow."""
        if self._http is not None:
            await self._http.aclose()


def _refusal(status: str, words: str, answer: httpx.Response) -> EzrecError:
    if status in ("401", "403"):
        return CredentialError(f"{words}: the credential may not write there (a device's token needs a policy on "
                               "storage.objects)")
    if status in ("408", "429") or status.startswith("5"):
        return RetryError(words, after_s=asked_s(answer.headers.get("Retry-After", "")))
    return ParkError(f"{words}: make the bucket (logs.bucket), or see its limits")
