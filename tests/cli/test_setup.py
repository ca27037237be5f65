"""`ezrec setup`: what it writes, what it leaves alone, and what it refuses."""

import stat
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ezrec.cli import app
from ezrec.config import load
from ezrec.config.writing import edited, write_secrets

OWN = """\
# the court in the shed
[site]
camera_id = "court-1"   # as the front end has it

[film]
crf = 20
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An owner's settings file."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(OWN)
    path.chmod(0o640)
    return path


def setup(*words: str, answers: str | None = None) -> Result:
    return CliRunner().invoke(app, ["setup", *words], input=answers)


def test_keys_are_set_and_everything_else_in_the_file_stays(file: Path) -> None:
    done = setup("--set", "site.camera_id=7", "--set", "cameras.dual=false", "--set", "film.preset=superfast")
    assert done.exit_code == 0, done.output
    text = file.read_text()
    assert "# the court in the shed" in text
    assert "# as the front end has it" in text
    found = tomllib.loads(text)
    assert found == {"site": {"camera_id": "7"}, "film": {"crf": 20, "preset": "superfast"}, "cameras": {"dual": False}}
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_the_same_again_changes_nothing(file: Path) -> None:
    setup("--set", "cameras.fps=25")
    before = file.stat().st_ino, file.read_bytes()
    done = setup("--set", "cameras.fps=25")
    assert done.exit_code == 0
    assert "nothing is changed" in done.output
    assert (file.stat().st_ino, file.read_bytes()) == before


@pytest.mark.parametrize("change", ["film.crf=99", "storage.kind=s3", "site.timezone=Mars/Olympus", "cameras.fps=soon"])
def test_nothing_is_written_unless_all_of_it_can_be_used(file: Path, change: str) -> None:
    done = setup("--set", change, "--set", "site.name=shed")
    assert done.exit_code != 0
    assert file.read_text() == OWN
    assert str(done.exception)
    assert "/tmp/tmp" not in str(done.exception)


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(file: Path) -> None:
    done = setup("--set", "supabase.key=hush-hush")
    assert done.exit_code == 2
    assert "--from" in done.output
    assert "hush-hush" not in done.output


def test_a_file_brings_keys_and_secrets_and_secrets_go_where_only_their_owner_reads(file: Path, tmp_path: Path) -> None:
    (tmp_path / "court.toml").write_text('[supabase]\nurl = "https://x.supabase.co"\nkey = "hush-hush"\n'
                                         '[site]\nuser_id = "u-1"\n[bookings]\nsource = "supabase"\n')
    done = setup("--from", str(tmp_path / "court.toml"))
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    assert "hush-hush" not in file.read_text() + done.output
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    settings = load(file, env={})
    assert settings.supabase.key.get_secret_value() == "hush-hush"
    assert settings.supabase.url == "https://x.supabase.co"
    again = setup("--set", "bookings.poll_s=7")  # the kept secret counts
    assert again.exit_code == 0, again.exception
    assert load(file, env={}).supabase.key.get_secret_value() == "hush-hush"


def test_on_a_device_a_secret_is_a_file_of_roots_in_the_credential_store(tmp_path: Path) -> None:
    store = tmp_path / "credstore"
    written = write_secrets(Path("/etc/ezrec/config.toml"), {"supabase.key": "hush"}, store)
    assert written == [store / "ezrec.supabase.key"]
    assert written[0].read_text() == "hush"
    assert stat.S_IMODE(written[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    write_secrets(Path("/etc/ezrec/config.toml"), {"supabase.key": "other"}, store)
    assert written[0].read_text() == "other"


def test_a_person_is_asked_and_enter_keeps_what_is_set(file: Path) -> None:
    done = setup("--ask", answers="\nEurope/Berlin\ny\nhttps://x.supabase.co\nu-1\nhush\n\nn\n\n\n")
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    settings = load(file, env={})
    assert settings.site.camera_id == "court-1"
    assert (settings.site.timezone, settings.site.user_id) == ("Europe/Berlin", "u-1")
    assert (settings.bookings.source, settings.publishing.kind) == ("supabase", "supabase")
    assert settings.storage.kind == "local"
    assert settings.supabase.key.get_secret_value() == "hush"
    assert "hush" not in done.output
    before = file.read_bytes()
    again = setup("--ask", answers="\n" * 12)
    assert again.exit_code == 0, f"{again.output} {again.exception}"
    assert file.read_bytes() == before
    assert load(file, env={}).supabase.key.get_secret_value() == "hush"


def test_cameras_change_sides_and_back(file: Path) -> None:
    for expected in (("1", "0"), ("0", "1")):
        assert setup("--swap").exit_code == 0
        settings = load(file, env={})
        assert (settings.cameras.left.id, settings.cameras.right.id) == expected


def test_a_file_that_is_not_there_yet_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert setup("--set", "site.camera_id=court-9").exit_code == 0
    assert load(tmp_path / "config.toml", env={}).site.camera_id == "court-9"


def test_a_key_is_taken_out_and_comments_stay() -> None:
    text = edited(OWN, {"film.crf": None, "cameras.left.id": "0"})
    assert tomllib.loads(text) == {"site": {"camera_id": "court-1"}, "film": {}, "cameras": {"left": {"id": "0"}}}
    assert text.startswith("# the court in the shed\n")
