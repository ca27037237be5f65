"""No command shows a secret of the settings, whatever it says and however it fails."""

from pathlib import Path

import pytest

from tests.cli.test_borders import WORDS, place, walk  # noqa: F401 - the fixture

REFUSED = 2  # the exit status of settings that are not usable
SECRETS = {
    "supabase.key": "sup+base/k-y 0123456789", "s3.secret_access_key": "S3-secret/with+signs=&0123456789",
    "email.password": 'mail "password" 0123', "alerts.webhook_secret": "webhook-secret-0123456789"}
UNREACHABLE = """
[site]
user_id = "u-1"
camera_id = "court-1"
[bookings]
source = "supabase"
[publishing]
kind = "supabase"
[storage]
kind = "s3"
[supabase]
url = "http://127.0.0.1:9"
key = '{supabase.key}'
limit_s = 1
[s3]
endpoint = "http://127.0.0.1:9"
bucket = "films"
access_key_id = "an-id"
secret_access_key = '{s3.secret_access_key}'
[email]
host = "127.0.0.1"
port = 9
user = "me"
password = '{email.password}'
sender = "me@example.org"
[alerts]
webhook = "http://127.0.0.1:9/hook"
webhook_secret = '{alerts.webhook_secret}'
mail_to = ["you@example.org"]
[logs]
level = "debug"
ship = "supabase"
"""


def settings(more: str = "") -> str:
    text = UNREACHABLE
    for name, value in SECRETS.items():
        text = text.replace("{" + name + "}", value)
    return text + more


@pytest.mark.parametrize("more", [
    pytest.param("", id="a cloud that is away"), pytest.param("\n[film]\nmaxrate = 1\n", id="refused settings")])
def test_no_command_shows_a_secret(place: Path, more: str) -> None:  # noqa: F811 - the fixture
    (place / "config.toml").write_text(settings(more))
    shown = walk(place)
    assert len(shown) > len(WORDS)
    everything = [(words, out + err) for words, _, out, err in shown]
    everything += [([str(path)], path.read_text("utf-8", "replace")) for path in (place / "data").rglob("*.log*")]
    for words, text in everything:
        for secret in SECRETS.values():
            assert secret not in text, words
            assert repr(secret)[1:-1] not in text, words


def test_the_demo_needs_nothing_of_a_venue_that_is_in_use(place: Path) -> None:  # noqa: F811 - the fixture
    (place / "config.toml").write_text(settings())
    assert [words for words, status, *_ in walk(place) if words[0] == "demo" and status == REFUSED] == []
