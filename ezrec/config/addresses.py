"""Addresses of services that look right and lead nowhere, or over a line on which anybody can read a key."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from ezrec.config.sections import Settings

Refused = tuple[tuple[str, ...], str]
"""The keys that a refusal hangs on, and its words."""


def wrong_addresses(settings: Settings) -> Iterator[Refused]:
    """What is wrong with the addresses of Supabase and of the object storage."""
    project, storage = urlsplit(settings.supabase.url), urlsplit(settings.s3.endpoint)
    if project.path.strip("/"):
        yield ("supabase.url",), (f"supabase.url: ends in {project.path}, must be the project's address alone: "
                                  f"{project.scheme}://{project.netloc}")
    secret = settings.supabase.key.get_secret_value() or settings.supabase.device
    if project.scheme == "http" and secret and not _is_loopback(project.hostname or ""):
        yield ("supabase.url", "supabase.key"), (
            "supabase.url: begins with http://, must be https:// with a key: on the way anybody could read it")
    if storage.path.strip("/"):
        yield ("s3.endpoint", "s3.bucket"), (
            f"s3.endpoint: ends in {storage.path}, must be the service's address alone; the bucket's name goes into "
            "s3.bucket")
    elif settings.s3.bucket and (storage.hostname or "").startswith(f"{settings.s3.bucket}."):
        yield ("s3.endpoint", "s3.bucket"), (
            f"s3.endpoint: begins with the bucket's name, must be the service's address alone: {storage.scheme}://"
            f"{storage.netloc.removeprefix(f'{settings.s3.bucket}.')}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
