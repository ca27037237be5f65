"""`ezrec calibrate`: how both cameras look at the court, measured from what they show."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ezrec import files
from ezrec.cli.settings import CommandContext, data_folder, opened, show_json
from ezrec.cli.words import say
from ezrec.config import Settings
from ezrec.domain.calibration import Calibration, CalibrationVerdict
from ezrec.domain.errors import BadMedia, EzrecError
from ezrec.folders import DataFolder

NICE = 15  # a recorder beside it goes first

Source = Annotated[Path | None, typer.Argument(
    show_default=False, help="A still or a film of this camera; without both: the newest footage.")]


def calibrate(context: typer.Context, left: Source = None, right: Source = None,
              as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False) -> None:
    """Measure how both cameras look at the court, for `film.layout = "panorama"`.

    LEFT and RIGHT are a still or a film of each camera, as the cameras give them. Without them the newest footage that
    is kept is taken; that works while `ezrec run` runs.

    The result is good, poor (it says what to change) or refused. A calibration that is there stays until there is a
    good one. It lies in the data folder as `calibration.json`; look at `calibration.jpg` beside it: common points, the
    panorama, and the panorama with its seam and a grid. It counts from the next film on.

    Exit status 0 only if a calibration was kept.

    Example: `ezrec calibrate` after a match, or `ezrec calibrate left.jpg right.jpg`
    """
    from ezrec.actions import calibration as actions  # noqa: PLC0415 - OpenCV, which no other command needs

    command: CommandContext = context.obj
    if (left is None) != (right is None):
        raise typer.BadParameter("give both LEFT and RIGHT, or neither")
    settings = command.load()
    folder = data_folder(settings, written=True)
    sources: Any = (left, right) if left and right else asyncio.run(_footage(settings, folder))
    if left:
        files.make_folders(folder.root)
    os.nice(NICE)
    try:
        outcome = actions.calibrate(settings, folder, sources, lambda words: None if as_json else say(f"  {words}"))
    except BadMedia as error:
        if as_json:
            show_json({"verdict": str(CalibrationVerdict.REFUSED), "advice": [str(error)], "kept": False})
            raise typer.Exit(1) from error
        stays = "; the calibration that is there stays" if actions.current(folder) else ""
        raise EzrecError(f"not calibrated: {error}{stays}") from error
    found = outcome.calibration
    if as_json:
        show_json(json.loads(found.dumps()) | {"id": found.id, "kept": outcome.kept,
                                               "picture": str(outcome.picture) if outcome.picture else None})
    else:
        for line in _told(found):
            say(line)
        if outcome.kept:
            say(f"kept as {folder.calibration}; look at {outcome.picture}")
            if settings.film.layout != "panorama":
                say('films use it with film.layout = "panorama"')
        else:
            say("not kept: the calibration that is there is good, and stays")
    if not outcome.kept:
        raise typer.Exit(1)


async def _footage(settings: Settings, folder: DataFolder) -> Any:
    from ezrec.actions.calibration import newest_footage  # noqa: PLC0415 - as above

    async with opened(settings) as store:
        return await newest_footage(store, folder)


def _told(found: Calibration) -> list[str]:
    """A calibration in plain sentences."""
    quality = found.quality
    lines = [(f"{found.verdict}: {quality.matches} points agree; {quality.tracked:.0%} of what both cameras see falls "
             f"together, within {quality.median_px:.1f} pixels (median) and {quality.p95_px:.1f} (19 of 20)"),
             (f"the film shows {quality.coverage:.0%} of what the cameras see; along the seam light differs by "
             f"{quality.luma_step:.1f} of 255")]
    return lines + [f"  to make it better: {advice}" for advice in found.advice]
