"""The lab's scenario, run inside its tree: two back-to-back bookings, one camera frozen for 5 s in the second.

The program, Picamera2 and libcamera are the real ones; only the cameras are libcamera's virtual ones. They are kept
warm, so that they are started in both ways: from rest, and after the freeze from a stop. Exit status 0 if both films
are what they should be.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.fakes.site import Site  # noqa: E402
from tests.fakes.waiting import wait_until  # noqa: E402

VIRTUAL = Path(__file__).parent / "virtual"
CAMERAS = {"source": "picamera2", "width": 1280, "height": 720, "fps": 30, "bitrate": 4_000_000, "lead_s": 3.0,
           "keyframe_s": 1.0, "keep_warm": True, "left": {"id": "CourtLeft"}, "right": {"id": "CourtRight"}}
FILM = {"chunk_s": 4.0, "maxrate": 6_000_000, "bufsize": 12_000_000}
LENGTH_S, FREEZE_S = 14.0, 5.0
LIMIT_S = 180.0


class Lab(Site):
    """A site whose Picamera2 finds the tree's own libcamera."""

    def path(self, *folders: Path) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join(map(str, (*folders, VIRTUAL))), "LAB_FREEZE": str(self.freeze),
                "LIBCAMERA_LOG_LEVELS": "*:ERROR"}

    @property
    def freeze(self) -> Path:
        return self.folder / "frozen"


def play(site: Lab) -> None:
    site.start()
    site.wait_said("ready")
    starts, middle = site.book("first", 5, 5 + LENGTH_S)
    site.book_at("second", middle, middle + LENGTH_S)
    wait_until(lambda: time.time() > middle + 3, LENGTH_S + 60, "the second booking")
    site.freeze.write_text("CourtLeft")
    wait_until(lambda: time.time() > middle + 3 + FREEZE_S, FREEZE_S + 30, "the end of the freeze")
    site.freeze.unlink()
    for booking in ("first", "second"):
        site.wait_stage(booking, "cleaned", limit_s=LIMIT_S)
    assert site.stop() == 0, site.errors[-3000:]
    assert starts < middle


def look(site: Lab) -> None:
    first, second = (site.look_at(booking) for booking in ("first", "second"))
    for name, (certificate, seen) in (("first", first), ("second", second)):
        print(f"{name}: {certificate['film_seconds']} s, gaps {certificate['gaps']}, "
              f"drops {[one['drops'] for one in certificate['cameras'].values()]}, sync {certificate['sync']}")
        assert (certificate["layout"], certificate["picture"][1]) == ("wide", 720)
        assert abs(certificate["film_seconds"] - LENGTH_S) < 0.2
        assert abs(seen.ticks - certificate["film_seconds"] * 30) < 2
    assert first[0]["gaps"] == []
    gaps: list[dict[str, Any]] = second[0]["gaps"]
    assert [gap["camera"] for gap in gaps] == ["left"], gaps
    assert FREEZE_S - 0.5 < gaps[0]["seconds"] < FREEZE_S + 4, gaps
    assert second[0]["cameras"]["right"]["filled_ticks"] == 0
    longest_ms = max(line["call_max_ms"] for line in site.said("camera stopped"))
    print(f"longest call on a camera: {longest_ms} ms")


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="ezrec-lab-"))
    site = Lab(folder, cameras=CAMERAS, film=FILM, recorder={"segment_s": 2.0})
    try:
        play(site)
        look(site)
    finally:
        site.end()
        if site.errors:
            print(site.errors[-3000:], file=sys.stderr)
    shutil.rmtree(folder)
    print("the lab's films are right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
