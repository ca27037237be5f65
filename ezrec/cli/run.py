"""`ezrec run`: the recorder."""

import asyncio
import os
import sys

import typer

from ezrec import logs
from ezrec.cli.settings import CommandContext, data_folder
from ezrec.config import exposed
from ezrec.domain.errors import EzrecError

log = logs.get("supervisor")


def run(context: typer.Context) -> None:
    """Record every booked hour, until stopped.

    This is what the systemd unit starts. Logs go to stdout (JSON lines, or for people on a terminal) and into the log
    folder. The first SIGTERM or Ctrl-C stops in order and keeps everything resumable, the second leaves at once. The
    process may be killed at any moment: started again, it goes on where it was. It leaves by itself, with exit status
    3, when a camera hangs that only a new process can free.
    """
    from ezrec.supervisor import Supervisor  # noqa: PLC0415 - a second to import, wanted by no other command

    command: CommandContext = context.obj
    settings = command.load()
    data = data_folder(settings, written=True).root
    logs.register_secrets(settings)
    logs.set_up(settings.logs.level, settings.paths.logs or data / "logs", file_bytes=settings.logs.file_mb << 20,
                files=settings.logs.files, within=data if settings.paths.wait_for_data else None)

    for words in exposed(command.config):
        log.warning("secrets can be read by others", problem=words)

    async def serve() -> None:
        status = await Supervisor(settings).run()
        logs.shut_down()
        sys.stdout.flush()
        os._exit(status)  # a thread that hangs in a name lookup must not keep systemd from starting us again

    try:
        asyncio.run(serve())
    except (EzrecError, OSError):
        raise
    except Exception:
        log.exception("ended by a mistake in EZREC")  # for whoever looks for it: the command says it in a sentence
        logs.shut_down()
        raise
