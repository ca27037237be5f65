"""What a person may ask the venue's Supabase project: what it would not take, what is open, and how its courts are."""

from dataclasses import dataclass
from typing import Any

from ezrec.adapters.supabase import Row, Supabase
from ezrec.adapters.supabase.functions import MISSING, FunctionMissing, Functions, Ways
from ezrec.config import Settings
from ezrec.domain.clock import SystemClock
from ezrec.domain.errors import Refused, SettingsError

OFFLINE_S, BEATS = 15.0, 3  # without a heartbeat for so long, and for so many, a court is offline
CHECK_S = 60.0  # the project tries rows of every kind
UNTIDY = " rows"  # how `about` ends of what is only untidy: every film comes out right all the same
TABLES = "`ezrec tables` prints the SQL that makes them; run it on the project's database"


@dataclass(frozen=True)
class Problem:
    """Something of the project that a person should put right."""

    about: str  # a table, or table.column
    problem: str
    remedy: str  # SQL, or words

    @property
    def untidy(self) -> bool:
        """Whether it is only untidy."""
        return self.about.endswith(UNTIDY)


async def problems(settings: Settings) -> list[Problem]:
    """What of this court's rows the project would not take, what of it is open to strangers, and which rows are there
    twice or point nowhere. Nothing is changed.

    Raises:
        SettingsError: the settings name no project.
        RetryError, ParkError: it does not answer, or refuses.
    """
    supabase = _project(settings)
    device = settings.supabase.device
    functions = Functions(supabase, settings.site, Ways.of(settings.bookings), SystemClock(), device=device)
    try:
        rows = await functions.call("check", "ezrec_check", limit_s=CHECK_S)
        options = (await functions.call("read options", "ezrec_bookings", days=1))[0].get("device_options")
    except FunctionMissing:
        return [Problem("functions", "the project lacks EZREC's functions: its tables are used as they are", TABLES)]
    finally:
        await supabase.close()
    differing = [] if options is None else functions.ways.differing(options)
    own = [Problem("settings", words, "let both say the same") for words in differing]
    return own + [Problem(*(str(row.get(name)) for name in ("about", "problem", "remedy"))) for row in rows]


async def fleet(settings: Settings, owner: str | None) -> list[Row]:
    """How each court of the project is, or of one owner's; the rows of `ezrec_fleet`.

    Raises:
        SettingsError: the settings name no project, or no secret key.
        RetryError, ParkError: it does not answer, or refuses.
    """
    offline_s = max(OFFLINE_S, BEATS * settings.supabase.heartbeat_s)
    return await with_secret_key(settings, "read the fleet", "ezrec_fleet", offline_s=offline_s,
                                 **({"owner": owner} if owner else {}))


async def with_secret_key(settings: Settings, what: str, function: str, **arguments: Any) -> list[Row]:
    """The rows of a function that is for the secret key alone; `what` names the call. Errors as of `fleet`."""
    if settings.supabase.device:
        raise SettingsError("a device's token reaches its own court only: give the project's secret key "
                            "(supabase.key), and no token")
    supabase = _project(settings)
    try:
        return await supabase.rows(what, lambda client: client.rpc(function, arguments))
    except Refused as error:
        if error.code in MISSING:
            raise Refused(f"the project lacks EZREC's functions: {TABLES}", error.code, None) from error
        raise
    finally:
        await supabase.close()


def _project(settings: Settings) -> Supabase:
    if not settings.supabase.url:
        raise SettingsError("supabase.url is empty: it should be the address of the venue's project")
    return Supabase(settings.supabase)
