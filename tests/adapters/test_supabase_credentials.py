"""A device's token from a file or a command, shown to a real project."""

import shlex
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from ezrec.adapters.supabase import Supabase, credentials
from ezrec.adapters.supabase.functions import Functions, Ways
from ezrec.config.loading import load
from ezrec.config.secrecy import exposed
from ezrec.config.sections import SiteSettings, SupabaseSettings
from ezrec.domain.clock import SystemClock
from ezrec.domain.errors import CredentialError, RetryError
from tests.fakes.cloud.supabase import Supabase as Project
from tests.fakes.venue import Venue


@pytest.fixture
def venue(supabase: Project) -> Venue:
    return Venue(supabase)


class Device:
    """A court whose token comes from elsewhere."""

    def __init__(self, venue: Venue, **where: Any) -> None:
        self.supabase = Supabase(SupabaseSettings(
            url=venue.project.url, key=SecretStr(venue.project.publishable_key), **where))
        site = SiteSettings(user_id=venue.user, camera_id=venue.camera)
        self._functions = Functions(self.supabase, site, Ways(), SystemClock(), device=True)

    async def call(self) -> None:
        await self._functions.call("read bookings", "ezrec_bookings", days=1)


def printing(folder: Path, token: str) -> tuple[Path, str]:
    """A file with a token, and a command that prints it and counts how often it was run."""
    file, count = folder / "token", folder / "count"
    file.write_text(token, "ascii")
    program = f"open({str(count)!r}, 'a').write('x'); print(open({str(file)!r}).read())"
    return file, shlex.join([sys.executable, "-c", program])


def runs(folder: Path) -> int:
    return len((folder / "count").read_text("ascii"))


async def test_a_token_file_that_is_written_anew_is_taken_up_by_the_next_call(venue: Venue, tmp_path: Path) -> None:
    file = tmp_path / "token"
    device = Device(venue, token_file=file)
    try:
        with pytest.raises(RetryError, match=r"supabase.token_file: .*token cannot be read"):
            await device.call()
        file.write_text("not.a.token", "ascii")
        with pytest.raises(CredentialError):
            await device.call()
        file.write_text(venue.project.device_token(venue.user, venue.camera) + "\n", "ascii")
        await device.call()
    finally:
        await device.supabase.close()


async def test_a_command_is_run_once_while_its_token_holds(venue: Venue, tmp_path: Path) -> None:
    _, command = printing(tmp_path, venue.project.device_token(venue.user, venue.camera))
    device = Device(venue, token_command=command)
    try:
        for _ in range(3):
            await device.call()
        assert runs(tmp_path) == 1
    finally:
        await device.supabase.close()


async def test_a_command_is_run_again_before_its_token_runs_out(venue: Venue, tmp_path: Path) -> None:
    soon = venue.project.device_token(venue.user, venue.camera, exp=int(SystemClock().wall_us() / 1e6) + 30)
    _, command = printing(tmp_path, soon)
    device = Device(venue, token_command=command)
    try:
        for _ in range(2):
            await device.call()
        assert runs(tmp_path) == 2
    finally:
        await device.supabase.close()


async def test_a_refused_token_is_renewed_within_the_call_and_not_in_a_storm(
        venue: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, command = printing(tmp_path, "not.a.token")
    device = Device(venue, token_command=command)
    try:
        for _ in range(3):
            with pytest.raises(CredentialError):
                await device.call()
        assert runs(tmp_path) == 1
        file.write_text(venue.project.device_token(venue.user, venue.camera), "ascii")
        monkeypatch.setattr(credentials, "AGAIN_S", 0)
        await device.call()
        assert runs(tmp_path) == 2
    finally:
        await device.supabase.close()


@pytest.mark.parametrize(("program", "words"), [
    ("import sys; print('a.b.c'); sys.exit(3)", "ended with status 3"), ("", "is empty"),
    ("print('two words')", "holds no token"), ("print('x' * 100_000)", "holds no token"),
    ("import time; time.sleep(60)", "no end within 1 s")])
async def test_a_command_that_gives_no_token_says_so_and_shows_nothing_of_it(
        venue: Venue, monkeypatch: pytest.MonkeyPatch, program: str, words: str) -> None:
    monkeypatch.setattr(credentials, "COMMAND_S", 1.0 if "sleep" in program else 20.0)
    device = Device(venue, token_command=shlex.join([sys.executable, "-c", program]), limit_s=30)
    try:
        with pytest.raises(RetryError, match=words) as raised:
            await device.call()
        assert "two" not in str(raised.value)
    finally:
        await device.supabase.close()


async def test_a_command_that_is_not_there_is_named(venue: Venue) -> None:
    device = Device(venue, token_command="/nowhere/token --new")
    try:
        with pytest.raises(RetryError, match="cannot run /nowhere/token"):
            await device.call()
    finally:
        await device.supabase.close()


def test_a_command_with_half_a_quotation_is_refused() -> None:
    with pytest.raises(ValidationError, match="quotation mark"):
        SupabaseSettings(token_command="print 'token")


def test_a_token_file_that_others_may_read_is_told(tmp_path: Path) -> None:
    token, toml = tmp_path / "token", tmp_path / "config.toml"
    token.write_text("x", "ascii")
    token.chmod(0o644)
    toml.write_text(f'[supabase]\ntoken_file = "{token}"\n', "utf-8")
    assert load(toml, env={}).supabase.token_file == token
    for told in (exposed(toml, {}), exposed(None, {"EZREC_SUPABASE__TOKEN_FILE": str(token)})):
        assert [f"chmod 600 {token}" in words for words in told] == [True]
    token.chmod(stat.S_IRUSR)
    assert exposed(toml, {}) == []
