"""The venue's Supabase project: its credential, its connections, what its answers mean, and the SQL of its tables.

Importing this costs a part of a second and some MB (postgrest-py): only where the settings ask for it, and before
anything is recorded.
"""

from ezrec.adapters.supabase.client import Row, Supabase

__all__ = ["Row", "Supabase"]
