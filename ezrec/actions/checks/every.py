"""The one list of looks."""

from collections.abc import Sequence

from ezrec.actions.checks import Look, cameras, clock, disk, machine, own, project, storage

EVERY: Sequence[Look] = (
    *disk.LOOKS, *own.LOOKS, *cameras.LOOKS, *machine.LOOKS, *clock.LOOKS, *project.LOOKS, *storage.LOOKS)
"""In the order in which they are shown."""
