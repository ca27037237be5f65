"""`ezrec install` and `ezrec uninstall`: the installer (`ezrec.device`), where EZREC is installed already."""

import typer

from ezrec.device.__main__ import main

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}  # its own command line knows them


def install(context: typer.Context) -> None:
    """Install EZREC on this device, or upgrade it: user, folders, unit, a release of its own below /opt/ezrec-backend.

    As root. An upgrade waits for a recording to end, also for one that begins within minutes, and goes back by itself
    if it does not get healthy.
    `ezrec install --help` lists the options.
    """
    raise typer.Exit(main(["install", *context.args]))


def uninstall(context: typer.Context) -> None:
    """Take EZREC away from this device. Footage, films, settings and secrets stay, unless `--everything` is given."""
    raise typer.Exit(main(["uninstall", *context.args]))
