"""The kinds of values that settings are made of: how each is read, and what it refuses.

Limits: pure; a text that is refused never appears in its own refusal, because a secret may have been typed into the
wrong place.
"""

import difflib
import shlex
import string
import zoneinfo
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, SecretStr

from ezrec.domain.naming import LONGEST_STORE_ID
from ezrec.domain.stages import STATUS_WORDS

SLOWEST, FASTEST = 1, 120  # frames per second that a rate may lie between
NTSC_NEARNESS = Fraction(1, 200)  # 29.97 and 23.98 stand for 30000/1001 and 24000/1001, at most this far off
LONGEST_CAMERA_ID = 64  # characters
KEY_FIELDS = frozenset({
    "date", "year", "month", "day", "time", "booking_id", "user_id", "camera_id", "recording_id", "random"})
KEY_IDS = frozenset({"booking_id", "recording_id"})
KEY_LENGTHS = {"date": 10, "year": 4, "month": 2, "day": 2, "time": 4, "booking_id": LONGEST_STORE_ID,
               "user_id": LONGEST_CAMERA_ID, "camera_id": LONGEST_CAMERA_ID, "recording_id": 22,
               "random": 32}  # characters of a field at most
KEY_ENDING = len("@999999.mp4")  # a generation and the kind of file
LONGEST_NAME, LONGEST_KEY = 255, 1024  # bytes: of a name between slashes on a disk; of a key in S3
KEY_CHARACTERS = frozenset(string.ascii_letters + string.digits + "/._-=")


def number(default: float | None, low: float, high: float, unit: str, text: str, **more: Any) -> Any:
    """A number with a range; its description ends with range and unit, so that both stand in one place only.

    `more` goes to pydantic's `Field` (`multiple_of`). Returns Any because that is what a default in a model body is.
    """
    span = f"{low}–{high} {unit}".rstrip() + (f", a multiple of {more['multiple_of']}" if "multiple_of" in more else "")
    return Field(default=default, ge=low, le=high, description=f"{text}; {span}", **more)


def text(default: object, description: str, **more: Any) -> Any:
    """Anything but a number with a range: its default and its description. `more` goes to pydantic's `Field`."""
    return Field(default=default, description=description, **more)


def nearest(word: str, known: list[str]) -> str:
    """` (did you mean …?)` with the likeliest of `known`, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def rate(value: object) -> Fraction:
    """Frames per second from 30, 29.97 or "30000/1001".

    A decimal close to n·1000/1001 means exactly that (the NTSC rates of SMPTE ST 170).

    Raises:
        ValueError: not a number, or outside 1 to 120.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        raise ValueError('should be a rate such as 30, 29.97 or "30000/1001"')  # noqa: TRY004 -- pydantic's protocol
    try:
        exact = value if isinstance(value, Fraction) else Fraction(_decimal_or_ratio(str(value).strip()))
    except (ValueError, InvalidOperation, ZeroDivisionError, OverflowError):
        raise ValueError('should be a rate such as 30, 29.97 or "30000/1001"') from None
    if not SLOWEST <= exact <= FASTEST:
        raise ValueError(f"should lie between {SLOWEST} and {FASTEST} frames per second")
    ntsc = Fraction(round(exact) * 1000, 1001)
    if exact.denominator not in (1, 1001) and abs(exact - ntsc) < NTSC_NEARNESS:
        return ntsc
    return exact.limit_denominator(1001)


def _decimal_or_ratio(words: str) -> Fraction:
    if len(words) > 20:  # "1e999999999" would keep the machine busy for ever
        raise ValueError
    over, slash, under = words.partition("/")
    if slash:
        return Fraction(int(over), int(under))
    whole = Decimal(words)
    if not whole.is_finite() or abs(whole.adjusted()) > 6:
        raise ValueError
    return Fraction(whole)


def _ratio(value: Fraction) -> str:
    return str(value)


def _time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise ValueError(f"is no known time zone{nearest(name, sorted(zoneinfo.available_timezones()))}") from None
    return name


def _key_template(template: str) -> str:
    """An object key with fields in braces that can only ever name something below the library's root."""
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError:
        raise ValueError("has a brace without its partner") from None
    fields = {field for _, field, _, _ in pieces if field is not None}
    if unknown := fields - KEY_FIELDS:
        raise ValueError(f"has an unknown field in braces{nearest(min(unknown), sorted(KEY_FIELDS))}; "
                         f"known are: {', '.join(sorted(KEY_FIELDS))}")
    if any(spec or conversion for _, _, spec, conversion in pieces):
        raise ValueError("may not format its fields: write {name} and nothing more in the braces")
    if not fields & KEY_IDS:
        raise ValueError("must hold {booking_id} or {recording_id}, or two films would share one key")
    if not KEY_CHARACTERS.issuperset("".join(literal for literal, _, _, _ in pieces)):
        raise ValueError("may only hold letters, digits, the characters / . _ - = and fields in braces")
    if any(not part or part[0] == "." or ".." in part for part in template.split("/")):
        raise ValueError('may not begin or end with "/", hold ".." or "//", or a "." at the beginning of a name')
    lengths = [_longest(part) for part in template.split("/")]
    lengths[-1] += KEY_ENDING
    if max(lengths) > LONGEST_NAME or sum(lengths) + len(lengths) - 1 > LONGEST_KEY:
        raise ValueError(f"is too long: with the longest ids a name between slashes would have {max(lengths)} bytes "
                         f"(at most {LONGEST_NAME}) and the key {sum(lengths) + len(lengths) - 1} (at most "
                         f"{LONGEST_KEY})")
    return template


