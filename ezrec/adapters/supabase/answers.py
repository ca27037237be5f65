"""What an answer of Supabase means: rows, or one of our errors. The only place that knows PostgREST's codes.

Only an answer in PostgREST's own form (JSON with a `code`) can refuse for good. Anything else may have been said by
whatever stands between (a captive portal, a proxy, a gateway that is being restarted), and is asked again.
"""

import re
from typing import Any

import httpx

from ezrec.domain.backoff import asked_s
from ezrec.domain.errors import CredentialError, EzrecError, Refused, RetryError

SHOWN = 300  # characters of a foreign text that a message repeats; the log has the whole

_CODE = re.compile(r"PGRST\d{3}|PGRSTX\d\d|[0-9A-Z]{5}", re.ASCII)
"""PostgREST's own codes, or an SQLSTATE: https://docs.postgrest.org/en/stable/references/errors.html"""

_CREDENTIAL = re.compile(r"PGRST30\d")
_PASSING = re.compile(r"PGRST00\d|08...|40...|53...|55P03|57...|58...|XX...")
"""No database, a lost connection, rolled back, out of resources, locked, cancelled or shutting down, broken inside:
https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_OURS = re.compile(r"PGRST1(?!16)\d\d|22...|23502|23505")
"""A request that cannot be read, a value that its column cannot take, a row that is there: they depend on what is sent.
All other refusals (rights, schema, quota, a rule of the table's) somebody else may put right.
"""

_COLUMN = re.compile(r"'([^']+)' column of|column \"?(?:\w+\.)?(\w+)\"?(?: of relation \"?\w+\"?)? does not exist")

_TABLES = "`ezrec tables` prints the SQL that puts this right; run it on the project's database"
_HINTS = {
    "42P01": f"the table is missing: {_TABLES}",
    "PGRST205": f"the table is missing: {_TABLES}",
    "42P10": f"the table lacks the unique key that keeps it from holding doubles: {_TABLES}",
    "42703": f"the table lacks a column: {_TABLES}",
    "PGRST204": f"the table lacks a column: {_TABLES}",
    "PGRST202": f"the function is missing: {_TABLES}",
    "42501": "the credential may not do this: see supabase.key, supabase.device_token and the table's policies "
             "(`ezrec tables`)",
}


def rows_of(data: object, response: httpx.Response) -> list[dict[str, Any]]:
    """The rows of an answer that says it is one (HTTP 2xx).

    Raises:
        RetryError: it is not a list of objects.
    """
    if response.status_code != httpx.codes.NO_CONTENT and not response.content:
        raise RetryError(f"an empty answer (HTTP {response.status_code}) instead of rows")
    if isinstance(data, str):
        raise RetryError(f"HTTP {response.status_code} with what is not JSON ({_kind(response)}) instead of rows: "
                         "cut off, or not said by Supabase (a captive portal?)")
    if not isinstance(data, list):
        raise RetryError(f"a {type(data).__name__} instead of a list of rows")
    for row in data:
        if not isinstance(row, dict):
            raise RetryError(f"a list that holds a {type(row).__name__} instead of a row")
    return data


def refusal(response: httpx.Response) -> EzrecError:
    """The error that an answer other than HTTP 2xx means."""
    status, body = response.status_code, _json_object(response)
    code = body.get("code")
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    said = " ".join(str(body[key])[:SHOWN] for key in ("message", "details", "hint") if body.get(key))
    text = f"HTTP {status}{' ' + code if code else ''}: {said or _kind(response)}"
    if status == httpx.codes.UNAUTHORIZED or _CREDENTIAL.fullmatch(code):
        return CredentialError(f"{text}; see supabase.key and supabase.device_token, and whether this machine's clock "
                               "is right")
    if response.is_redirect:
        place = response.headers.get("location", "nowhere")[:SHOWN]
        return RetryError(f"{text}; redirected to {place}, which Supabase does not do (a captive portal? http in the "
                          "place of https in supabase.url?)")
    if code and not _PASSING.fullmatch(code):
        hint = _HINTS.get(code)
        return Refused(f"{text}; {hint}" if hint else text, code, _column(body),
                       passing=not _OURS.fullmatch(code))
    return RetryError(text, after_s=asked_s(response.headers.get("retry-after", "")))


def _json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _kind(response: httpx.Response) -> str:
    """What kind of thing answered, in words that do not change from answer to answer."""
    return response.headers.get("content-type", "").partition(";")[0][:SHOWN] or "no words"


def _column(body: dict[str, Any]) -> str | None:
    found = _COLUMN.search(str(body.get("message", "")))
    return next((name for name in found.groups() if name), None) if found else None
