"""`python3 -m ezrec.device install | uninstall | watch`: the installer, without any dependency."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ezrec import __version__
from ezrec.device import trial
from ezrec.device.install import WATCH_S, Wishes, install
from ezrec.device.machine import Service
from ezrec.device.places import Places
from ezrec.device.uninstall import uninstall
from ezrec.domain.errors import EzrecError


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit status."""
    wanted = _parser().parse_args(words)
    os.umask(0o022)
    places = Places(Path(os.environ.get("DESTDIR") or "/").absolute())
    try:
        match wanted.command:
            case "install":
                return install(places, Wishes(wanted.wheel, wanted.wheels, not wanted.no_packages, wanted.now,
                                              wanted.watch, wanted.ready), _say)
            case "uninstall":
                return uninstall(places, _say, everything=wanted.everything)
            case _:
                trial.watch(places, Service(), _say)
                return 0
    except EzrecError as error:
        print(f"ezrec: {error}", file=sys.stderr)
    except OSError as error:
        print(f"ezrec: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ezrec", description=f"Installs EZREC {__version__} on a device, or takes it "
                                                               "away. $DESTDIR: into a folder, and nothing is started.")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("install", help="install, or upgrade what is installed",
                              description="Install EZREC on this device, or upgrade it. What is recorded is waited "
                                          "for; a release that does not get healthy is taken back by itself.")
    add.add_argument("--wheel", type=Path, help="the wheel (or checkout) to install, instead of this installer's own")
    add.add_argument("--wheels", type=Path, help="a folder with all wheels that are needed, instead of the network")
    add.add_argument("--no-packages", action="store_true", help="install no Debian packages")
    add.add_argument("--now", action="store_true", help="do not wait for a recording to end")
    add.add_argument("--watch", type=float, default=WATCH_S, metavar="SECONDS",
                     help="how long a new release is watched; %(default)g")
    add.add_argument("--ready", type=float, default=trial.READY_S, metavar="SECONDS",
                     help="how long it may take until it is ready; %(default)g")
    take = commands.add_parser("uninstall", help="remove the program; footage, films and settings stay",
                               description="Take EZREC away from this device. Footage, films, settings and secrets "
                                           "stay, unless --everything is given.")
    take.add_argument("--everything", action="store_true",
                      help="remove footage, films, settings, secrets and the user as well")
    commands.add_parser("watch", help="watch an upgrade that is on trial; what ezrec-trial.service does")
    return parser


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
