"""The project's functions (`ezrec tables`), as one court calls them; a project without them says so, once.

A device's token reaches nothing else. With the project's secret key the tables themselves can be used where there are
no functions yet: whoever calls here says what is done then.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ezrec.adapters.supabase.client import Row, Supabase, task_log
from ezrec.config.sections import BookingsSettings, SiteSettings
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import Refused
from ezrec.domain.stages import STATUS_WORDS

NONE_WORD = "null"  # in bookings.camera_ids: a booking that names no court
MISSING = frozenset({"PGRST202", "42883"})
SETTINGS = {"camera_ids": "camera_ids", "cancelled_words": "ignore_statuses",
            "cancelled_columns": "cancelled_columns", "status_words": "status_words"}
"""The settings by the options that a device has in the place of them."""
AGAIN_S = 600.0  # a function that is missing is called again after this time


class FunctionMissing(Refused):
    """The project lacks a function."""


@dataclass(frozen=True)
class Ways:
    """How a venue's tables say what they say: settings that go with every call.

    `camera_ids`: what a booking of this court may name instead of the court, "" for nothing; `cancelled`: words that
    mean cancelled, lower case; `cancelled_columns`: columns that say so when there is something in them; `words`: the
    venue's words of status by ours.
    """

    camera_ids: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    cancelled_columns: tuple[str, ...] = ("deleted_at",)
    words: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(settings: BookingsSettings) -> "Ways":
        """As the settings say."""
        pairs = [pair.partition("=") for pair in settings.status_words]
        return Ways(tuple("" if one == NONE_WORD else one for one in settings.camera_ids),
                    tuple(sorted(word.lower() for word in settings.ignore_statuses)), settings.cancelled_columns,
                    {ours.strip(): theirs.strip() for ours, _, theirs in pairs})

    def word(self, ours: str) -> str:
        """The venue's word of status for one of ours; "" if it has none."""
        return self.words.get(ours, ours)

    def ours(self, shown: str) -> str:
        """What a word of status means: the earliest of ours that the venue says so, or the word itself, lower case."""
        plain = shown.strip().lower()
        return next((ours for ours in STATUS_WORDS.values() if self.word(ours).lower() == plain), plain)

    def differing(self, options: object) -> list[str]:
        """In what a device's options, which count in the place of these settings, differ from them; in words."""
        theirs = {"camera_ids": (), "cancelled_words": sorted(BookingsSettings().ignore_statuses),
                  "cancelled_columns": ("deleted_at",), "status_words": {}} | (
                      options if isinstance(options, dict) else {})
        told = []
        for name, own in self.options().items():
            here, there = ((one if isinstance(one, Mapping) else sorted(map(str, one or ())))
                           for one in (own, theirs[name]))
            if here != there:
                told.append(f"bookings.{SETTINGS[name]} is {here} here, but {there} with this device in the project "
                            f"(ezrec_devices.options, {name}), which counts")
        return told

    def options(self) -> Row:
        """As the functions take them."""
        return {"camera_ids": self.camera_ids, "cancelled_words": self.cancelled,
                "cancelled_columns": self.cancelled_columns, "status_words": dict(self.words)}


class Functions:
    """One court's calls. `device`: the credential is a device's token, which reaches nothing but functions."""

    def __init__(self, supabase: Supabase, site: SiteSettings, ways: Ways, clock: Clock, *, device: bool,
                 box: str = "", beat_s: float = 0.0) -> None:
        """`box` names this machine and its boot, so that two that report for one court are noticed; `beat_s`: how
        often it reports.
        """
        self.ways = ways
        self._supabase = supabase
        self._court = {"user_id": site.user_id, "camera_id": site.camera_id, "options": ways.options()} | (
            {"box": box, "beat_s": beat_s} if box else {})
        self._clock = clock
        self._device = device
        self._missing: dict[str, int] = {}  # function → monotonic µs until which it is not called again

    async def call(self, what: str, name: str, *, limit_s: float | None = None, expected: Collection[str] = (),
                   **arguments: Any) -> list[Row]:
        """The rows that a function answers with; `what` and `expected` as of `Supabase.rows`, and so are the errors.

        Raises:
            FunctionMissing: the project lacks it, and the credential reaches the tables: use them.
        """
        if self._clock.mono_us() < self._missing.get(name, 0):
            raise FunctionMissing(f"the project lacks the function {name}", "PGRST202", None)
        try:
            return await self._supabase.rows(
                what, lambda client: client.rpc(name, {"court": self._court} | arguments), limit_s=limit_s,
                expected=[*expected, *(() if self._device else MISSING)])
        except Refused as error:
            if error.code not in MISSING or self._device:
                raise
            if name not in self._missing:
                task_log().info("project lacks a function, its tables are used instead", function=name,
                                hint="`ezrec tables` prints the SQL that makes it")
            self._missing[name] = self._clock.mono_us() + round(AGAIN_S * SECOND)
            raise FunctionMissing(str(error), error.code, None) from None


class Mark:
    """What the newest heartbeat was told of this court's bookings: a text that is another whenever they change."""

    def __init__(self, clock: Clock, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called when a mark is heard that is another than the one before."""
        self._clock = clock
        self._changed = changed
        self._text: str | None = None
        self._heard_us = 0

    def hear(self, text: str) -> None:
        """A heartbeat was answered."""
        before, self._text, self._heard_us = self._text, text, self._clock.mono_us()
        if text != before:
            self._changed()

    def still(self, text: str | None, within_s: float) -> bool:
        """Whether bookings that were read with the mark `text` are what they were, as heard within so many seconds."""
        return text is not None and text == self._text and (
            self._clock.mono_us() - self._heard_us < within_s * SECOND)
