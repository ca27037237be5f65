"""A film's events and certificate in plain sentences."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

from ezrec.cli.words import clock_time, length, many, place, window
from ezrec.domain import events, messages
from ezrec.domain.certificate import CameraPart, Certificate, Gap
from ezrec.domain.clock import SECOND
from ezrec.domain.events import FilmEvent
from ezrec.domain.film import Film, Rung
from ezrec.domain.messages import Body, MessageKind, StatusReport, UploadAbort, Video
from ezrec.domain.stages import Stage
from ezrec.store.rows import Message, StoryEntry

STAGES: dict[str, str] = {
    Stage.BOOKED: "The booking stands again.",
    Stage.RECORDING: "Recording began: the first piece of footage is on the disk.",
    Stage.RECORDED: "The window is over and all its footage is on the disk.",
    Stage.RENDERED: "The film is finished and valid.",
    Stage.UPLOADED: "The film is stored and verified.",
    Stage.PUBLISHED: "The film is published: its database row is written.",
    Stage.CLEANED: "Its working files on this device are deleted.",
    Stage.CANCELLED: "The booking was cancelled; what was recorded stays for a while, unpublished.",
    Stage.MISSED: "Nothing was recorded in the window: the booking was missed.",
}
AFTER_CANCEL: dict[str, str] = {
    Stage.RECORDING: "The booking stands again: recording goes on.",
    Stage.RECORDED: "What was recorded of the cancelled booking is made into a film.",
    Stage.CLEANED: "What was recorded of the cancelled booking was deleted.",
}
RUNGS: dict[str, str] = {
    Rung.FULL: "as asked",
    Rung.PLAIN: "side by side, without cross-fade and logos",
    Rung.LEFT: "from the left camera only",
    Rung.RIGHT: "from the right camera only",
}
FEW = 0.02  # of the frames that a camera shows
STEPS = {"film": "making the film", "upload": "storing the film", "publish": "publishing the film",
         "cleanup": "cleaning up"}


def tell(film: Film | None, entries: Sequence[StoryEntry], outbox: Sequence[Message],
         zone: ZoneInfo) -> Iterator[tuple[str, str] | str]:
    """The film's story, oldest first, each sentence behind its time; then how it stands and what it holds."""
    for entry in entries:
        yield clock_time(entry.at, zone), sentence(entry.event, zone)
    yield from waiting(outbox, zone)
    if film is None:
        return
    if film.url:
        yield f"The film: {place(film.url)}"
    yield from standing(film, zone)
    yield from certificate_lines(film.certificate, zone)


def standing(film: Film, zone: ZoneInfo) -> Iterator[str]:
    """What keeps the film from going on, if anything does."""
    for step, reason in film.parked.items():
        by_itself = f"It is tried again at {clock_time(film.passing[step], zone)}; " if step in film.passing else ""
        yield (f"It is parked while {_doing(step)}: {reason}. {by_itself}"
               f"`ezrec films retry {film.booking_id}` sends it on its way again{' now' if by_itself else ''}.")
    if film.parked:
        return
    if film.attempts:
        when = f"; it is tried again at {clock_time(film.retry_at, zone)}" if film.retry_at else ""
        yield f"Its next step failed {many(film.attempts, 'time')}{when}."


def waiting(outbox: Sequence[Message], zone: ZoneInfo) -> Iterator[str]:
    """What must still be sent to the cloud for a film."""
    for message in outbox:
        what = _message(message.body)
        if message.parked_reason:
            by_itself = f"It is tried again at {clock_time(message.retry_at, zone)}; " if message.retry_at else ""
            yield (f"{what} was refused: {message.parked_reason}. {by_itself}"
                   f"`ezrec films retry {message.booking_id}` tries it again{' now' if by_itself else ''}.")
        elif message.attempts:
            when = f"; it is tried again at {clock_time(message.retry_at, zone)}" if message.retry_at else ""
            yield f"{what} waits: it failed {many(message.attempts, 'time')}{when}."
        else:
            yield f"{what} waits for its turn."


def _message(body: Body) -> str:
    match body:
        case StatusReport(status=status):
            return f"Telling the booking's owner {status!r}"
        case Video():
            return "Writing the film's row"
        case UploadAbort(key=key):
            return f"Aborting the unfinished upload of {key}"


def _refused(event: events.MessageRefused) -> str:
    body = {"status": event.status, "reason": event.reason, "key": event.key, "upload_id": ""}
    if event.what == MessageKind.STATUS and event.status:
        return _message(messages.from_json(event.what, body))
    if event.what == MessageKind.ABORT and event.key:
        return _message(messages.from_json(event.what, body))
    return "Writing the film's row"


