"""Which lines of crontabs are the predecessor's, and which only speak of its folder."""

from pathlib import Path

import pytest

from ezrec.device import predecessor
from tests.fakes.predecessor import machine

OLD = Path("/opt/ezrec-backend")


@pytest.mark.parametrize(("line", "its"), [
    ("0 2 * * * /usr/bin/python3 /opt/ezrec-backend/backend/cleanup_old_data.py", True),
    ("0 2 * * * /opt/ezrec-backend/backend/venv/bin/python3 /opt/ezrec-backend/backend/cleanup_old_data.py --dry-run",
     True),
    ("*/30 * * * * cd /opt/ezrec-backend && python3 backend/cleanup_old_data.py >> /var/log/x 2>&1", True),
    ("@reboot /opt/ezrec-backend/api/venv/bin/python -m monitor", True),
    ("@reboot /opt/ezrec-backend/start.sh", True),
    ("# 0 2 * * * /usr/bin/python3 /opt/ezrec-backend/backend/cleanup_old_data.py", False),
    ("0 4 * * * rsync -a /opt/ezrec-backend/logs nas:logs", False),
    ("0 4 * * * tar czf /backup/x.tgz /opt/ezrec-backend", False),
    ("0 4 * * * /opt/ezrec-backend/current/venv/bin/python -m ezrec check", False),
    ("0 4 * * * /opt/ezrec-backend/releases/1.0/venv/bin/python -m ezrec check", False),
    ("0 4 * * * /home/pi/opt/ezrec-backend/backend/cleanup_old_data.py", False),
    ("0 4 * * * /opt/ezrec-backend-2/backend/cleanup_old_data.py", False),
    ("MAILTO=owner@example.org", False), ("", False)])
def test_only_lines_that_run_the_predecessors_programs_are_its_own(
        line: str, its: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in machine(tmp_path / "machine").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "machine" / "crontab").write_text(f"{line}\n")
    assert [one.ours for one in predecessor.crontabs(OLD)] == ([(line,)] if its else [])


def test_where_there_is_neither_systemd_nor_cron_there_is_nothing_to_stop(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert predecessor.units() == []
    assert predecessor.crontabs(OLD) == []
