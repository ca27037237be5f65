"""What `ezrec check` says, and what it does not."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.faults import S3_DENIED
from tests.fakes.cloud.s3 import S3

Said = tuple[int, str, str]


@pytest.fixture
def bucket_of(here: Path, s3_net: ChaosProxy, ministack: S3, bucket: str,
              monkeypatch: pytest.MonkeyPatch) -> ChaosProxy:
    """Settings with a bucket behind a proxy, which is returned."""
    (here / "config.toml").write_text(f"""[disk]
min_free_mb = 0
[storage]
kind = "s3"
[s3]
endpoint = "{s3_net.url}"
bucket = "{bucket}"
access_key_id = "{ministack.key}"
""", "utf-8")
    monkeypatch.setenv("EZREC_S3__SECRET_ACCESS_KEY", ministack.secret)
    return s3_net


def test_what_is_not_ok_comes_with_its_remedy_and_without_a_secret_and_machines_read_the_same(
        bucket_of: ChaosProxy, ministack: S3, ezrec: Callable[..., Said]) -> None:
    assert ezrec("check")[0] == 0
    bucket_of.answer(S3_DENIED, method="PUT")
    status, out, err = ezrec("check")
    assert (status, err) == (1, "")
    assert "NOT OK    storage: the access key lacks the right s3:PutObject" in out
    assert "  remedy  give it s3:PutObject on the bucket" in out
    assert ministack.secret not in out
    status, out, err = ezrec("check", "--json")
    assert (status, err) == (1, "")
    found = json.loads(out)
    assert {"about": "storage", "verdict": "bad", "remedy": "give it s3:PutObject on the bucket"}.items() <= next(
        one for one in found["checks"] if one["about"] == "storage").items()
    (problem,) = found["problems"]
    assert problem == ("storage: the access key lacks the right s3:PutObject, with which films are stored; give it "
                       "s3:PutObject on the bucket")
    assert ministack.secret not in out


def test_cameras_whose_software_is_not_here_are_a_sentence_with_what_to_install(
        here: Path, ezrec: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("libcamera", "picamera2"):  # another test of this process may have the stand-in loaded
        monkeypatch.setitem(sys.modules, module, None)
    (here / "config.toml").write_text('[cameras]\nsource = "picamera2"\n[disk]\nmin_free_mb = 0\n', "utf-8")
    status, out, err = ezrec("check")
    assert (status, err) == (1, "")
    assert "NOT OK    cameras: " in out
    assert "sudo apt install python3-picamera2" in out
    assert "mistake in EZREC" not in out
