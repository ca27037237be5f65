"""What an owner wants films dressed with: intro and logos, as the row of `user_settings` names them.

A row from outside: every value is looked at on its own, and one that is unusable is left out and named, never an error:
a slip in a web form must not cost a film. Paths are keys in the bucket of media and nothing else; whoever fetches the
files keeps them under names of its own.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import cast, get_args

from ezrec.adapters.supabase import Row, Supabase
from ezrec.adapters.supabase.functions import FunctionMissing, Functions
from ezrec.config.sections import LogoSettings, Position

TABLE = "user_settings"
LONGEST_KEY = 500  # characters
NARROWEST, WIDEST = 0.01, 1.0  # as film.logos.width
SHOWN = 80  # characters of a refused value that are repeated

_KEY = re.compile(r"[A-Za-z0-9 !_.*'()=@+,-]+(/[A-Za-z0-9 !_.*'()=@+,-]+)*", re.ASCII)
_POSITIONS: tuple[str, ...] = get_args(Position)
_WIDTH: float = LogoSettings.model_fields["width"].default

LOGOS: dict[str, Position] = {"sponsor": "top_left", "company": "top_right", "venue": "bottom_right",
                              "sponsor_2": "bottom_left", "sponsor_3": "bottom_left"}
"""The logos that a row may name, with the corner of each if it names none."""


@dataclass(frozen=True)
class VenueLogo:
    """A logo in the bucket of media."""

    name: str  # of LOGOS
    path: str  # key
    position: Position
    width: float  # fraction of the film's


@dataclass(frozen=True)
class VenueMedia:
    """What is usable of an owner's row."""

    intro: str | None  # key of the clip in the bucket of media
    logos: tuple[VenueLogo, ...]  # in the order of LOGOS
    refused: tuple[str, ...]  # what was not usable: column, value, what would be right


OLDER = {"intro_path": "intro_video_path", "company_logo_path": "logo_path", "sponsor_logo_path": "sponsor_logo1_path",
         "sponsor_2_logo_path": "sponsor_logo2_path", "sponsor_3_logo_path": "sponsor_logo3_path"}
"""What columns of ours are called in an older table, whose pages go on writing those."""


async def read(supabase: Supabase, user_id: str, functions: Functions | None = None) -> VenueMedia | None:
    """What the owner's films are dressed with; None if the owner has no row.

    Errors are those of `Supabase.rows`.
    """
    rows = None
    if functions:
        with suppress(FunctionMissing):
            rows = await functions.call("read user_settings", "ezrec_settings")
    if rows is None:
        rows = await supabase.rows(
            "read user_settings", lambda client: client.table(TABLE).select("*").eq("user_id", user_id).limit(1))
    return parse(rows[0]) if rows else None


def parse(row: Row) -> VenueMedia:
    """What is usable of a row of `user_settings`."""
    refused: list[str] = []
    intro = _path(row, "intro_path", refused)
    logos = []
    for name, corner in LOGOS.items():
        if path := _path(row, f"{name}_logo_path", refused):
            logos.append(VenueLogo(name, path, _position(row, f"{name}_logo_position", corner, refused),
                                   _width(row, f"{name}_logo_width", refused)))
    return VenueMedia(intro, tuple(logos), tuple(refused))


def _path(row: Row, column: str, refused: list[str]) -> str | None:
    value = row.get(column)
    if value is None or value == "":
        column = OLDER.get(column, column)
        value = row.get(column)
    if value is None or value == "":
        return None
    if (isinstance(value, str) and len(value) <= LONGEST_KEY and _KEY.fullmatch(value)
            and not any(set(part) <= {".", " "} for part in value.split("/"))):
        return value
    _refuse(column, value, f"the key of a file in the bucket of media: letters, digits, / _ . - and the like, at most "
                           f"{LONGEST_KEY} characters", refused)
    return None


def _position(row: Row, column: str, default: Position, refused: list[str]) -> Position:
    value = row.get(column)
    if value in _POSITIONS:
        return cast("Position", value)
    if value is not None and value != "":
        _refuse(column, value, ", ".join(_POSITIONS), refused)
    return default


def _width(row: Row, column: str, refused: list[str]) -> float:
    value = row.get(column)
    if value is None:
        return _WIDTH
    if isinstance(value, int | float) and not isinstance(value, bool) and NARROWEST <= value <= WIDEST:
        return float(value)
    _refuse(column, value, f"a fraction of the film's width, {NARROWEST:g} to {WIDEST:g}", refused)
    return _WIDTH


def _refuse(column: str, value: object, right: str, refused: list[str]) -> None:
    refused.append(f"user_settings.{column} is {ascii(value)[:SHOWN]}: it should be {right}")
