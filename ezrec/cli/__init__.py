"""The `ezrec` command. One file a command; heavy imports wait until a command needs them.

Exit status: 0 it worked, 1 it did not (the reason is on stderr), 2 the command line or the settings are wrong, 3 a
camera hangs (`run` only).
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ezrec import __version__, files
from ezrec.cli import bookings, check, demo, films, footage, run, tables
from ezrec.cli.settings import CommandContext
from ezrec.domain.errors import EzrecError, SettingsError

app = typer.Typer(
    name="ezrec", no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False,
    help="Records a court's booked hours from two cameras and puts one wide film of each online.",
    epilog="First steps: `ezrec demo` shows the whole job in half a minute. `ezrec run` is the recorder itself; "
           "`ezrec bookings add --in 1m --for 10m` gives it something to do, `ezrec films list` shows what became of "
           "it.")


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"ezrec {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(
        "--config", "-c",
        help="Settings file (TOML). Default: $EZREC_CONFIG, ./config.toml, /etc/ezrec/config.toml.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder, instead of `paths.data`.")] = None,
    _version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True,
                                           help="Say the version and leave.")] = False,
) -> None:
    """Options that every command takes, before its name."""
    files.keep_private()
    context.obj = CommandContext(config, data)


app.command("run")(run.run)
app.command("demo")(demo.demo)
app.command("check")(check.check)
app.add_typer(bookings.app, name="bookings")
app.add_typer(films.app, name="films")
app.command("footage")(footage.footage)
app.command("tables")(tables.tables)


def main() -> None:
    """Run the command; errors of ours are a sentence on stderr, never a traceback."""
    try:
        app()
    except SettingsError as error:
        print(f"ezrec: the settings are not usable:\n{error}", file=sys.stderr)
        sys.exit(2)
    except EzrecError as error:
        print(f"ezrec: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
