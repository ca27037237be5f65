"""Fixtures of the whole-program tests: sites, which are ended whatever happens."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.s3 import S3
from tests.fakes.cloud.supabase import Supabase
from tests.fakes.cloud_site import Cloud, CloudSite, MakeSite


@pytest.fixture
def new_cloud_site(tmp_path: Path, ministack: S3, supabase: Supabase) -> Iterator[MakeSite]:
    """Makes courts with a cloud (`tests.fakes.cloud_site`), each with its own proxies, bucket and user.

    `server` is its S3 server, if not ministack; the rest is handed to `CloudSite`.
    """
    with ExitStack() as stack:
        def make(server: S3 = ministack, **how: Any) -> CloudSite:
            s3_net, supabase_net = ChaosProxy(server.endpoint), ChaosProxy(supabase.url)
            stack.callback(s3_net.end)
            stack.callback(supabase_net.end)
            cloud = Cloud(server, supabase, s3_net, supabase_net)
            site = CloudSite(tmp_path / f"site-{len(made)}", cloud, **how)
            made.append(site)
            stack.callback(site.end)
            return site

        made: list[CloudSite] = []
        yield make
