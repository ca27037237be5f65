"""Taking EZREC away again. Footage, films, settings and secrets stay unless the person says otherwise."""

import shutil
from collections.abc import Callable
from contextlib import suppress

from ezrec.device import accounts, folders_of
from ezrec.device.machine import Service
from ezrec.device.places import TRIAL_UNIT, UNIT, Places
from ezrec.domain.errors import EzrecError


def uninstall(places: Places, say: Callable[[str], None], *, everything: bool = False) -> int:
    """Stop and remove the program; with `everything` also its data, settings, secrets and user.

    Raises:
        EzrecError: not root, or a command failed.
        OSError: something cannot be removed.
    """
    if places.real and not accounts.is_root():
        raise EzrecError("only root can uninstall: sudo make uninstall")
    folders = folders_of.read(places)
    service = Service()
    if places.real and service.there():
        for stop in (service.stop, service.disable):
            with suppress(EzrecError):  # there may be no unit any more
                stop()
    for path in (places.units / UNIT, places.units / TRIAL_UNIT, places.command):
        path.unlink(missing_ok=True)
    places.drop_in.unlink(missing_ok=True)
    with suppress(OSError):  # what the owner put beside it stays
        places.drop_in.parent.rmdir()
    for path in (places.releases, places.trial):
        shutil.rmtree(path, ignore_errors=True)
    for path in (places.current, places.outcome):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # the predecessor's files may lie there
        places.base.rmdir()
    if places.real and service.there():
        service.reload()
    kept = list(dict.fromkeys((places.data, places.logs, *(places.at(path) for path in folders.all),
                               places.settings.parent, *places.secrets.glob("ezrec.*"))))
    if not everything:
        there = [str(path) for path in kept if path.exists()]
        say(f"removed; left as they are: {', '.join(there) or 'nothing'}"
            f"{'' if not there else ' (ezrec uninstall --everything removes them, too)'}")
        return 0
    for path in kept:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if places.real:
        accounts.remove_user()
    say("removed, with all footage, films, settings and secrets")
    return 0
