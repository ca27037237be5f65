"""`ezrec migrate`: takes over from EZREC's predecessor, after it has shown what it will do."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from ezrec import logs
from ezrec.actions import migrate as actions
from ezrec.actions.migrate import Fate, Takeover
from ezrec.adapters.publishing.past import Past
from ezrec.cli import words
from ezrec.cli.settings import CommandContext, opened, show_json, zone_of
from ezrec.cli.words import say
from ezrec.config.loading import toml_file
from ezrec.config.places import SYSTEM_FILE
from ezrec.config.takeover import with_old_key
from ezrec.device import folders_of
from ezrec.device.places import Places
from ezrec.domain.booking import show_local
from ezrec.domain.clock import SystemClock, utc_text
from ezrec.domain.errors import EzrecError, ParkError, RetryError
from ezrec.domain.showing import visible
from ezrec.folders import DataFolder

USUAL = Path("/opt/ezrec-backend")


@dataclass
class _Report:
    """What was done, and what was not."""

    quiet: bool
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def tell(self, text: str, *, well: bool = True) -> None:
        (self.done if well else self.failed).append(text)
        if not self.quiet:
            say(f"  {'done' if well else 'NOT DONE'}: {text}")


def migrate(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The predecessor's folder.")] = USUAL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines; with --yes or --dry-run.")] = False,
) -> None:
    """Take over from EZREC's predecessor: settings and secrets, bookings, logos and intro, unfinished recordings.

    It shows what it will do and asks. Then the predecessor's services are stopped and its lines taken out of crontabs;
    the tunnel stays. Recordings that it has not published become films of this recorder, each once. Nothing in its
    folder is changed or deleted. It may be run again, also after it was cut off: what is there already stays.

    Examples: `ezrec migrate /opt/ezrec-backend --dry-run`, `ezrec migrate /opt/ezrec-backend`
    """
    command: CommandContext = context.obj
    if as_json and not (yes or dry_run):
        raise typer.BadParameter("with --json say --yes or --dry-run: nobody can be asked", param_hint="--json")
    path = (toml_file(command.config, os.environ) or Path("config.toml")).absolute()
    overrides: dict[str, dict[str, object]] = {"paths": {"data": command.data}} if command.data else {}
    logs.set_up("error", None, stream=sys.stderr)
    plan = actions.look(folder, path, overrides)
    logs.register_secrets(plan.wanted)
    logs.register_secrets(plan.settings)
    plan, unknown = asyncio.run(_planned(plan))
    if not as_json:
        _show(plan, unknown)
    if dry_run:
        if as_json:
            show_json(_for_machines(plan, unknown))
        return
    if busy := actions.recording_now(plan, SystemClock().wall_us()):
        raise EzrecError(f"{busy}; run this again when it is over")
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here: --yes does it, --dry-run shows what it would be",
                                     param_hint="--yes")
        typer.confirm("Do this now?", abort=True)
    report = _Report(as_json)
    asyncio.run(_carry_out(plan, report))
    if as_json:
        show_json(_for_machines(plan, unknown) | {"done": report.done, "failed": report.failed})
    elif path == SYSTEM_FILE:
        say("now `systemctl daemon-reload` and `systemctl restart ezrec` (not while a match is recorded), then "
            "`ezrec check`")
    raise typer.Exit(1 if report.failed else 0)


async def _planned(plan: Takeover) -> tuple[Takeover, str]:
    """The plan with bookings and recordings, and why the project could not be asked, if it could not."""
    past, unknown = await _past(plan)
    store_file = DataFolder(plan.settings.paths.data).store
    now = SystemClock().wall_us()
    if not await asyncio.to_thread(store_file.is_file):
        return await actions.read(plan, None, past, now), unknown
    async with opened(plan.settings) as store:
        return await actions.read(plan, store, past, now), unknown


async def _past(plan: Takeover) -> tuple[Past, str]:
    """What the project knows of films and bookings; empty, and why, if it cannot be asked."""
    if plan.settings.publishing.kind != "supabase":
        return Past(), ""
    from ezrec.adapters.publishing.past import read_past  # noqa: PLC0415 - the cloud's libraries are large
    from ezrec.adapters.supabase import Supabase  # noqa: PLC0415

    project = Supabase(with_old_key(plan.settings.supabase, plan.wanted.names))
    try:
        return await read_past(project, plan.settings.site.user_id), ""
    except (RetryError, ParkError) as error:
        return Past(), str(error)
    finally:
        await project.close()


async def _carry_out(plan: Takeover, report: _Report) -> None:
    """Do it, part after part; what does not work in one keeps no later one from it.

    Raises:
        EzrecError: the predecessor's services do not stop: it might publish what is taken over.
    """
    for text in actions.stop_services(plan):
        report.tell(text)
    for part in (actions.take_media, actions.take_settings, _drop_in):
        _tried(part, plan, report)
    async with opened(plan.settings, create=True) as store:
        actions.own_store(plan.settings)
        past, unknown = await _past(plan)  # once more: now nobody publishes any more
        plan = await actions.read(plan, store, past, SystemClock().wall_us())
        for text in await actions.take_bookings(plan, store):
            report.tell(text)
        if unknown:
            report.tell(f"recordings: it is not known which of them are published ({unknown}); run this again when "
                        "the project answers", well=False)
            return

        def tell(fate: Fate, text: str, well: bool) -> None:
            report.tell(f"{fate.recording.name}: {text}", well=well)

        await actions.take_recordings(plan, store, tell)


def _tried(part: Callable[[Takeover], list[str]], plan: Takeover, report: _Report) -> None:
    try:
        for text in part(plan):
            report.tell(text)
    except EzrecError as error:
        report.tell(str(error), well=False)


def _drop_in(plan: Takeover) -> list[str]:
    """On a device the unit is told of the settings' folders, as `ezrec setup` does."""
    if plan.path == SYSTEM_FILE and plan.wanted.plain:
        folders_of.write_drop_in(Places())
    return []


