"""`ezrec check --record`: a short film of both cameras through everything that a booking goes through, into a folder of
its own. Nothing is booked, published or told anywhere else.
"""

import asyncio
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from ezrec import files, logs
from ezrec.adapters.power import PowerSensors
from ezrec.cli import playing, story, words
from ezrec.cli.settings import CommandContext, show_json, zone_of
from ezrec.config import Settings
from ezrec.domain.certificate import Certificate
from ezrec.domain.clock import SystemClock
from ezrec.domain.errors import AlreadyRunning, EzrecError
from ezrec.folders import DataFolder, DataLock


def record(command: CommandContext, folder: DataFolder, seconds: float, *, as_json: bool) -> bool:
    """Record for so many seconds, and say how each step went and what the film holds; whether all is fine.

    The film that an earlier call made is removed.

    Raises:
        EzrecError: the recorder runs on this data folder and has the cameras, or does not start.
    """
    files.make_folders(folder.root)
    try:
        with DataLock(folder):
            return _record(command, folder, seconds, as_json=as_json)
    except AlreadyRunning as error:
        raise EzrecError(f"no film can be recorded while the cameras are used: {error}; or book a short match: "
                         "`ezrec bookings add --in 1m --for 1m`") from error


def _record(command: CommandContext, folder: DataFolder, seconds: float, *, as_json: bool) -> bool:
    place = folder.trial
    if place.is_symlink() or place.is_file():
        place.unlink()
    shutil.rmtree(place, ignore_errors=True)
    files.make_folders(place, below=folder.root)
    if folder.cameras.is_file():  # which camera is left and which right
        shutil.copyfile(folder.cameras, DataFolder(place).cameras)
    settings = CommandContext(command.config, place).load(**playing.LOCAL, paths={"library": "", "logs": ""})
    logs.register_secrets(settings)
    logs.set_up(settings.logs.level, place / "logs", stream=playing.Nowhere())
    logging.getLogger("picamera2").setLevel(logging.CRITICAL)
    console = Console(file=playing.Nowhere()) if as_json else words.console()
    sensors = PowerSensors(SystemClock(), every_s=0)
    before = sensors.read().throttled
    try:
        run = asyncio.run(playing.play(settings, seconds, console, "check"))
    finally:
        logs.shut_down()
        DataFolder(place).reserve.unlink(missing_ok=True)
    steps = [*run.steps, *_of_the_film(run, settings), supply(before, sensors.read().throttled)]
    good = all(done for done, _ in steps)
    film = words.place(run.film.url) if run.film and run.film.url else None
    certificate = run.film.certificate if run.film else None
    if as_json:
        show_json({"ok": good, "film": film, "steps": [{"ok": done, "what": said} for done, said in steps],
                   "certificate": certificate.to_json() if certificate else None,
                   "log": str(place / "logs" / "ezrec.log")})
        return good
    playing.say_steps(console, steps)
    words.sentences(console, [*story.certificate_lines(certificate, zone_of(settings)),
                              *story.reassurance(certificate)])
    parked = run.film.parked_reason if run.film else None
    words.say(film or f"no film: {parked or 'the log says why'}: {place / 'logs' / 'ezrec.log'}")
    return good


def _of_the_film(run: playing.Run, settings: Settings) -> Iterator[tuple[bool, str]]:
    """What the film and its certificate say."""
    if not run.film or not run.film.url or not run.film.certificate:
        return
    yield from playing.verdicts(Path(words.place(run.film.url)), run.film, simulated=False)
    yield from _of_the_cameras(run.film.certificate, ["left", "right"] if settings.cameras.dual else ["left"])


def _of_the_cameras(certificate: Certificate, wanted: list[str]) -> Iterator[tuple[bool, str]]:
    for name in wanted:
        missing = sum(gap.seconds for gap in certificate.gaps if gap.camera in (name, "both"))
        shown = certificate.cameras.get(name)
        if shown is None or not shown.shown_ticks:
            yield False, f"camera {name} is in the film: it is not; `ezrec check --cameras` says why"
        else:
            yield not missing, f"camera {name} is in the whole film" + (
                f": {words.length(missing)} are missing" if missing else "")


def supply(before: str | None, after: str | None) -> tuple[bool, str]:
    """Whether the supply held while both cameras and the encoder ran, by what the machine said before and after it."""
    was, now = (str(one or "") for one in (before, after))
    low = "under-voltage now" in now or ("under-voltage" in now and "under-voltage" not in was)
    return not low, "the supply holds with both cameras on" + (
        f": {after}; take one of 5 V and 5 A for a Pi 5, and a short cable" if low else "")
