"""`ezrec cleanup`: delete what nobody needs, or say what that would be, and why."""

from typing import Annotated

import typer

from ezrec.actions import cleanup as actions
from ezrec.cli import words
from ezrec.cli.settings import CommandContext, data_folder, show_json, with_store
from ezrec.cli.words import say


def cleanup(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing, only say what would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Delete what nobody needs any more, and say what and why.

    The recorder does this by itself every night at 03:00, and more of it whenever the disk runs
    short. Nothing goes that a film still needs. While the recorder runs it is asked to do it, and
    does as soon as no match is recorded and none begins soon.

    Example: `ezrec cleanup --dry-run`
    """
    command: CommandContext = context.obj
    settings = command.load()
    folder = data_folder(settings, written=True)
    found = with_store(settings, lambda store: actions.clean_up(store, folder, settings, dry_run=dry_run))
    if as_json:
        show_json({"done": found.done, "asked": found.asked, "bytes": found.bytes, "items": [
            {"what": one.what, "which": one.which, "why": one.why, "bytes": one.bytes} for one in found.going]})
        return
    if found.going:
        table = words.Listing("what", "which", "size", "why")
        for one in found.going:
            table.add(one.what, one.which, f"{one.bytes / 1e6:.1f} MB", one.why)
        table.print(words.console())
    size = f"{words.many(len(found.going), 'thing')}, {found.bytes / 1e6:.1f} MB"
    if dry_run:
        say(f"{size} would go" if found.going else "nothing would go")
    elif found.asked:
        say(f"{size}: the recorder is asked to do it, and does as soon as nothing is recorded")
    else:
        say(f"{size} are gone" if found.going else "nothing had to go")