# ---- showing it


def _show(plan: Takeover, unknown: str) -> None:
    out = words.console()
    words.sentences(out, list(_rows(plan, unknown)))
    if plan.fates:
        table = words.Listing("recording", f"began ({plan.settings.site.timezone})", "size", "what becomes of it")
        zone = zone_of(plan.settings)
        for one in plan.fates:
            size = f"{one.taken.bytes / 1e6:.1f} MB" if one.taken else "-"
            table.add(one.recording.name, show_local(one.recording.starts_at, zone), size, _words(one, unknown))
        table.print(out)


def _words(fate: Fate, unknown: str) -> str:
    if fate.taken is None:
        return f"left: {fate.why}"
    return f"{'left until the project answers' if unknown else 'taken'}: {fate.why}"


def _rows(plan: Takeover, unknown: str) -> Iterator[tuple[str, str]]:
    yield "folder", f"{plan.old}; nothing in it is changed or deleted"
    yield "services", (f"stop and disable {', '.join(one.name for one in plan.units)}" if plan.units
                       else "none of the predecessor's runs here")
    if plan.tunnel:
        yield "tunnel", "cloudflared.service stays as it is"
    for crontab in plan.crontabs:
        yield "crontab", f"of {crontab.owner}, take out: {visible(' / '.join(crontab.ours))}"
    for key, value in plan.wanted.plain.items():
        yield "setting", f"{key} = {visible(str(value.unwrap() if hasattr(value, 'unwrap') else value))}"
    for key in plan.wanted.secrets:
        yield "secret", f"{key} = ********"
    for key, name in plan.wanted.kept.items():
        yield "kept", f"{key} stays as {plan.path} has it; {name} says something else"
    if plan.wanted.unused:
        yield "not used", f"nothing here corresponds to {visible(', '.join(plan.wanted.unused))}"
    for source, place in plan.media.values():
        yield "copy", f"{source} to {place}"
    yield "bookings", f"{len(plan.bookings)} that are not over and not known yet"
    if unknown:
        yield "project", f"does not answer, so nobody knows what is published: {unknown}"


def _for_machines(plan: Takeover, unknown: str) -> dict[str, Any]:
    return {
        "folder": str(plan.old), "units": [one.name for one in plan.units], "tunnel_kept": plan.tunnel,
        "crontabs": {one.owner: list(one.ours) for one in plan.crontabs},
        "settings": {key: value.unwrap() if hasattr(value, "unwrap") else value
                     for key, value in plan.wanted.plain.items()},
        "secrets": sorted(plan.wanted.secrets), "kept": sorted(plan.wanted.kept), "not_used": list(plan.wanted.unused),
        "media": {str(source): str(place) for source, place in plan.media.values()},
        "bookings": [one.id for one in plan.bookings], "project_unknown": unknown or None,
        "recordings": [{"name": one.recording.name, "began_at": utc_text(one.recording.starts_at),
                        "booking": one.taken.booking_id if one.taken else None, "taken": one.taken is not None,
                        "way": one.taken.way if one.taken else None, "why": one.why, "failed": one.failed}
                       for one in plan.fates],
    }
