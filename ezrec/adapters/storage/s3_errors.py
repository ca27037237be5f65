"""What an S3 service's refusals mean, and everything that can go wrong on the way there: retry, park or credential.

The one place where errors of botocore and aiohttp become ours. The texts name the key, the bucket and the host, and
what a person can do; never a credential.
"""

import asyncio
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 -- botocore's own
    HTTPClientError,
    IncompleteReadError,
    UnseekableStreamError,
)
from botocore.parsers import ResponseParserError

from ezrec.domain.backoff import asked_s
from ezrec.domain.errors import CredentialError, EzrecError, ParkError, RetryError, UploadGone

FOREIGN = (BotoCoreError, ClientError, ResponseParserError, aiohttp.ClientError, asyncio.TimeoutError)
"""What calls of a client raise; HTTP errors among them only as one of these."""

_NETWORK = (HTTPClientError, ConnectionError, IncompleteReadError, UnseekableStreamError, aiohttp.ClientError)

NO_S3 = "what answers there is no S3 service: perhaps a captive portal or a proxy between here and the storage"

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_AGAIN = frozenset({
    "BadDigest", "BandwidthLimitExceeded", "ConditionalRequestConflict", "IncompleteBody", "InternalError",
    "InvalidPart", "OperationAborted", "PriorRequestNotComplete", "RequestLimitExceeded", "RequestTimeout",
    "RequestTimeoutException", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException",
    "TooManyRequests", "TooManyRequestsException",
})
_CREDENTIAL = frozenset({
    "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "NotSignedUp", "RequestExpired",
    "RequestTimeTooSkewed", "SignatureDoesNotMatch", "TokenRefreshRequired", "Unauthorized", "UnauthorizedAccess",
})
_OURS = frozenset({"EntityTooSmall", "InvalidArgument", "InvalidPartOrder", "InvalidRequest", "KeyTooLongError",
                   "MalformedXML", "NotImplemented", "PreconditionFailed"})
"""Refusals that depend on what is sent. All others (rights, quota, no bucket) somebody else may put right."""

_ADVICE = {
    "AccessDenied": "let the access key put, get and list objects, and list and abort multipart uploads, there",
    "AuthorizationHeaderMalformed": "correct s3.region",
    "EntityTooLarge": "raise the size that the storage takes",
    "EntityTooSmall": "make storage.part_mb larger",
    "IllegalLocationConstraintException": "correct s3.region or s3.endpoint",
    "InvalidBucketName": "correct s3.bucket",
    "KeyTooLongError": "make storage.key shorter",
    "NoSuchBucket": "make the bucket, or correct s3.bucket",
    "NotImplemented": "this storage cannot do what films need",
    "PermanentRedirect": "correct s3.region or s3.endpoint",
}


def code_of(error: BaseException | None) -> str:
    """The code of a refusal, of the foreign error or of one of ours that it became; "" if there was no refusal."""
    if isinstance(error, EzrecError):
        error = error.__cause__
    return str(_error_of(error).get("Code") or "") if isinstance(error, ClientError) else ""


def status_of(error: ClientError) -> int:
    """The HTTP status of a refusal."""
    answer: dict[str, Any] = error.response
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def _error_of(error: ClientError) -> dict[str, Any]:
    answer: dict[str, Any] = error.response
    return answer.get("Error") or {}


def verdict(error: BaseException, doing: str) -> EzrecError:
    """What a foreign error means for the call that met it; `doing` ends the sentence "cannot …"."""
    if isinstance(error, ClientError):
        return _refusal(error, doing)
    if isinstance(error, ResponseParserError):
        return RetryError(f"cannot {doing}: {NO_S3}")
    if isinstance(error, TimeoutError):
        return RetryError(f"cannot {doing}: no answer in time")
    if isinstance(error, _NETWORK):
        return RetryError(f"cannot {doing}: {_reason(error)}")
    return ParkError(f"cannot {doing}: {error}; correct the settings of [s3]")


def _refusal(error: ClientError, doing: str) -> EzrecError:
    code, status, message = code_of(error), status_of(error), str(_error_of(error).get("Message") or "")
    words = f"cannot {doing}: {' '.join(dict.fromkeys(word for word in (code, message) if word)) or status}"
    if code == "NoSuchUpload":
        return UploadGone(words)
    if code in _CREDENTIAL or status == 401:
        return CredentialError(f"{words}; check the access key of [s3] and this machine's clock")
    if code in _AGAIN or status in (408, 429) or (status >= 500 and status != 501):
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return RetryError(words, after_s=asked_s(str(headers.get("retry-after", ""))))
    if not code or code == str(status):  # botocore's word for a refusal that it cannot read
        return RetryError(f"{words}; {NO_S3}")
    return ParkError(f"{words}; {_ADVICE.get(code, 'it will refuse it again; the log has its answer')}",
                     passing=code not in _OURS)


def _reason(error: BaseException) -> str:
    """What lies at the bottom of an error of the connection, in its own words."""
    while isinstance(inner := getattr(error, "kwargs", {}).get("error") or error.__cause__, BaseException):
        error = inner
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
