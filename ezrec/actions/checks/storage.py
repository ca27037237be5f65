"""Where films go: a probe is stored, read, listed and taken away again; what may not be done is named."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from ezrec import files
from ezrec.actions.checks import Found, Grade, Look, Surroundings, there

PROBE = b"EZREC looks whether it can store films here.\n"


async def storage(around: Surroundings) -> list[Found]:
    """Whether the storage does all that films need. Nothing is left there."""
    settings = around.settings
    if settings.storage.kind == "local":
        return list(local(settings.paths.library_folder.absolute()))
    from ezrec.adapters.storage.s3_probe import probe  # noqa: PLC0415 - loads aioboto3

    court = f"{settings.site.user_id or '-'}/{settings.site.camera_id}"
    lacking = await probe(settings.s3, f"ezrec-check/{court}.txt", PROBE)
    seen = [Found("storage", Grade.BAD if one.needed else Grade.WARNING, one.problem, one.remedy) for one in lacking]
    return seen or [Found("storage", Grade.OK, f"{settings.s3.bucket}: a probe could be stored, whole and in parts, "
                                              "read, listed, given up and removed; nothing of it is left")]


def local(library: Path) -> Iterator[Found]:
    """The same of the library folder."""
    at = there(library)
    if at != library:
        yield Found("storage", Grade.OK, f"{library}, which will be made")
        return
    probe = files.temporary_beside(library / "probe")
    try:
        probe.write_bytes(PROBE)
        files.fsync_file(probe)
        same = probe.read_bytes() == PROBE and probe.name in os.listdir(library)  # noqa: PTH208 - names alone
    except OSError as error:
        yield Found("storage", Grade.BAD, str(files.verdict(error, f"store a film in {library}")),
                   f"make room, or give the folder to the user that runs EZREC: sudo chown -R ezrec "
                   f"{shlex.quote(str(library))}")
        return
    finally:
        probe.unlink(missing_ok=True)
    yield Found("storage", Grade.OK if same else Grade.BAD, f"{library}: " + (
        "a probe could be stored, read, listed and removed" if same else "it does not hold what was put there"),
        "" if same else "take another disk for paths.library")


LOOKS = (Look("storage", storage, 60.0, by_itself=True),)
