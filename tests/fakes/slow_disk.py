"""A disk that is slow to sync: a small library that is preloaded into the program, built when it is needed."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("slow_sync.c")
NEEDS = "gcc not found: apt-get install gcc libc6-dev"


def can_be_built() -> bool:
    """Whether there is a compiler."""
    return shutil.which("gcc") is not None


def slow_disk(folder: Path, seconds: float) -> dict[str, str]:
    """The environment of a program whose syncs take so many seconds each, until there is a file `folder`/quick.

    The library is built into `folder`.
    """
    library = folder / "slow_sync.so"
    if not library.exists():
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "SLOW_SYNC_S": str(seconds), "SLOW_SYNC_UNTIL": str(folder / "quick")}
