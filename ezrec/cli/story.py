"""A film's events and certificate in plain sentences."""

from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from ezrec.domain.booking import show_local
from ezrec.domain.film import Film
from ezrec.domain.stages import Stage
from ezrec.store.rows import Event

STAGES = {
    Stage.BOOKED: "The booking stands again.",
    Stage.RECORDING: "Recording began: the first piece of footage is on the disk.",
    Stage.RECORDED: "The window is over and all its footage is on the disk.",
    Stage.RENDERED: "The film is finished and valid.",
    Stage.UPLOADED: "The film is stored and verified.",
    Stage.PUBLISHED: "The film is published: its row is in.",
    Stage.CLEANED: "Nothing of it is left on this device but this story.",
    Stage.CANCELLED: "The booking was cancelled; what was recorded stays for a while, unpublished.",
    Stage.MISSED: "Nothing was recorded in the window: the booking was missed.",
}


def tell(film: Film, events: Sequence[Event], zone: ZoneInfo) -> Iterator[str]:
    """The film's story, a sentence an event, oldest first, then what the certificate says."""
    for event in events:
        yield f"{show_local(event.at, zone)}:{event.at // 1_000_000 % 60:02d}  {sentence(event, zone)}"
    if film.parked_reason:
        yield f"It is parked at {film.parked_step}: {film.parked_reason}. `ezrec films retry {film.booking_id}` goes on."
    yield from certificate_lines(film.certificate)


def sentence(event: Event, zone: ZoneInfo) -> str:
    """One event in plain words."""
    detail = event.detail
    match event.kind:
        case "booked" | "moved":
            window = f"{show_local(detail['starts_at'], zone)} to {show_local(detail['ends_at'], zone)}"
            return f"Booked: {window}." if event.kind == "booked" else f"The booking was changed: it now is {window}."
        case "stage":
            return STAGES.get(detail["to"], f"It became {detail['to']}.")
        case "withdrawn":
            return "The booking disappeared before its window opened."
        case "heard too late":
            return "The booking was first heard of after its window."
        case "recipe":
            return "The first piece of the film could be made; how it will look was fixed."
        case "generation":
            return f"The film was begun again (generation {detail['generation']}): {detail['reason']}."
        case "fallback":
            return f"Piece {detail['chunk']} could not be made as asked ({detail['error']}); it was tried as {detail['rung']}."
        case "change refused":
            what = "cancelled" if detail["cancelled"] else "changed"
            return f"The booking was {what} after its window; the film stays as it is."
        case "parked":
            return f"Given up for now at {detail['parked_step']}: {detail['parked_reason']}."
        case "retried":
            return "Somebody sent it on its way again."
        case other:
            return f"{other}: {detail}" if detail else f"{other}."


def certificate_lines(certificate: dict[str, Any] | None) -> Iterator[str]:
    """The certificate in short."""
    if not certificate:
        return
    intro = f" and {certificate['intro_seconds']:g} s of intro" if certificate["intro_seconds"] else ""
    width, height = certificate["picture"]
    yield f"It holds {certificate['film_seconds']:g} s of the match{intro}, {width}x{height}."
    for camera, share in certificate["cameras"].items():
        yield (f"Camera {camera}: {share['minutes']:g} min; frames dropped {share['drops']}, shown twice "
               f"{share['repeats']}, left out {share['skips']}, undecodable {share['corrupt']}.")
    for gap in certificate["gaps"]:
        who = "neither camera" if gap["camera"] == "both" else f"not camera {gap['camera']}"
        yield f"From {gap['from'][11:19]} to {gap['to'][11:19]} UTC ({gap['seconds']:g} s) {who} saw the court."
    if certificate["sync"]["within"] is not None:
        yield (f"The halves are together in {certificate['sync']['within']:.2%} of the ticks, "
               f"at worst {certificate['sync']['worst_ms']:g} ms apart.")
    for fallback in certificate["fallbacks"]:
        yield f"Piece {fallback['chunk']} was made as {fallback['rung']}."
    for words in certificate["skipped_media"]:
        yield f"Left out: {words}."
