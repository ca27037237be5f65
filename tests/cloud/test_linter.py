"""The provider's own database linter over projects as `ezrec tables` leaves them: nothing above INFO that is ours."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from ezrec.cli.tables import sql
from tests.fakes.cloud.postgres import Postgres
from tests.fakes.cloud.supabase import GENEROUS, HERE, ROLES

LINTER = HERE / "node_modules/@postgrestools/postgrestools/bin/postgrestools"
OLD = {path.stem: path.read_text("utf-8") for path in sorted((Path(__file__).with_name("old")).glob("*.sql"))}
PROJECTS = {"fresh": ""} | OLD
FINDING = re.compile(r"^(splinter/\S+).*?\n(.*?)(?=^splinter/|\Z)", re.MULTILINE | re.DOTALL)
IDENTICAL = "create index again on bookings (user_id, camera_id, start_time);"


def findings(postgres: Postgres, database: str, folder: Path) -> dict[str, str]:
    """What the linter finds above INFO: its words by rule and what they are about."""
    (folder / "postgres-language-server.jsonc").write_text(json.dumps({
        "db": {"host": "127.0.0.1", "port": postgres.port, "username": "postgres", "password": "",
               "database": database},
        "splinter": {"enabled": True, "rules": {"recommended": True}}}), "utf-8")
    done = subprocess.run([LINTER, "dblint", "--config-path", folder, "--colors=off", "--max-diagnostics=none"],
                          capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert "Command completed" in said, said
    found = {}
    for rule, words in FINDING.findall(said):
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        if not lines[0].startswith("i "):
            found[f"{rule}: {lines[0]}"] = words
    return found


@pytest.mark.parametrize("name", PROJECTS)
def test_the_providers_linter_finds_nothing_above_info(postgres: Postgres, tmp_path: Path, name: str) -> None:
    if not LINTER.exists():
        pytest.skip("the linter is missing: make cloud")
    database = f"lint_{name.replace('.', '_')}"
    postgres.create(database)
    postgres.run(database, f'alter database {database} set "pgrst.db_schemas" = \'public, storage\';'
                 + ROLES + GENEROUS + PROJECTS[name])
    before = findings(postgres, database, tmp_path)
    postgres.run(database, sql())
    after = findings(postgres, database, tmp_path)
    assert not after.keys() - before.keys(), after
    for row in postgres.rows(database, "select remedy from ezrec.open_doors()"):
        postgres.run(database, row["remedy"])
    left = findings(postgres, database, tmp_path)
    assert [one for one in left if "cleanup_expired_links" not in one] == []  # the venue's own

    if name == "fresh":  # does it see anything?
        postgres.run(database, IDENTICAL + "grant select on videos to anon;"
                     "alter table videos disable row level security;")
        assert len(findings(postgres, database, tmp_path)) >= 2
