"""Versions of EZREC that an upgrade may bring: a good one, and one for each way in which it may be bad."""

import shutil
from pathlib import Path

from ezrec.device.wheel import wheel_into
from tests.device.guest import PROJECT

SERVE = 'system.notify("READY=1")'
VERSION_UP = "VERSION += 1\n\nOLDEST = "
NEW_TABLE = "CREATE TABLE odd (one INTEGER CHECK (one > 0)) STRICT;"

Edit = tuple[str, str, str]  # file, what is replaced, by what

BAD: dict[str, list[Edit]] = {
    "no start": [("supervisor.py", "\nlog = ", '\nraise RuntimeError("this version does not start")\n\nlog = ')],
    "crash after a while": [("supervisor.py", SERVE,
                             f"{SERVE}\n        asyncio.get_running_loop().call_later(3, os._exit, 1)")],
    "failed migration": [("store/schema.sql", "CREATE TABLE ", f"{NEW_TABLE}\nCREATE TABLE "), (
        "store/database.py", "\nOLDEST = ",
        f'\nMIGRATIONS[VERSION] = "{NEW_TABLE} INSERT INTO odd VALUES (0);"\n{VERSION_UP}')],
    "migration that SQLite does not understand": [
        ("store/database.py", "\nOLDEST = ", f'\nMIGRATIONS[VERSION] = "ALTER TABLE nowhere ADD one";\n{VERSION_UP}')],
    "never ready": [("supervisor.py", SERVE, "pass")],
}


def wheel_of(folder: Path, version: str, bad: str = "") -> Path:
    """A wheel of this checkout with another version, and with a fault."""
    copy = folder / f"checkout-{version}"
    shutil.copytree(PROJECT / "ezrec", copy / "ezrec", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "requirements").mkdir()
    for name in ("pyproject.toml", "requirements/lock.txt"):
        shutil.copyfile(PROJECT / name, copy / name)
    _replace(copy / "ezrec/__init__.py", "__version__ = ", f'__version__ = "{version}"  # ')
    for name, old, new in BAD[bad] if bad else ():
        _replace(copy / "ezrec" / name, old, new)
    target = folder / version
    target.mkdir()
    return wheel_into(target, copy)


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text, f"{old!r} is not in {path} any more"
    path.write_text(text.replace(old, new, 1), "utf-8")
