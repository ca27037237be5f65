"""A cloud on this machine: Supabase (lite, over a real PostgreSQL) and S3 (ministack), with a chaos proxy before each.

The servers and the proxies take their CPU from the machine that is measured.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezrec.cli.tables import sql
from ezrec.config import Settings
from tests.bench.result import Say

if TYPE_CHECKING:
    from tests.fakes.cloud_site import Cloud, CloudSite

PACKAGES = {"jwt": "pyjwt"}  # by the name of the module, where that is another


def missing() -> str | None:
    """What has to be installed for a cloud on this machine, and how; None if nothing."""
    if absent := missing_packages("ministack", "boto3", "jwt", "aioboto3", "postgrest"):
        return absent
    from tests.fakes.cloud import supabase  # noqa: PLC0415 - imports what may be missing

    return supabase.missing()


def missing_packages(*modules: str) -> str | None:
    """Which of these are missing, and how to install them; None if none."""
    absent = [PACKAGES.get(module, module) for module in modules if importlib.util.find_spec(module) is None]
    return f"missing: pip install {' '.join(absent)}" if absent else None


@contextmanager
def running(say: Say) -> Iterator["Cloud"]:
    """A cloud with the package's tables; its servers end with the context."""
    from tests.fakes.cloud.chaos import ChaosProxy  # noqa: PLC0415 - see `missing`
    from tests.fakes.cloud.postgres import Postgres  # noqa: PLC0415
    from tests.fakes.cloud.s3 import S3  # noqa: PLC0415
    from tests.fakes.cloud.supabase import Supabase  # noqa: PLC0415
    from tests.fakes.cloud_site import Cloud  # noqa: PLC0415

    say("starting Supabase lite, PostgreSQL and ministack")
    with ExitStack() as stack:
        postgres = Postgres()
        stack.callback(postgres.end)
        project = Supabase(postgres, sql())
        stack.callback(project.end)
        s3 = S3.ministack()
        stack.callback(s3.end)
        yield Cloud(s3, project, stack.enter_context(ChaosProxy(s3.endpoint)),
                    stack.enter_context(ChaosProxy(project.url)))


def court(cloud: "Cloud", folder: Path, **changes: Mapping[str, Any]) -> "CloudSite":
    """A court whose bookings, films and rows are in `cloud`, with default settings where tests have others."""
    from tests.fakes.cloud_site import CloudSite  # noqa: PLC0415 - see `missing`

    usual = Settings()
    film = {"crf": usual.film.crf, "index_reserve_kb": ""}
    sections: dict[str, Any] = {
        "bookings": {"poll_s": usual.bookings.poll_s},
        "storage": {"part_mb": usual.storage.part_mb},
        "supabase": {"limit_s": usual.supabase.limit_s, "heartbeat_s": usual.supabase.heartbeat_s},
    }
    return CloudSite(folder, cloud, **(sections | changes | {"film": film | dict(changes.get("film", {}))}))
