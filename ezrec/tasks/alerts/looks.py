"""Looks: what needs a person now, made out of what the recorder knows of itself. Nothing here is remembered."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ezrec.adapters.power import HELD_BACK_NOW, UNDER_VOLTAGE_NOW
from ezrec.config import Settings
from ezrec.domain.alerts import AlertKind, Finding, urgency
from ezrec.domain.clock import EARLIEST_US, SECOND, utc_text
from ezrec.domain.film import Film
from ezrec.domain.naming import shown_id
from ezrec.domain.stages import Stage
from ezrec.tasks.recording.room import room_for

DONE = frozenset({Stage.PUBLISHED, Stage.CLEANED, Stage.CANCELLED, Stage.MISSED})

OF_MACHINE = frozenset({AlertKind.DISK, AlertKind.HEAT, AlertKind.VOLTAGE, AlertKind.BOOKING, AlertKind.RECORDING})
"""What is found by reading the machine."""


@dataclass(frozen=True)
class Situation:
    """What was looked at. None is what is not known: nobody is alarmed by that."""

    at: int  # UTC µs
    cameras: Mapping[str, str] = field(default_factory=dict)  # each that does not work, and how that shows
    open_booking: str | None = None  # whose window is open
    recording: bool = False  # whether any camera delivers
    disk_free_mb: int | None = None
    temperature_c: float | None = None
    throttled: str = ""
    clock_set: bool = True
    films: Sequence[Film] = ()  # with work left, and those booked for the next day
    failed_checks: Sequence[str] = ()
    two_boxes: str = ""  # what shows that another box records this court

    @property
    def unknown(self) -> frozenset[AlertKind]:
        """The kinds of which nobody can say now whether they are over: the machine was not read, or not in time."""
        return OF_MACHINE if self.disk_free_mb is None else frozenset()


def findings(seen: Situation, settings: Settings) -> list[Finding]:
    """Everything that is wrong now."""
    machine = [*_cameras(seen), *_machine(seen, settings)]
    return [*_booked(seen, settings, machine), *_recording(seen, settings), *machine, *_films(seen, settings)]


def _cameras(seen: Situation) -> Iterator[Finding]:
    for name, words in seen.cameras.items():
        yield Finding(AlertKind.CAMERA, name, f"camera {name}: {words}")


def _machine(seen: Situation, settings: Settings) -> Iterator[Finding]:
    free, least = seen.disk_free_mb, settings.disk.min_free_mb
    if free is not None and free < least:
        yield Finding(AlertKind.DISK, "", f"the disk has {free} MiB free, {least} are wanted (disk.min_free_mb)")
    if not seen.clock_set or seen.at < EARLIEST_US:
        yield Finding(AlertKind.CLOCK, "", f"the clock is not synchronised; it says {utc_text(seen.at)}")
    hot = seen.temperature_c is not None and seen.temperature_c >= settings.alerts.hot_c
    if hot or any(bit in seen.throttled for bit in HELD_BACK_NOW):
        degrees = "" if seen.temperature_c is None else f" at {seen.temperature_c:.0f} °C"
        slowed = f": {seen.throttled}" if seen.throttled else ""
        yield Finding(AlertKind.HEAT, "", f"the processor is too hot{degrees}{slowed}")
    if UNDER_VOLTAGE_NOW in seen.throttled:
        yield Finding(AlertKind.VOLTAGE, "", f"the supply's voltage is too low: {seen.throttled}")
    if seen.failed_checks:
        yield Finding(AlertKind.CHECK, "", "; ".join(seen.failed_checks))
    if seen.two_boxes:
        yield Finding(AlertKind.TWO_BOXES, "", seen.two_boxes)


def _recording(seen: Situation, settings: Settings) -> Iterator[Finding]:
    if seen.open_booking and not seen.recording:
        yield Finding(AlertKind.RECORDING, "", f"booking {shown_id(seen.open_booking)} is not being recorded: "
                                               "no camera delivers")
        return
    for film in seen.films:
        if film.stage is Stage.BOOKED and film.starts_at <= seen.at < film.ends_at and _no_room(film, seen, settings):
            yield Finding(AlertKind.RECORDING, "", f"booking {shown_id(film.booking_id)} is not being recorded: "
                                                   f"the disk has {seen.disk_free_mb} MiB free")
            return


def _booked(seen: Situation, settings: Settings, machine: Sequence[Finding]) -> Iterator[Finding]:
    """The bookings ahead that could not be recorded now."""
    hinder = [one.text for one in machine if one.kind is AlertKind.CLOCK]
    if len(seen.cameras) and not seen.recording:
        hinder += [one.text for one in machine if one.kind is AlertKind.CAMERA]
    for film in seen.films:
        grade = urgency(film.starts_at - seen.at)
        if film.stage is not Stage.BOOKED or film.starts_at <= seen.at or not grade:
            continue
        why = [*hinder, *([f"the disk has {seen.disk_free_mb} MiB free"] if _no_room(film, seen, settings) else [])]
        if why:
            yield Finding(AlertKind.BOOKING, film.booking_id, f"booking {shown_id(film.booking_id)}, which begins "
                          f"at {utc_text(film.starts_at)}, could not be recorded now: {'; '.join(why)}", grade)


def _films(seen: Situation, settings: Settings) -> Iterator[Finding]:
    for film in seen.films:
        if film.stage in DONE or film.stage is Stage.BOOKED:
            continue
        if film.parked_reason:
            yield Finding(AlertKind.PARKED, film.booking_id,
                          f"the film of booking {shown_id(film.booking_id)} is parked: {film.parked_reason}")
        elif seen.at - film.ends_at > settings.alerts.late_h * 3600 * SECOND:
            yield Finding(AlertKind.LATE, film.booking_id, f"the film of booking {shown_id(film.booking_id)}, which "
                          f"ended at {utc_text(film.ends_at)}, is still {film.stage}")


def _no_room(film: Film, seen: Situation, settings: Settings) -> bool:
    wanted = room_for(film.ends_at - film.starts_at, settings.disk.min_free_mb << 20)
    return seen.disk_free_mb is not None and seen.disk_free_mb << 20 < wanted
