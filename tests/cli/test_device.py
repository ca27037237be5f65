"""`ezrec device`: devices are made, listed and withdrawn; no key is kept or shown."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ezrec.actions.devices import parse_key
from ezrec.domain.errors import EzrecError
from tests.cli.conftest import Said
from tests.fakes.cloud.supabase import Supabase as Project

OWNER, COURT = "u-box", "c-box"


@pytest.fixture
def project(supabase: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("SUPABASE_URL", supabase.url)
    monkeypatch.setenv("EZREC_SUPABASE__KEY", supabase.service_key)
    monkeypatch.setenv("EZREC_SITE__USER_ID", OWNER)
    monkeypatch.setenv("EZREC_SITE__CAMERA_ID", COURT)
    supabase.run("delete from ezrec_devices where user_id = :'u'", u=OWNER)
    return supabase


def devices(project: Project) -> list[dict[str, Any]]:
    return project.rows("select * from ezrec_devices where user_id = :'u' order by created_at", u=OWNER)


def beats(project: Project, token: str, monkeypatch: pytest.MonkeyPatch, ezrec: Callable[..., Said]) -> bool:
    """Whether the project answers a device's token."""
    with monkeypatch.context() as patch:
        patch.setenv("EZREC_SUPABASE__KEY", project.publishable_key)
        patch.setenv("EZREC_SUPABASE__DEVICE_TOKEN", token)
        return '"problems"' in ezrec("check", "--cloud", "--json")[1]


def test_a_new_box_takes_a_dead_ones_place_by_one_command_and_a_revoked_one_may_do_nothing(
        project: Project, here: Path, ezrec: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "secret").write_text(project._jwt_key + "\n")
    monkeypatch.setenv("EZREC_BOOKINGS__CAMERA_IDS", '["0"]')
    status, out, err = ezrec("device", "add", "--key", "secret", "--name", "old box")
    old = out.strip()
    assert (status, project._jwt_key in out + err, len(out.splitlines())) == (0, False, 1)
    assert beats(project, old, monkeypatch, ezrec)
    status, out, err = ezrec("device", "add", "--key", "secret", "--name", "new box", "--to", "token", "--replaces",
                             "--json")
    said = json.loads(out)
    new = (here / "token").read_text().strip()
    assert (status, "token" in said, new in out + err) == (0, False, False)
    assert stat.S_IMODE((here / "token").stat().st_mode) == 0o600
    first, second = devices(project)
    assert (first["id"], second["id"]) == (said["revoked"][0], said["id"])
    assert second["options"]["camera_ids"] == ["0"]
    assert (beats(project, old, monkeypatch, ezrec), beats(project, new, monkeypatch, ezrec)) == (False, True)

    assert ezrec("device", "revoke", second["id"])[0] == 0
    assert not beats(project, new, monkeypatch, ezrec)
    listed = {row["id"]: row["revoked_at"] for row in json.loads(
        ezrec("device", "list", "--owner", OWNER, "--json")[1])["devices"]}
    assert set(listed) == {first["id"], second["id"]}
    assert all(listed.values())
    assert ezrec("device", "list", "--owner", OWNER)[1].count("withdrawn") == 2
    status, _, err = ezrec("device", "revoke", "7f1a2b3c-0000-4000-8000-000000000009")
    assert (status, "has no device" in err) == (1, True)


def test_a_key_that_is_not_the_projects_cuts_no_working_box_off(
        project: Project, here: Path, ezrec: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_SIGNING_KEY", project._jwt_key)
    good = ezrec("device", "add")[1].strip()
    (here / "wrong").write_text("0" * 64)
    status, out, err = ezrec("device", "add", "--key", "wrong", "--to", "token", "--replaces")
    assert (status, out, "did not take the token" in err) == (1, "", True)
    assert not (here / "token").exists()
    assert [row["revoked_at"] is None for row in devices(project)] == [True, False]
    assert beats(project, good, monkeypatch, ezrec)


def test_a_token_that_cannot_be_written_leaves_no_device(
        project: Project, here: Path, ezrec: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_SIGNING_KEY", project._jwt_key)
    status, out, err = ezrec("device", "add", "--to", "nowhere/token")
    assert (status, out, "nowhere" in err) == (1, "", True)
    assert [row["revoked_at"] is None for row in devices(project)] == [False]


@pytest.mark.parametrize("form", ["jwk", "list", "pem"])
def test_an_es256_key_signs_with_its_id(form: str) -> None:
    made = ec.generate_private_key(ec.SECP256R1())
    jwk = {**jwt.algorithms.ECAlgorithm.to_jwk(made, as_dict=True), "kid": "k1", "alg": "ES256"}
    text = {"jwk": json.dumps(jwk), "list": json.dumps([jwk]),
            "pem": made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()}[form]
    key = parse_key(text, "k1" if form == "pem" else None)
    token = key.token("7f1a2b3c-0000-4000-8000-000000000001", 1)
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "JWT", "kid": "k1"}
    claims = jwt.decode(token, made.public_key(), ["ES256"], audience="authenticated")
    assert (claims["role"], claims["sub"], claims["exp"] - claims["iat"]) == (
        "ezrec_device", "7f1a2b3c-0000-4000-8000-000000000001", 86_400)
    assert "PRIVATE" not in repr(key)
    assert jwk["d"] not in repr(key)


PUBLIC = ec.generate_private_key(ec.SECP256R1()).public_key()


@pytest.mark.parametrize("text", [
    "", "short", "a b" * 30, "{", "[]", "{}", "-----BEGIN X-----", f"eyJh.eyJh.{'a' * 40}",
    json.dumps(jwt.algorithms.ECAlgorithm.to_jwk(PUBLIC, as_dict=True)),
    json.dumps(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()), as_dict=True)),
])
def test_what_is_no_signing_key_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(EzrecError, match="it should hold") as caught:
        parse_key(text)
    assert len(text) < 8 or text not in str(caught.value)
