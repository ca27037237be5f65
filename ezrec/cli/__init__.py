"""The `ezrec` command. One file a command; heavy imports wait until a command needs them.

Exit status: 0 it worked, 1 it did not (the reason is on stderr), 2 the command line or the settings are wrong, 3 a
camera hangs (`run` only).
"""

import codecs
import contextlib
import io
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from ezrec import __version__, files, logs
from ezrec.cli import (
    alerts,
    bookings,
    calibrate,
    check,
    cleanup,
    cloud,
    demo,
    device,
    films,
    footage,
    installing,
    migrate,
    run,
    setup,
    status,
    tables,
)
from ezrec.cli.framework import Command, Program
from ezrec.cli.settings import CommandContext
from ezrec.cli.words import say
from ezrec.domain.errors import EzrecError, RowUnreadable, SettingsError
from ezrec.domain.showing import visible
from ezrec.files import verdict

app = typer.Typer(
    name="ezrec", cls=Program, no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False,
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
                                           help="Print the version and exit.")] = False,
) -> None:
    """Options that every command takes, before its name or behind it."""
    files.keep_private()
    context.obj = CommandContext(config, data)


app.command("run", cls=Command)(run.run)
app.command("demo", cls=Command)(demo.demo)
app.command("check", cls=Command)(check.check)
app.command("calibrate", cls=Command)(calibrate.calibrate)
app.add_typer(bookings.app, name="bookings")
app.add_typer(films.app, name="films")
app.command("footage", cls=Command)(footage.footage)
app.command("cleanup", cls=Command)(cleanup.cleanup)
app.command("tables", cls=Command)(tables.tables)
app.command("fleet", cls=Command)(cloud.fleet)
app.add_typer(device.app, name="device")
app.command("setup", cls=Command)(setup.setup)
app.command("migrate", cls=Command)(migrate.migrate)
for name, work in (("install", installing.install), ("uninstall", installing.uninstall)):
    app.command(name, cls=Command, add_help_option=False, context_settings=installing.PASSED_ON)(work)
app.command("status", cls=Command)(status.status)
app.add_typer(alerts.app, name="alerts")


SPELT = "ezrec-spelt"  # how what an encoding lacks is spelt
SPELLINGS = {"–": "-", "…": "...", "→": "->", "°": " deg", "µ": "u", "×": "x"}


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start:error.end]
    return "".join(SPELLINGS.get(sign) or sign.encode("ascii", "backslashreplace").decode("ascii")
                   for sign in lacking), error.end


codecs.register_error(SPELT, _spell)


def main() -> None:
    """Run the command; whatever keeps it from its work is a sentence on stderr, never a traceback."""
    _open_streams()
    status = _status()
    sys.exit(_flushed(quiet=status != 0) or status)


def _status() -> int:
    """The exit status of the command that the command line asks for."""
    try:
        app()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the border: what nobody foresaw is a sentence, too
        return _failed(error)
    return 0


def _failed(error: Exception) -> int:
    """Say why a command does not work; its exit status."""
    status = 1
    match error:
        case BrokenPipeError():  # whoever read the output has enough
            return status
        case SettingsError():
            status, why = 2, f"the settings are not usable:\n{error}"
        case RowUnreadable():
            why = visible(f"{error}; `ezrec run` puts such a store aside and saves what can be read of it")
        case EzrecError():
            why = visible(str(error))
        case FileNotFoundError(filename=None):  # os.getcwd
            why = "the folder that this command was started in is gone: change to another one"
        case OSError():
            why = visible(str(verdict(error, "go on" if error.filename else "write the output")))
        case _:
            why = visible(_unforeseen(error))
    _complain(why)
    return status


def _complain(why: str) -> None:
    with contextlib.suppress(OSError):  # stderr is gone, or its disk is full: the exit status says it
        say(f"ezrec: {logs.masked(why)}", error=True)
        sys.stderr.flush()


def _unforeseen(error: Exception) -> str:
    """What an error that is a mistake of ours says: enough to find its place."""
    package = Path(__file__).parents[1]
    places = [frame for frame in traceback.extract_tb(error.__traceback__)
              if Path(frame.filename).is_relative_to(package)]
    where = f", at line {places[-1].lineno} of {Path(places[-1].filename).name}" if places else ""
    return f"this is a mistake in EZREC {__version__}; please report it: {type(error).__name__}: {error}{where}"


def _open_streams() -> None:
    """Bring stdin, stdout and stderr into a state in which they can be used, whoever started the process.

    One that is closed would hand its number to the next file that is opened, say the database's, and whatever a library
    then prints would be written into that.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, and may be inherited
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors=SPELT)  # what the terminal's encoding lacks


def _flushed(*, quiet: bool) -> int:
    """Write what is still to be written to stdout; the exit status, if that does not work. `quiet`: nothing is said."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # nothing is tried again when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not quiet and not isinstance(error, BrokenPipeError):
            _complain(f"the output could not be written: {error.strerror}")
        return 1
    return 0
