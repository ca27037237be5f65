"""A machine that is made up below one folder: its /proc, /sys and /dev, its vcgencmd and its systemctl."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ezrec.actions.checks import Found, Surroundings
from ezrec.config import Settings
from ezrec.folders import DataFolder


class Machine:
    """Settings and surroundings of a court on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("proc", "sys", "dev", "data"):
            (root / name).mkdir(mode=0o750)

    def around(self, recorder: dict[str, Any] | None = None, **sections: Any) -> Surroundings:
        data = Path(sections.pop("data", self.root / "data"))
        settings = Settings(paths={"data": data}, **sections)
        around = Surroundings(settings, DataFolder(data), recorder)
        return replace(around, proc=self.root / "proc", sys=self.root / "sys", dev=self.root / "dev",
                       vcgencmd=str(self.root / "vcgencmd"), systemctl=str(self.root / "systemctl"))

    def write(self, name: str, content: str | bytes) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def command(self, name: str, script: str) -> None:
        self.write(name, f"#!/bin/sh\n{script}\n").chmod(0o755)

    def heat(self, degrees: float) -> None:
        self.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        self.write("sys/class/thermal/thermal_zone0/temp", f"{round(degrees * 1000)}\n")

    def supply(self, milliamperes: int) -> None:
        self.write("proc/device-tree/chosen/power/max_current", milliamperes.to_bytes(4, "big"))


def told(seen: Sequence[Found]) -> dict[str, tuple[str, str, str]]:
    """By what it is about: grade, words and remedy."""
    return {one.about: (str(one.grade), one.words, one.remedy) for one in seen}
