"""The heartbeat through the project's function, whose answer brings news of the court's bookings."""

from ezrec import logs
from ezrec.adapters.status import Row
from ezrec.adapters.status.supabase import SupabaseStatus
from ezrec.adapters.supabase.functions import FunctionMissing, Functions, Mark

log = logs.get("heartbeat")

HINT = "one of the two must go; `ezrec device list` shows the devices, `ezrec device revoke` withdraws one"


class CourtStatus:
    """A `StatusTable` over a function, or over `table` in a project without it; its connection is nobody else's."""

    def __init__(self, functions: Functions, mark: Mark, days_ahead: int, table: SupabaseStatus) -> None:
        self._functions = functions
        self._mark = mark
        self._days_ahead = days_ahead
        self._table = table
        self._other: object = None  # another device that reports for this court, as it was logged

    async def put(self, row: Row, *, limit_s: float) -> None:
        """One call (`StatusTable.put`). Another device that reports for the same court is said once."""
        try:
            answer = await self._functions.call("heartbeat", "ezrec_beat", limit_s=limit_s, status=row,
                                                days=self._days_ahead)
        except FunctionMissing:
            return await self._table.put(row, limit_s=limit_s)
        heard = answer[0] if answer else {}
        if isinstance(mark := heard.get("mark"), str):
            self._mark.hear(mark)
        other = heard.get("other_device")
        if other and other != self._other:
            log.error("another device reports for this court", device=other, hint=HINT)
        elif self._other and not other:
            log.info("no other device reports for this court any more", device=self._other)
        self._other = other
        return None

    def troubles(self) -> list[str]:
        """What a person should hear of."""
        return [f"court: another device reports for it too: {self._other}; {HINT}"] if self._other else []

    async def close(self) -> None:
        """Close the connections."""
        await self._table.close()
