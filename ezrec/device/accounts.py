"""The recorder's user, its groups, and the folders that are its own."""

import grp
import os
import pwd
import shutil
from pathlib import Path

from ezrec.device.machine import run
from ezrec.device.places import GROUPS, USER, Places

FOLDER_MODE, SECRETS_MODE, SETTINGS_MODE = 0o750, 0o700, 0o640


def make_user(places: Places) -> None:
    """Make the system user `ezrec`, and put it into those of its groups that this machine has. Safe to run again.

    Raises:
        EzrecError: useradd or usermod failed.
    """
    if not places.real:
        return
    try:
        pwd.getpwnam(USER)
    except KeyError:
        run("useradd", "--system", "--user-group", "--home-dir", "/var/lib/ezrec", "--no-create-home",
            "--shell", "/usr/sbin/nologin", USER)
    there = [group.gr_name for group in grp.getgrall()]
    if groups := [name for name in GROUPS if name in there]:
        run("usermod", "--append", "--groups", ",".join(groups), USER)


def make_folders(places: Places, *own: Path) -> None:
    """Make the folders that are missing, with their modes; those in `own` are the recorder's. Raises OSError."""
    for path, mode in ((places.releases, 0o755), (places.settings.parent, 0o755), (places.secrets, SECRETS_MODE),
                       (places.units, 0o755), (places.command.parent, 0o755)):
        _folder(path, mode)
    for path in own:
        if _folder(path, FOLDER_MODE):
            give(places, path)


def give(places: Places, path: Path, user: str = USER, group: str = USER) -> None:
    """Give a file or folder to the recorder's user. Raises OSError."""
    if places.real:
        shutil.chown(path, user, group)


def _folder(path: Path, mode: int) -> bool:
    """Make a folder; whether it was missing. One that is there keeps its mode: somebody chose it."""
    if path.is_dir():
        return False
    path.mkdir(parents=True)
    path.chmod(mode)
    return True


def remove_user() -> None:
    """Take the user away. Raises EzrecError."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return
    run("userdel", USER)


def is_root() -> bool:
    """Whether this process may do all that."""
    return os.geteuid() == 0
