"""The environment names of EZREC's predecessor, and what each means in keys of ours.

`LEGACY_NAMES` are those that its documents tell owners to set, `OLDER_NAMES` what its programs read as well: another
word for the same thing counts where the first one is not given. An empty value counts as not set.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Meaning = Callable[[str], dict[str, Any]]


def _key(*keys: str) -> Meaning:
    return lambda value: dict.fromkeys(keys, value)


QUALITIES: dict[str, dict[str, int]] = {
    "low": {"cameras.bitrate": 3_000_000, "film.crf": 28},
    "medium": {"cameras.bitrate": 6_000_000, "film.crf": 23},
    "high": {"cameras.bitrate": 10_000_000, "film.crf": 20},
}

LAYOUTS = {"side_by_side": "side_by_side", "feather": "feather", "feathered": "feather", "panorama": "panorama"}

LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error",
          "critical": "error"}

PICTURE_WIDTH = 1280
"""Pixels: the width that the predecessor's logos are measured on, unless RESOLUTION names another."""


def _quality(word: str) -> dict[str, Any]:
    if word.strip().lower() not in QUALITIES:
        raise ValueError("should be low, medium or high")
    return dict(QUALITIES[word.strip().lower()])


def _merge_method(word: str) -> dict[str, Any]:
    plain = word.strip().lower().replace("-", "_")
    if plain not in LAYOUTS:
        raise ValueError("should be side_by_side, feather or panorama")
    return {"film.layout": LAYOUTS[plain]}


def _level(word: str) -> dict[str, Any]:
    if word.strip().lower() not in LEVELS:
        raise ValueError("should be debug, info, warning or error")
    return {"logs.level": LEVELS[word.strip().lower()]}


def _size(word: str) -> dict[str, Any]:
    found = re.fullmatch(r"\s*(\d{2,5})\s*[xX]\s*(\d{2,5})\s*", word, re.ASCII)
    if not found:
        raise ValueError("should be a size such as 1920x1080")
    return {"cameras.width": int(found[1]), "cameras.height": int(found[2])}


LEGACY_NAMES: dict[str, Meaning] = {
    "SUPABASE_URL": _key("supabase.url"),
    "SUPABASE_SERVICE_ROLE_KEY": _key("supabase.key"),
    "USER_ID": _key("site.user_id"),
    "CAMERA_ID": _key("site.camera_id"),
    "TIMEZONE_NAME": _key("site.timezone"),
    "BOOKING_CHECK_INTERVAL": _key("bookings.poll_s"),
    "CAMERA_0_SERIAL": _key("cameras.left.id"),
    "CAMERA_1_SERIAL": _key("cameras.right.id"),
    "DUAL_CAMERA_MODE": _key("cameras.dual"),
    "RECORDING_FPS": _key("cameras.fps"),
    "RECORDING_QUALITY": _quality,
    "MERGE_METHOD": _merge_method,
    "AWS_ACCESS_KEY_ID": _key("s3.access_key_id"),
    "AWS_SECRET_ACCESS_KEY": _key("s3.secret_access_key"),
    "AWS_REGION": _key("s3.region"),
    "AWS_S3_BUCKET": _key("s3.bucket"),
    "AWS_USER_MEDIA_BUCKET": _key("s3.media_bucket"),
    "EMAIL_HOST": _key("email.host"),
    "EMAIL_PORT": _key("email.port"),
    "EMAIL_HOST_USER": _key("email.user"),
    "EMAIL_HOST_PASSWORD": _key("email.password"),
    "EMAIL_USE_TLS": _key("email.tls"),
    "EMAIL_FROM": _key("email.sender"),
    "SHARE_BASE_URL": _key("share.base_url"),
}
"""The names that the documents of EZREC's predecessor tell owners to set; an empty one counts as not set."""

LEGACY_SECRETS = frozenset({"SUPABASE_SERVICE_ROLE_KEY", "AWS_SECRET_ACCESS_KEY", "EMAIL_HOST_PASSWORD"})

