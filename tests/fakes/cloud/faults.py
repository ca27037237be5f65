"""What a chaos proxy can do to a request, and which requests it does it to."""

import re
from dataclasses import dataclass, field
from enum import Enum

HTML = b"<!DOCTYPE html><html><head><title>%s</title></head><body><h1>%s</h1></body></html>\r\n"


class Kind(Enum):
    """Where a request goes wrong."""

    CUT_REQUEST = "request cut"            # connection reset; the server sees a part of the body
    HANG_REQUEST = "request hung"          # the body is no longer taken, nobody says anything
    WITHHOLD_CONTINUE = "continue withheld"  # the server's `100 Continue` never arrives
    CUT_ANSWER = "answer cut"              # the server has done it; the client sees a part of the answer, and the end
    HANG_ANSWER = "answer hung"            # the same, without an end
    ANSWER = "answered by the proxy"       # the server never hears of it


@dataclass(eq=False)
class Fault:
    """One fault; it strikes the requests that match, from number `skip` on, and at most `times` of them."""

    kind: Kind
    method: str | None = None
    target: re.Pattern[str] | None = None  # searched in path and query, as they stand in the request
    times: int | None = None
    skip: int = 0
    after: int = 0         # bytes of the body (request) or of head and body (answer) that still pass
    clean: bool = False    # CUT_ANSWER: end the connection instead of resetting it
    answer: bytes = b""    # ANSWER: head and body
    hits: int = 0          # how often it struck
    matched: int = field(default=0, repr=False)

    def strikes(self, method: str, target: str) -> bool:
        """Whether it strikes this request; counts."""
        if (self.method and self.method != method) or (self.target and not self.target.search(target)):
            return False
        self.matched += 1
        if self.matched <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


def answer(status: int, body: bytes | str, kind: str = "application/json", **headers: str) -> bytes:
    """An answer's bytes; `headers` with `_` for `-`."""
    text = body.encode() if isinstance(body, str) else body
    said = {"content-type": kind, "content-length": str(len(text)), "connection": "close"}
    said |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Chaos", *(f"{name}: {value}" for name, value in said.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text


BAD_GATEWAY = answer(502, HTML % (b"502 Bad Gateway", b"502 Bad Gateway"), "text/html")
PORTAL = answer(200, HTML % (b"Free WiFi", b"Please log in"), "text/html; charset=utf-8")
REDIRECT = answer(302, "", "text/html", location="http://127.0.0.1:9/login")
TRUNCATED_JSON = answer(200, '[{"id": "5c1d3a", "start_ti')
JWT_EXPIRED = answer(401, '{"code":"PGRST303","details":null,"hint":null,"message":"JWT expired"}',
                     www_authenticate='Bearer error="invalid_token", error_description="JWT expired"')
BAD_API_KEY = answer(401, '{"message":"Invalid API key","hint":"Double check your Supabase `apikey`"}')
DENIED = answer(403, '{"code":"42501","details":null,"hint":null,"message":"permission denied for table bookings"}')


def too_many(retry_after_s: int) -> bytes:
    """429, as a gateway says it."""
    return answer(429, '{"message":"Too many requests"}', retry_after=str(retry_after_s))


def s3_error(status: int, code: str, message: str) -> bytes:
    """An error as S3 says it."""
    return answer(status, '<?xml version="1.0" encoding="UTF-8"?>\n'
                  f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>0</RequestId></Error>",
                  "application/xml")


S3_EXPIRED = s3_error(403, "ExpiredToken", "The provided token has expired.")
S3_DENIED = s3_error(403, "AccessDenied", "Access Denied")
S3_BAD_KEY = s3_error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
