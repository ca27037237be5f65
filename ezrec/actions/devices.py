"""The devices of a Supabase project, made, listed and withdrawn with its secret key; and their tokens.

The key that tokens are signed with is read, used and let go: it is not kept, and stands in no message.
"""

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from ezrec.actions.cloud import with_secret_key
from ezrec.adapters.supabase import Row, Supabase
from ezrec.adapters.supabase.functions import Functions, Ways
from ezrec.config import Settings
from ezrec.config.values import Secret
from ezrec.domain.clock import SystemClock
from ezrec.domain.errors import EzrecError, SettingsError
from ezrec.files import os_errors

ROLE = "ezrec_device"
DAY_S = 86_400
SHORTEST_SECRET = 32  # bytes, of HS256: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
LARGEST = 65_536  # bytes; a longer file is no key
WANTED = ("it should hold the project's old JWT secret, or a private ES256 key that the project was given (a JSON Web "
          "Key, or PEM)")


@dataclass(frozen=True)
class SigningKey:
    """What a project's tokens are signed with."""

    algorithm: str  # HS256 or ES256
    key: Any = field(repr=False)
    key_id: str | None = None

    def token(self, device: str, days: float) -> str:
        """A token for a device, good for so many days."""
        now = int(time.time())
        claims = {"role": ROLE, "sub": device, "aud": "authenticated", "iat": now, "exp": now + round(days * DAY_S)}
        return jwt.encode(claims, self.key, self.algorithm, headers={"kid": self.key_id} if self.key_id else None)


@dataclass(frozen=True)
class NewDevice:
    """A device that was made."""

    id: str
    user_id: str
    camera_id: str
    token: str = field(repr=False)


def read_key(file: Path, key_id: str | None = None) -> SigningKey:
    """The key that a file holds; `key_id` (`kid`) goes over its own.

    Raises:
        EzrecError: it cannot be read, or is no such key; no word of it is repeated.
    """
    with os_errors("read the signing key"), file.open("rb") as stream:
        raw = stream.read(LARGEST + 1)
    try:
        return parse_key(raw.decode("utf-8-sig").strip() if len(raw) <= LARGEST else "", key_id)
    except UnicodeDecodeError:
        raise EzrecError(f"{file}: is not text; {WANTED}") from None
    except EzrecError as error:
        raise EzrecError(f"{file}: {error}") from None


def parse_key(text: str, key_id: str | None = None) -> SigningKey:
    """The key that a text is.

    Raises:
        EzrecError: it is none; no word of it is repeated.
    """
    try:
        if len(text.encode()) >= SHORTEST_SECRET and re.fullmatch(r"[^\s{\[-]\S*", text) and text.count(".") != 2:
            return SigningKey("HS256", text, key_id)
        if text.startswith(("{", "[")):
            found = json.loads(text)
            one = found[0] if isinstance(found, list) and len(found) == 1 else found
            key = jwt.PyJWK.from_dict(one, algorithm="ES256").key
            made = SigningKey("ES256", key, key_id or one.get("kid"))
        else:
            made = SigningKey("ES256", jwt.get_algorithm_by_name("ES256").prepare_key(text), key_id)
        made.token("", 1)
    except Exception:  # noqa: BLE001 - of many libraries, and their words may hold a piece of the key
        raise EzrecError(f"is no key that tokens can be signed with; {WANTED}") from None
    return made


async def add(settings: Settings, key: SigningKey, name: str, days: float) -> NewDevice:
    """Make a device for the court of the settings, and a token for it that was tried.

    Raises:
        SettingsError: the settings name no project, no secret key, or no court.
        RetryError, ParkError: the project does not answer, or refuses.
        EzrecError: the project does not take what this key signs; the device is withdrawn again.
    """
    site = settings.site
    if not site.user_id:
        raise SettingsError("site.user_id is empty: it should be the owner of the court that the device is for")
    court = {"user_id": site.user_id, "camera_id": site.camera_id}
    (row,) = await with_secret_key(settings, "make a device", "ezrec_device_add", court=court, name=name,
                                   options=Ways.of(settings.bookings).options())
    made = NewDevice(str(row["id"]), site.user_id, site.camera_id, key.token(str(row["id"]), days))
    try:
        await _try(settings, made)
    except EzrecError as error:
        await revoke(settings, made.id)
        raise EzrecError(f"the project did not take the token that was signed with this key, and the device was "
                         f"withdrawn again: {error}") from error
    return made


async def revoke_others(settings: Settings, made: NewDevice) -> list[Row]:
    """Withdraw all other devices of a new one's court; their rows. Errors as of `add`."""
    others = [row for row in await listed(settings, made.user_id)
              if row["camera_id"] == made.camera_id and row["id"] != made.id and row["revoked_at"] is None]
    for row in others:
        await revoke(settings, str(row["id"]))
    return others


async def listed(settings: Settings, owner: str | None = None) -> list[Row]:
    """The devices of a project, or of one owner. Errors as of `add`."""
    return await with_secret_key(settings, "list devices", "ezrec_device_list", **({"owner": owner} if owner else {}))


async def revoke(settings: Settings, device: str) -> Row:
    """Withdraw a device, from its next call on; its row.

    Raises:
        EzrecError: there is no such device; and errors as of `add`.
    """
    rows = await with_secret_key(settings, "withdraw a device", "ezrec_device_revoke", device=device)
    if not rows:
        raise EzrecError(f"the project has no device {device}: `ezrec device list` shows those that it has")
    return rows[0]


async def _try(settings: Settings, made: NewDevice) -> None:
    """Call the project once as the new device."""
    token = {"device_token": Secret(made.token), "token_file": None, "token_command": ""}
    own = settings.supabase.model_copy(update=token)
    supabase = Supabase(own)
    try:
        await Functions(supabase, settings.site, Ways(), SystemClock(), device=True).call("try the token",
                                                                                         "ezrec_bookings", days=1)
    finally:
        await supabase.close()
