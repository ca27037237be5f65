"""Whether the disks can hold a film as one file: known before the first match, and not after one."""

from pathlib import Path

from ezrec import files, logs
from ezrec.config import Settings
from ezrec.folders import DataFolder

log = logs.get("opening")


def too_small(settings: Settings) -> list[str]:
    """What is wrong with the folders of films, in words with the remedy; of one that is not there yet, with the folder
    that it will be made in. Blocks.
    """
    folder = DataFolder(settings.paths.data)
    places = [folder.films, *([settings.paths.library_folder.absolute()] if settings.storage.kind == "local" else [])]
    there = dict.fromkeys(next(one for one in (place, *place.parents) if one.is_dir()) for place in places)
    return [words for place in there if (words := _words(settings, place))]


def say_too_small(settings: Settings) -> None:
    """Say it at start, where it keeps nobody from recording: most matches are shorter than they may be. Blocks."""
    for problem in too_small(settings):
        log.error("long films do not fit the disk", problem=problem)


def _words(settings: Settings, place: Path) -> str | None:
    wanted = round(settings.bookings.longest_h * 3600 * settings.film.maxrate / 8)
    try:
        most = files.largest_file(place, wanted)
    except OSError as error:
        return f"no file can be made in {place}: {error.strerror or error}"
    if most >= wanted:
        return None
    minutes = most * 8 / settings.film.maxrate / 60
    return (f"one file in {place} can have {most / 1e9:.1f} GB, {minutes:.0f} minutes of film at film.maxrate; "
            f"a film of bookings.longest_h ({settings.bookings.longest_h:g} h) may need {wanted / 1e9:.1f} GB: format "
            "the disk with ext4, lift the limit of file sizes (ulimit -f, LimitFSIZE), or set film.maxrate or "
            "bookings.longest_h lower")