def _command(words: str) -> str:
    """What a shell would take for one command with its arguments."""
    try:
        split = shlex.split(words)
    except ValueError:
        raise ValueError("has a quotation mark without its partner") from None
    if (words and not (split and split[0])) or "\0" in words:
        raise ValueError("should be a command with its arguments, as a shell takes them")
    return words


def _longest(part: str) -> int:
    """How many bytes a piece of a key template may become."""
    return sum(len(literal) + KEY_LENGTHS.get(field or "", 0)
               for literal, field, _, _ in string.Formatter().parse(part))


def _none_if_empty(value: object) -> object:
    """TOML and the environment have no word for "none": an empty text is it."""
    return None if value == "" else value


def whole(value: object) -> object:
    """The environment gives texts; a choice between numbers needs the number."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _size(value: object) -> object:
    """A size in pixels, written 2304x1296."""
    if not isinstance(value, str):
        return value
    width, cross, height = value.lower().partition("x")
    if not (cross and width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise ValueError("should be a size such as 2304x1296")
    return int(width), int(height)


def _size_words(value: tuple[int, int] | None) -> str:
    return "" if value is None else f"{value[0]}x{value[1]}"


def _not_empty(path: Path) -> Path:
    if not path.parts:
        raise ValueError("should name a folder")
    return _nameable(path)


def _nameable(path: Path) -> Path:
    """A path that the operating system can be asked for at all."""
    if "\0" in str(path):
        raise ValueError("may not hold a null character")
    return path


def _choice_words(value: object) -> object:
    """Lists come from the environment as `a,b` (or as JSON, which was read before this)."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _status_words(pairs: tuple[str, ...]) -> tuple[str, ...]:
    """Each says what one of our words of status is called: completed=Done."""
    for pair in pairs:
        ours, equals, _ = pair.partition("=")
        if not equals or ours.strip() not in STATUS_WORDS.values():
            raise ValueError(f"each should be one of {', '.join(STATUS_WORDS.values())}, = and the venue's own word")
    return pairs


Rate = Annotated[Fraction, PlainValidator(rate), PlainSerializer(_ratio)]
MaybeRate = Annotated[Rate | None, BeforeValidator(_none_if_empty)]
MaybeInt = Annotated[int | None, BeforeValidator(_none_if_empty)]
if TYPE_CHECKING:
    Reckoned = int
else:
    Reckoned = MaybeInt
    """A number that `Settings` fills in from other settings if nobody gives it."""
MaybeFloat = Annotated[float | None, BeforeValidator(_none_if_empty)]
MaybePath = Annotated[Annotated[Path, AfterValidator(_nameable)] | None, BeforeValidator(_none_if_empty)]
SizeOrNone = Annotated[tuple[int, int] | None, BeforeValidator(_size), BeforeValidator(_none_if_empty),
                       PlainSerializer(_size_words)]
Folder = Annotated[Path, AfterValidator(_not_empty)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Command = Annotated[str, AfterValidator(_command), Field(max_length=1000)]
KeyTemplate = Annotated[str, AfterValidator(_key_template), Field(max_length=500)]
Words = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], BeforeValidator(_choice_words)]
Addresses = Annotated[tuple[Annotated[str, Field(max_length=320, pattern=r"^[^\s@,;<>]+@[^\s@,;<>]+$")], ...],
                      BeforeValidator(_choice_words)]
"""E-mail addresses, without names."""

StatusWords = Annotated[Words, AfterValidator(_status_words)]
Secret = SecretStr
Id = Annotated[str, Field(max_length=LONGEST_CAMERA_ID, pattern=r"^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)?$")]
"""An id may become a piece of an object key: letters, digits, `_`, `-` and single dots inside, or nothing."""

RequiredId = Annotated[Id, Field(min_length=1)]
Ids = Annotated[tuple[RequiredId, ...], BeforeValidator(_choice_words)]
Url = Annotated[str, Field(max_length=500, pattern=r"^(https?://[^\s/@]+(/\S*)?)?$")]
"""A base URL without user and password (a secret has its own key), or nothing."""
