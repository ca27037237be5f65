"""Defaults that nobody chose and that are probably wrong: said when the recorder starts, and by commands."""

import os
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ezrec.config.sections import KEYS, Settings


def doubts(settings: Settings) -> list[str]:
    """What the settings leave open and somebody should look at, in words."""
    return [doubt for doubt in (zone_doubt(settings), _cameras_doubt(settings), *_without_effect(settings)) if doubt]


def key_risk(settings: Settings) -> str:
    """That this device has the project's secret key; empty: it has not."""
    if not settings.supabase.key.get_secret_value() or settings.supabase.device:
        return ""
    return ("supabase.key is the project's secret key, which is good for everything in it: whoever takes this device "
            "has it; `ezrec device add` makes a token for this court alone (supabase.device_token)")


def zone_doubt(settings: Settings) -> str:
    """That nobody chose the court's time zone and this machine lives in another one; empty: no doubt."""
    if settings.origin("site.timezone") != "default":
        return ""
    year, zone = datetime.now(UTC).year, ZoneInfo(settings.site.timezone)
    moments = [datetime(year, month, 1, tzinfo=UTC) for month in (1, 7)]  # winter and summer
    if all(moment.astimezone().utcoffset() == moment.astimezone(zone).utcoffset() for moment in moments):
        return ""
    return (f"site.timezone is not set: local times are taken as {settings.site.timezone}, but this machine's time "
            f'zone is {_machine_zone()}; set it in config.toml, for example site.timezone = "Europe/Berlin"')


def _machine_zone() -> str:
    named = os.environ.get("TZ", "").lstrip(":") or os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    return named or f"{datetime.now(UTC).astimezone():%Z}"


def _without_effect(settings: Settings) -> list[str]:
    """The settings that are given and that nothing reads yet."""
    return [f"{key} ({settings.origin(key)}): has no effect yet" for key, field in KEYS.items()
            if "no effect yet" in (field.description or "") and settings.origin(key) != "default"]


def _cameras_doubt(settings: Settings) -> str:
    """That nobody chose the cameras, so a made-up court is recorded; empty: no doubt."""
    if settings.origin("cameras.source") != "default":
        return ""
    return ('cameras.source is not set: simulated cameras show a made-up court; on a Raspberry Pi set cameras.source = '
            '"picamera2"')
