"""Who may see what: at start the folders of older versions are closed to strangers, and the library is opened to the
group that the settings name.

Limits: knows modes and groups only; nothing here keeps the cameras from starting.
"""

import grp
import os
import stat
from pathlib import Path

from ezrec import files, logs
from ezrec.config import Settings
from ezrec.folders import DataFolder

log = logs.get("opening")


def close_to_strangers(settings: Settings) -> None:
    """Close the data folder, and what of it lies elsewhere, to strangers; open the library to its group. Blocks."""
    folder, library = DataFolder(settings.paths.data), settings.paths.library_folder.absolute()
    count = files.tighten(folder.root, all_files=True) if folder.root.is_dir() else 0
    for place in (library, settings.paths.log_folder.absolute()):
        if place.is_dir() and not place.is_relative_to(folder.root):  # what else lies in it need not be ours
            count += files.tighten_one(place)
    if count:
        log.warning("files and folders were open to others, closed now", count=count, data=str(folder.root),
                    hint="a web server that is to read finished films needs paths.library_group")
    if settings.paths.library_group:
        _share(library, folder, settings.paths.library_group)


def _share(library: Path, folder: DataFolder, group: str) -> None:
    """Let a group read the library; the group's name and who belongs to it are the machine's."""
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        log.error("library is not shared: there is no such group", group=group,  # noqa: TRY400 - foreseen
                  hint=f"make it (groupadd {group}), or correct paths.library_group")
        return
    try:
        files.make_folders(library, folder.root if library.is_relative_to(folder.root) else None)
        ways = [place for place in library.parents if place.is_relative_to(folder.root)]
        for way in ways:
            os.chown(way, -1, number)  # to be passed through; nothing else in it is the group's
        if library.stat().st_gid != number or not library.stat().st_mode & stat.S_ISGID:
            for path in [*sorted(library.rglob("*"), reverse=True), library]:  # itself last: it tells that all is done
                _give(path, number)
    except OSError as error:
        log.error("library is not shared with its group", group=group, error=str(error),  # noqa: TRY400 - foreseen
                  hint=f"the user that runs EZREC must belong to it: usermod -aG {group} <user>, and start again")


def _give(path: Path, group: int) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid():
        return
    os.chown(path, -1, group)
    if stat.S_ISDIR(status.st_mode):
        path.chmod(files.FOLDER_MODE | stat.S_ISGID)  # what is made in it is the group's too
