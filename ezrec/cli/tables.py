"""`ezrec tables`: the SQL of the tables that EZREC shares with the venue's own programs."""

from importlib import resources

HEADER = """\
-- EZREC's tables for a Supabase project. To make them, or to complete older ones, run this
--   ezrec tables | psql "$DATABASE_URL"
-- or paste it into the project's SQL editor.
--
"""


def tables() -> None:
    """Print the SQL that makes, or completes, the tables and functions in the venue's Supabase project.

    Run it with `ezrec tables | psql "$DATABASE_URL"`, or in the project's SQL editor. It may be run again at any time;
    if it fails nothing is changed, and psql ends with a status other than 0.
    """
    print(HEADER + sql(), end="")


def sql() -> str:
    """The whole script: its files one behind the other."""
    # by the path of another package: importing this one costs postgrest-py
    folder = resources.files("ezrec.adapters").joinpath("supabase/sql")
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return "".join(file.read_text("utf-8") for file in files if file.name.endswith(".sql"))