OLDER_NAMES: dict[str, Meaning] = {  # a later one goes over an earlier one of the same key, LEGACY_NAMES over all
    "SUPABASE_ANON_KEY": _key("supabase.key"),
    "SUPABASE_KEY": _key("supabase.key"),
    "TIMEZONE": _key("site.timezone"),
    "LOCAL_TIMEZONE": _key("site.timezone"),
    "CAMERA_NAME": _key("site.name"),
    "AWS_DEFAULT_REGION": _key("s3.region"),
    "S3_BUCKET": _key("s3.bucket"),
    "RESOLUTION": _size,
    "RECORD_WIDTH": _key("cameras.width"),
    "RECORD_HEIGHT": _key("cameras.height"),
    "RECORD_FPS": _key("cameras.fps"),
    "RECORDING_BITRATE": _key("cameras.bitrate"),
    "CAMERA_ROTATION": _key("cameras.left.rotation", "cameras.right.rotation"),
    "STATUS_UPDATE_INTERVAL": _key("supabase.heartbeat_s"),
    "LOG_LEVEL": _level,
    "INTRO_VIDEO_PATH": _key("film.intro"),
}
"""What else the predecessor's programs read."""

OLDER_SECRETS = frozenset({"SUPABASE_ANON_KEY", "SUPABASE_KEY", "LIVE_PREVIEW_TOKEN"})

NO_KEYS = frozenset({"EZREC_BASE_DIR"})
"""Names that look like ours and are the predecessor's; nothing of ours corresponds to them."""

LOGOS = {  # name of the logo: its file, its position and the usual one, its width
    "main": ("MAIN_LOGO_PATH", ("MAIN_LOGO_POSITION", "LOGO_POSITION"), "bottom_right", "MAIN_LOGO_WIDTH"),
    "user": ("USER_LOGO_PATH", ("USER_LOGO_POSITION",), "top_right", "USER_LOGO_WIDTH"),
    "sponsor1": ("SPONSOR_LOGO_1_PATH", ("SPONSOR_1_POSITION", "SPONSOR_0_POSITION"), "bottom_left",
                 "SPONSOR_LOGO_WIDTH"),
    "sponsor2": ("SPONSOR_LOGO_2_PATH", ("SPONSOR_2_POSITION",), "bottom_left", "SPONSOR_LOGO_WIDTH"),
    "sponsor3": ("SPONSOR_LOGO_3_PATH", ("SPONSOR_3_POSITION",), "top_left", "SPONSOR_LOGO_WIDTH"),
}
LOGO_NAMES = frozenset({"LOGO_WIDTH", *(name for file, positions, _, width in LOGOS.values()
                                        for name in (file, *positions, width))})
LOGO_WIDTHS = {"main": 400}  # pixels, where nothing else is said
LOGO_WIDTH = 120


def logos(names: Mapping[str, str], files: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The logos that the names ask for, as `film.logos` takes them; `files` go over the paths that are named.

    A position in the middle of an edge becomes the left corner of that edge: films have logos in corners.

    Raises:
        ValueError: a width is no number.
    """
    return list(_logos(names, files or {}))


def _logos(names: Mapping[str, str], files: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    size = re.match(r"\s*(\d{2,5})\s*[xX]", names.get("RESOLUTION", ""), re.ASCII)
    picture = int(size[1]) if size else PICTURE_WIDTH
    for name, (path, positions, usual, width) in LOGOS.items():
        file = files.get(name) or names.get(path)
        if not file:
            continue
        given = names.get(width) or names.get("LOGO_WIDTH") or str(LOGO_WIDTHS.get(name, LOGO_WIDTH))
        if not (given.isascii() and given.isdigit() and len(given) < 6):
            raise ValueError(f"the width of the logo {name} should be a number of pixels")
        position = next((names[one] for one in positions if names.get(one)), usual)
        yield {"name": name, "file": file, "position": position.strip().lower().replace("center", "left"),
               "width": round(min(1.0, max(0.01, int(given) / picture)), 4)}
