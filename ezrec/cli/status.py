"""`ezrec status`: what is going on now, and the outages of the last 30 days."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from ezrec.actions import state
from ezrec.actions.status import Outage, Status, read_status
from ezrec.adapters.system import clock_is_set
from ezrec.cli import words
from ezrec.cli.alerts import for_machines
from ezrec.cli.settings import CommandContext, data_folder, show_json, with_store, zone_of
from ezrec.config import Settings
from ezrec.domain.clock import SystemClock, utc_text
from ezrec.domain.naming import shown_id


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show what is going on now, and when the recorder did not run in the last 30 days.

    It works whether the recorder runs or not. An outage that somebody made by stopping the recorder says so.

    Example: `ezrec status`
    """
    command: CommandContext = context.obj
    settings = command.load()
    now = SystemClock().wall_us()
    recorder = state.read(data_folder(settings), now)
    found = with_store(settings, lambda store: read_status(store, recorder, now))
    if as_json:
        show_json(_for_machines(found, settings))
    else:
        words.sentences(words.console(), _rows(found, settings))


def hours_left(settings: Settings, free_mb: int) -> float:
    """How many hours of recording fit the disk at the set bit rates, footage and film."""
    bits = settings.cameras.bitrate * (2 if settings.cameras.dual else 1) + settings.film.maxrate
    return round((free_mb << 20) * 8 / bits / 3600, 1)


def _for_machines(found: Status, settings: Settings) -> dict[str, Any]:
    free = (found.recorder or {}).get("disk_free_mb")
    following = found.next_film
    return {
        "recorder": found.recorder, "clock_set": clock_is_set(),
        "hours_left": None if free is None else hours_left(settings, free),
        "films": {str(stage): count for stage, count in found.backlog.films.items()},
        "parked": found.backlog.parked, "to_tell": found.backlog.outbox,
        "next_booking": None if following is None else {
            "booking_id": following.booking_id, "start": utc_text(following.starts_at),
            "end": utc_text(following.ends_at)},
        "alerts": [for_machines(one) for one in found.alerts if one.over_at is None],
        "alerts_over": [for_machines(one) for one in found.alerts if one.over_at is not None],
        "outages": [{"from": _maybe(one.from_at), "to": _maybe(one.to_at), "stopped": one.stopped}
                    for one in found.outages],
        "missed": [{"booking_id": one.booking_id, "start": utc_text(one.starts_at), "end": utc_text(one.ends_at)}
                   for one in found.missed]}


def _maybe(us: int | None) -> str | None:
    return None if us is None else utc_text(us)


def _rows(found: Status, settings: Settings) -> list[tuple[str, str] | str]:
    zone, backlog = zone_of(settings), found.backlog
    rows: list[tuple[str, str] | str] = [*_recorder(found.recorder, settings)]
    if found.next_film:
        window = words.window(found.next_film.starts_at, found.next_film.ends_at, zone)
        rows.append(("next    ", f"booking {shown_id(found.next_film.booking_id)}, {window}"))
    films = ", ".join(f"{count} {stage}" for stage, count in backlog.films.items())
    waiting = f"{backlog.parked} parked, {words.many(backlog.outbox, 'message')} to tell"
    rows.append(("films   ", f"{films or 'nothing is under way'}; {waiting}"))
    rows.append(("clock   ", "synchronised" if clock_is_set() else "NOT synchronised"))
    rows += [("ALERT   ", f"{one.kind}, since {words.clock_time(one.since_at, zone)}: {one.text}")
             for one in found.alerts if one.over_at is None]
    rows += [("outage  ", _outage(one, zone)) for one in found.outages]
    rows += [("missed  ", f"booking {shown_id(one.booking_id)}, {words.window(one.starts_at, one.ends_at, zone)}")
             for one in found.missed]
    rows += [] if found.outages or found.missed else [("outages ", "none in the last 30 days")]
    return rows


def _recorder(row: dict[str, Any] | None, settings: Settings) -> list[tuple[str, str]]:
    if row is None:
        return [("recorder", "does not run on this data folder")]
    current = row.get("current_booking_id")
    doing = f"records booking {shown_id(current)}" if row.get("recording") and current else (
        "its cameras are on" if row.get("recording") else "waits")
    rows = [("recorder", f"runs (process {row['pid']}, for {words.length(row['uptime_s'])}); {doing}")]
    rows += [(f"{name:8}", f"{one['state']}; {one['dropped']} frames missing{_note(one)}")
             for name, one in row["cameras"].items()]
    if (free := row.get("disk_free_mb")) is not None:
        wear = row.get("written_mb_per_hour")
        writes = f"; an hour of recording writes {wear} MiB to it" if wear is not None else ""
        rows.append(("disk    ", f"{free} MiB free, {hours_left(settings, free):g} h of recording{writes}"))
    if row.get("temperature_c") is not None or row.get("throttled"):
        degrees = "" if row.get("temperature_c") is None else f"{row['temperature_c']:.0f} °C"
        rows.append(("machine ", "; ".join(filter(None, (degrees, row.get("throttled"))))))
    return rows


def _note(one: dict[str, Any]) -> str:
    return f" ({one['note']})" if one.get("note") else ""


def _outage(one: Outage, zone: ZoneInfo) -> str:
    begin = "an unknown time" if one.from_at is None else words.clock_time(one.from_at, zone)
    end = "now" if one.to_at is None else words.clock_time(one.to_at, zone)
    return f"{begin} to {end}: {'the recorder was stopped' if one.stopped else 'the recorder did not run'}"