def sentence(event: FilmEvent, zone: ZoneInfo) -> str:  # noqa: C901, PLR0911, PLR0912 - a sentence for each kind
    """One event in plain words."""
    match event:
        case events.Booked(starts_at=starts_at, ends_at=ends_at):
            return f"Booked: {window(starts_at, ends_at, zone)}."
        case events.Moved(starts_at=starts_at, ends_at=ends_at):
            return f"The booking was changed: it now is {window(starts_at, ends_at, zone)}."
        case events.Withdrawn():
            return "The booking disappeared before its window opened."
        case events.AnnouncedLate():
            return "The booking was first heard of after its window."
        case events.ChangeRefused(cancelled=True):
            return "The booking is cancelled, but this far along that changes nothing: its film goes on."
        case events.ChangeRefused(starts_at=starts_at, ends_at=ends_at):
            moved = window(starts_at, ends_at, zone)
            return f"The booking was changed to {moved} after its window: the film stays as it is."
        case events.FootageFound():
            return "The database had been lost. Footage of the booking was found again."
        case events.Rescued():
            return "Somebody had the film made of footage that was kept."
        case events.StageChanged(before=Stage.RENDERED, after=Stage.RECORDED):
            return "The film's file was damaged before it was stored; the film is made once more from its footage."
        case events.StageChanged(before=before, after=after):
            said = AFTER_CANCEL if before == Stage.CANCELLED else STAGES
            return said.get(after) or STAGES.get(after, f"Its stage became {after}.")
        case events.RecipeFrozen():
            return "The first piece of the film could be made; how it will look was fixed."
        case events.GenerationBegun(generation=generation, reason=reason):
            return f"The film was begun again (generation {generation}): {reason}."
        case events.FallbackTaken(chunk=0, rung=rung, error=error):
            return f"The film could not be made as a panorama ({error}); its layout is {rung}."
        case events.FallbackTaken(chunk=chunk, rung=rung, error=error):
            return f"Piece {chunk} could not be made as asked ({error}); it was tried {RUNGS.get(rung, rung)}."
        case events.RenderingWaits():
            return ("The processor was too hot while a match was recorded: making the film waited until it was cooler, "
                    "or the match over.")
        case events.FootageLost():
            return _lost(event, zone)
        case events.Parked(parked_step=step, parked_reason=reason):
            return f"Given up for now while {_doing(step)}: {reason}."
        case events.Retried():
            return "Somebody sent it on its way again."
        case events.PreflightBegun():
            return "The cameras are looked at before the match."
        case events.PreflightDone(problems=problems):
            return f"Before the match the cameras were looked at: {'; '.join(problems) or 'all was well'}."
        case events.StatusDelivered(status=status):
            return f"The booking's owner was told: {status}."
        case events.MessageRefused(reason=reason):
            return f"{_refused(event)} was refused for good: {reason}."
        case events.Unknown(kind=kind, detail=detail):
            return f"{kind}: {dict(detail)}" if detail else f"{kind}."


def _lost(event: events.FootageLost, zone: ZoneInfo) -> str:
    times = f"{clock_time(event.starts_at, zone)[11:]} to {clock_time(event.ends_at, zone)[11:]}"
    what = f"{event.files[0] if event.files else 'its file'} {event.reason}"
    if len(event.files) > 1:
        what += f", and so it is with {many(len(event.files) - 1, 'more file')}"
    return (f"What camera {event.camera} recorded from {times} ({length((event.ends_at - event.starts_at) / SECOND)}) "
            f"cannot be read: {what}. The film is made as if the camera had not seen that time.")


def certificate_lines(certificate: Certificate | None, zone: ZoneInfo) -> Iterator[str]:
    """The certificate in short."""
    if not certificate:
        return
    intro = f" behind {length(certificate.intro_seconds)} of intro" if certificate.intro_seconds else ""
    width, height = certificate.picture
    cameras = certificate.cameras
    alone = f" from camera {next(iter(cameras))} alone" if len(cameras) == 1 else ""
    yield f"The film holds {length(certificate.film_seconds)} of the match{intro}, {width}x{height} pixels{alone}."
    for camera, part in cameras.items():
        yield _camera(camera, part, certificate.rate)
    for gap in certificate.gaps:
        yield _gap(gap, zone, wide=len(cameras) > 1)
    sync = certificate.sync
    if sync.within is not None:
        share = "all pictures" if sync.within == 1 else f"{sync.within:.2%} of the pictures"
        yield f"The two halves belong together in {share}; at worst they are {sync.worst_ms:.0f} ms apart."
    for fallback in certificate.fallbacks:
        if not fallback.chunk:
            yield f"The whole film was made with the layout {fallback.rung}."
            continue
        yield f"Piece {fallback.chunk} was made {RUNGS.get(fallback.rung, fallback.rung)}."
    for words in certificate.skipped_media:
        yield f"Left out: {words}."


def reassurance(certificate: Certificate | None) -> Iterator[str]:
    """That a few frames are nothing to worry about, if no more than a few are concerned."""
    for part in certificate.cameras.values() if certificate else ():
        odd = part.drops + part.repeats + part.skips
        if certificate and 0 < odd <= FEW * part.shown_ticks:
            yield (f"A frame lasts {float(1000 / certificate.rate):.0f} ms: so few dropped, shown twice or left out "
                   "are not noticed. A busy machine does that.")
            return


def _camera(camera: str, part: CameraPart, rate: Fraction) -> str:
    kinds = ((part.drops, "dropped"), (part.repeats, "shown twice"), (part.skips, "left out"),
             (part.corrupt, "not decodable"))
    counts = [f"{many(n, 'frame') if at == 0 else n} {words}"
              for at, (n, words) in enumerate((n, words) for n, words in kinds if n)]
    return f"Camera {camera} shows {length(part.shown_ticks / rate)}; {', '.join(counts) or 'no frame dropped'}."


def _gap(gap: Gap, zone: ZoneInfo, *, wide: bool) -> str:
    start, end = (round(datetime.fromisoformat(text).timestamp() * 1_000_000) for text in (gap.start, gap.end))
    times = f"{clock_time(start, zone)[11:]} to {clock_time(end, zone)[11:]} ({length(gap.seconds)})"
    if gap.camera == "both":
        return f"From {times} neither camera saw the court: that time is missing."
    what = "its half is filled" if wide else "that time is missing"
    return f"From {times} camera {gap.camera} did not see the court: {what}."


def _doing(step: str) -> str:
    return STEPS.get(step, step)
