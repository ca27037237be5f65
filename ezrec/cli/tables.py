"""`ezrec tables`: the SQL of the tables that EZREC shares with the venue's own programs."""

from importlib import resources

HEADER = """\
-- EZREC's tables for a Supabase project. To make them, or to complete older ones, run this
--   ezrec tables | psql -v ON_ERROR_STOP=1 "$DATABASE_URL"
-- or paste it into the project's SQL editor.
--
"""


def tables() -> None:
    """Print the SQL that makes, or completes, the tables in the venue's Supabase project.

    Run it with `ezrec tables | psql -v ON_ERROR_STOP=1 "$DATABASE_URL"`, or in the project's SQL editor. It may be run
    again at any time.
    """
    print(HEADER + resources.files("ezrec.adapters").joinpath("supabase/tables.sql").read_text("utf-8"), end="")
