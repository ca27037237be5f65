"""The table `system_status` of the venue's Supabase project."""

from ezrec.adapters.status import Row
from ezrec.adapters.supabase import Supabase

TABLE, KEY = "system_status", "user_id,camera_id"


class SupabaseStatus:
    """A `StatusTable` in `supabase`, which nobody else should use: another call must not make a beat late."""

    def __init__(self, supabase: Supabase) -> None:
        self._supabase = supabase

    async def put(self, row: Row, *, limit_s: float) -> None:
        """One upsert. Errors are those of `Supabase.upsert`; columns that an older table lacks are left out."""
        await self._supabase.upsert(TABLE, row, KEY, limit_s=limit_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._supabase.close()
