"""A film's events and certificate in plain sentences."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from ezrec.cli.words import clock_time, length, many, window
from ezrec.domain.film import Film, Rung
from ezrec.domain.stages import Stage
from ezrec.store.rows import Event, Message

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
AFTER_CANCEL = {
    Stage.RECORDING: "The booking stands again: recording goes on.",
    Stage.RECORDED: "What was recorded of the cancelled booking is made into a film.",
    Stage.CLEANED: "What was recorded of the cancelled booking was deleted.",
}
RUNGS = {
    Rung.FULL: "as asked",
    Rung.PLAIN: "side by side, without cross-fade and logos",
    Rung.LEFT: "from the left camera only",
    Rung.RIGHT: "from the right camera only",
}
SENTENCES = {  # by the event's kind, filled in from its detail
    "booked": "Booked: {window}.",
    "moved": "The booking was changed: it now is {window}.",
    "withdrawn": "The booking disappeared before its window opened.",
    "heard too late": "The booking was first heard of after its window.",
    "recipe": "The first piece of the film could be made; how it will look was fixed.",
    "generation": "The film was begun again (generation {generation}): {reason}.",
    "fallback": "Piece {chunk} could not be made as asked ({error}); it was tried {rung}.",
    "change refused": "The booking was changed to {window} after its window: the film stays as it is.",
    "cancel refused": "The booking is cancelled, but this far along that changes nothing: its film goes on.",
    "parked": "Given up for now while {doing}: {parked_reason}.",
    "pre-flight begun": "The cameras are looked at before the match.",
    "told": "The booking's owner was told: {status}.",
    "refused": "{doing} was refused for good: {reason}.",
    "retried": "Somebody sent it on its way again.",
}
STEPS = {"film": "making the film", "upload": "storing the film", "publish": "publishing the film",
         "cleanup": "cleaning up"}


def tell(film: Film | None, events: Sequence[Event], messages: Sequence[Message],
         zone: ZoneInfo) -> Iterator[tuple[str, str] | str]:
    """The film's story, oldest first, each sentence behind its time; then how it stands and what it holds."""
    for event in events:
        yield clock_time(event.at, zone), sentence(event, zone)
    yield from waiting(messages, zone)
    if film is None:
        return
    yield from standing(film, zone)
    yield from certificate_lines(film.certificate, zone)


def standing(film: Film, zone: ZoneInfo) -> Iterator[str]:
    """What keeps the film from going on, if anything does."""
    if film.parked_step:
        yield (f"It is parked while {_doing(film.parked_step)}: {film.parked_reason}. "
               f"`ezrec films retry {film.booking_id}` sends it on its way again.")
    elif film.attempts:
        when = f"; it is tried again at {clock_time(film.retry_at, zone)}" if film.retry_at else ""
        yield f"Its next step failed {many(film.attempts, 'time')}{when}."


def waiting(messages: Sequence[Message], zone: ZoneInfo) -> Iterator[str]:
    """What the cloud must still be told of a film."""
    for message in messages:
        what = _message(message.kind, message.body)
        if message.parked_reason:
            yield (f"{what} was refused for good: {message.parked_reason}. "
                   f"`ezrec films retry {message.booking_id}` tries it again.")
        elif message.attempts:
            when = f"; it is tried again at {clock_time(message.retry_at, zone)}" if message.retry_at else ""
            yield f"{what} waits: it failed {many(message.attempts, 'time')}{when}."
        else:
            yield f"{what} waits for its turn."


def _message(kind: str, body: dict[str, Any]) -> str:
    match kind:
        case "status":
            return f"Telling the booking's owner {body['status']!r}"
        case "video":
            return "Writing the film's row"
        case _:
            return f"Aborting the unfinished upload of {body['key']}"


def sentence(event: Event, zone: ZoneInfo) -> str:
    """One event in plain words."""
    detail = dict(event.detail)
    if event.kind == "stage":
        said = AFTER_CANCEL if detail["from"] == Stage.CANCELLED else STAGES
        return said.get(detail["to"]) or STAGES[detail["to"]]
    if event.kind == "pre-flight":
        found = "; ".join(detail["problems"])
        return f"Before the match the cameras were looked at: {found or 'all was well'}."
    if "starts_at" in detail:
        detail["window"] = window(detail["starts_at"], detail["ends_at"], zone)
    if "rung" in detail:
        detail["rung"] = RUNGS[Rung(detail["rung"])]
    if "parked_step" in detail:
        detail["doing"] = _doing(detail["parked_step"])
    if event.kind == "refused":
        detail["doing"] = _message(detail["what"], detail)
    kind = "cancel refused" if detail.get("cancelled") else event.kind
    if kind not in SENTENCES:
        return f"{kind}: {event.detail}" if event.detail else f"{kind}."
    return SENTENCES[kind].format_map(detail)


def certificate_lines(certificate: dict[str, Any] | None, zone: ZoneInfo) -> Iterator[str]:
    """The certificate in short."""
    if not certificate:
        return
    intro = f" behind {length(certificate['intro_seconds'])} of intro" if certificate["intro_seconds"] else ""
    width, height = certificate["picture"]
    cameras = certificate["cameras"]
    alone = f" from camera {next(iter(cameras))} alone" if len(cameras) == 1 else ""
    yield f"The film holds {length(certificate['film_seconds'])} of the match{intro}, {width}x{height} pixels{alone}."
    for camera, share in cameras.items():
        yield _camera(camera, share, Fraction(certificate["rate"]))
    for gap in certificate["gaps"]:
        yield _gap(gap, zone, wide=len(cameras) > 1)
    if certificate["sync"]["within"] is not None:
        within, worst_ms = certificate["sync"]["within"], certificate["sync"]["worst_ms"]
        share = "all pictures" if within == 1 else f"{within:.2%} of the pictures"
        yield f"The two halves belong together in {share}; at worst they are {worst_ms:.0f} ms apart."
    for fallback in certificate["fallbacks"]:
        yield f"Piece {fallback['chunk']} was made {RUNGS[Rung(fallback['rung'])]}."
    for words in certificate["skipped_media"]:
        yield f"Left out: {words}."


def _camera(camera: str, share: dict[str, Any], rate: Fraction) -> str:
    kinds = {"drops": "dropped", "repeats": "shown twice", "skips": "left out", "corrupt": "not decodable"}
    counted = [(share[key], words) for key, words in kinds.items() if share[key]]
    counts = [f"{many(n, 'frame') if at == 0 else n} {words}" for at, (n, words) in enumerate(counted)]
    return f"Camera {camera} shows {length(share['shown_ticks'] / rate)}; {', '.join(counts) or 'no frame dropped'}."


def _gap(gap: dict[str, Any], zone: ZoneInfo, *, wide: bool) -> str:
    start, end = (round(datetime.fromisoformat(gap[key]).timestamp() * 1_000_000) for key in ("from", "to"))
    times = f"{clock_time(start, zone)[11:]} to {clock_time(end, zone)[11:]} ({length(gap['seconds'])})"
    if gap["camera"] == "both":
        return f"From {times} neither camera saw the court: that time is missing."
    what = "its half is filled" if wide else "that time is missing"
    return f"From {times} camera {gap['camera']} did not see the court: {what}."


def _doing(step: str) -> str:
    return STEPS.get(step, step)
