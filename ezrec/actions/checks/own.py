"""The program itself: its settings, the versions of what it stands on, the court's time zone."""

import platform
from collections.abc import Iterator
from importlib import metadata

from ezrec import __version__
from ezrec.actions.checks import Found, Grade, Look, Surroundings
from ezrec.config.doubts import doubts, key_risk, zone_doubt

OLDEST_PYAV = 12  # as in pyproject.toml


def settings(around: Surroundings) -> Iterator[Found]:
    """What nobody chose and is probably wrong."""
    yield Found("settings", Grade.OK, "usable")
    zone = zone_doubt(around.settings)
    told = [one for one in doubts(around.settings) if one != zone]
    for doubt in (*told, *filter(None, [key_risk(around.settings)])):
        yield Found("settings", Grade.WARNING, doubt)


def time_zone(around: Surroundings) -> Iterator[Found]:
    """Whether the court's time zone was chosen."""
    if doubt := zone_doubt(around.settings):
        yield Found("time zone", Grade.WARNING, doubt)
    else:
        yield Found("time zone", Grade.OK, f"local times are in {around.settings.site.timezone}")


def software(_around: Surroundings) -> Iterator[Found]:
    """The versions that films are made with."""
    from ezrec.adapters.cameras.inspection import libav_versions  # noqa: PLC0415 - loads PyAV

    pyav = metadata.version("av")
    libav = libav_versions()
    words = ", ".join(f"{name} {version}" for name, version in
                      {"EZREC": __version__, "Python": platform.python_version(), "PyAV": pyav, **libav}.items())
    old = int(pyav.partition(".")[0]) < OLDEST_PYAV
    yield Found("software", Grade.BAD if old else Grade.OK, words,
               f"take a PyAV of {OLDEST_PYAV} or newer (python3-av)" if old else "",
               {"versions": {"ezrec": __version__, "python": platform.python_version(), "pyav": pyav} | libav})


LOOKS = (Look("settings", settings), Look("time zone", time_zone), Look("software", software, 30.0))
