"""A folder as EZREC's predecessor leaves it: settings, bookings, recordings with and without marks, films, logos."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av
import numpy as np

from tests.fakes.clips import write_logo

RATE, SIZE = 15, (192, 108)
ZONE = ZoneInfo("Europe/Berlin")
SECRETS = ("service-role-hush", "aws-hush-hush", "mail-hush-hush", "preview-hush")

DOTENV = f"""\
# EZREC
USER_ID=u-1
CAMERA_ID="court-7"
TIMEZONE_NAME=Europe/Berlin
CAMERA_0_SERIAL=88000
CAMERA_1_SERIAL=80000
CAMERA_0_NAME=Goal_Left
CAMERA_1_NAME=Goal_Right
DUAL_CAMERA_MODE=True
RECORDING_FPS={RATE}
RESOLUTION=1280x720
MERGE_METHOD=side_by_side
LOG_LEVEL=INFO
EMAIL_HOST=mail.example.org
EMAIL_HOST_USER=court
EMAIL_HOST_PASSWORD={SECRETS[2]}
LIVE_PREVIEW_TOKEN={SECRETS[3]}
LOGO_WIDTH=128
SPONSOR_2_POSITION=bottom_center
"""


def video(path: Path, seconds: float = 2.0, codec: str = "libx264", bframes: int = 0, shade: int = 0) -> Path:
    """A little film of moving grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        if codec == "libx264":
            stream.options = {"g": str(RATE), "bf": str(bframes), "preset": "ultrafast" if not bframes else "veryfast"}
        for number in range(round(seconds * RATE)):
            picture = np.full((SIZE[1], SIZE[0], 3), shade, np.uint8)
            picture[:, number % SIZE[0]:][:, :20] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


class Predecessor:
    """The folder, and what may be put into it. Its recordings are some days old."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.day = (datetime.now(ZONE) - timedelta(days=2)).replace(hour=18, minute=0, second=0, microsecond=0)
        self.days = folder / "recordings" / f"{self.day:%Y-%m-%d}"
        for name in ("backend", "api/local_data", "processed", "final", "logs", "assets", "media_cache/u-1"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "backend" / "cleanup_old_data.py").write_text("print('gone')\n")
        self.dotenv(DOTENV)

    def dotenv(self, text: str) -> None:
        """Its settings."""
        (self.folder / ".env").write_text(text)
        (self.folder / ".env").chmod(0o600)

    def session(self, booking: str, hour: int = 18, seconds: float = 2.0, second_camera: bool = True) -> Path:
        """What its last version leaves: a folder with a file of each camera, and no mark at all."""
        begin = self.day.replace(hour=hour)
        folder = self.days / f"session_{booking}"
        for number in range(2 if second_camera else 1):
            stamp = begin + timedelta(seconds=number)  # names tell whole seconds
            video(folder / f"camera_{number}_{stamp:%Y%m%d_%H%M%S}.mp4", seconds, shade=60 * number)
        return folder

    def pair(self, hour: int, *marks: str, merged: bool = False, names: tuple[str, ...] = ("Goal_Left", "Goal_Right"),
             **facts: object) -> list[Path]:
        """What versions before it leave: files beside each other, marks, and a .json beside the merged one."""
        stem = f"{hour:02}0000-{hour:02}0100_u-1_court-7"
        made = [video(self.days / f"{stem}_{name}.mp4") for name in names]
        if merged:
            made.append(video(self.days / f"{stem}_merged.mp4"))
        for path in made:
            for mark in marks:
                path.with_suffix(f".{mark}").touch()
        if facts:
            made[-1].with_suffix(".json").write_text(json.dumps(facts))
        return made

    def pending(self, booking: str, name: str = "film.mp4", **meta: object) -> Path:
        """A finished film that waits for its upload; its path is told as it is on the device."""
        film = video(self.folder / "processed" / f"{self.day:%Y-%m-%d}" / name, 3)
        queue = self.folder / "pending_uploads.json"
        rows = json.loads(queue.read_text()) if queue.exists() else []
        rows.append({"final_file": f"/opt/ezrec-backend/{film.relative_to(self.folder)}",
                     "s3_key": f"u-1/{self.day:%Y-%m-%d}/{name}",
                     "meta": {"booking_id": booking, "recording_id": Path(name).stem, "date": f"{self.day:%Y-%m-%d}",
                              "video_url": None, **meta}})
        queue.write_text(json.dumps(rows))
        return film

    def bookings(self, *rows: dict[str, Any], file: str = "api/local_data/bookings.json") -> None:
        """Its bookings file, as it writes it."""
        (self.folder / file).write_text(json.dumps({"bookings": rows, "user_id": "u-1"}))

    def ahead(self, booking: str, days: int = 2) -> dict[str, Any]:
        """A row of a booking that is to come."""
        at = datetime.now(UTC) + timedelta(days=days)
        return {"id": booking, "user_id": "u-1", "start_time": at.isoformat(timespec="seconds"),
                "end_time": (at + timedelta(hours=1)).isoformat(timespec="seconds"), "status": "scheduled"}

    def media(self) -> None:
        """Logos of the program and of the owner, and the owner's intro."""
        for place in ("assets/ezrec_logo.png", "media_cache/u-1/logo.png", "media_cache/u-1/sponsor_logo2.png"):
            write_logo(self.folder / place, (250, 250, 0), (40, 20))
        video(self.folder / "media_cache/u-1/intro.mp4", 1)

    def aged(self) -> None:
        """Let all films be an hour old: nothing is being recorded."""
        then = time.time() - 3600
        for name in ("recordings", "processed", "final"):
            for path in (self.folder / name).rglob("*"):
                os.utime(path, (then, then))

    def state(self) -> dict[str, bytes | None]:
        """Everything that lies there."""
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() if path.is_file() else None
                for path in sorted(self.folder.rglob("*"))}


SYSTEMCTL = """\
#!/bin/sh
# The units that are in $UNITS, each a file: "active enabled".
echo "$@" >> "$CALLS"
case "$1" in
show)
    if [ -e "$UNITS/$2" ]; then
        read -r active enabled < "$UNITS/$2"
        printf 'LoadState=loaded\\nActiveState=%s\\nUnitFileState=%s\\n' "$active" "$enabled"
    else printf 'LoadState=not-found\\nActiveState=inactive\\nUnitFileState=\\n'; fi ;;
disable)
    shift; shift
    for unit in "$@"; do echo "inactive disabled" > "$UNITS/$unit"; done ;;
esac
"""

CRONTAB = """\
#!/bin/sh
echo "crontab $@" >> "$CALLS"
[ "$1" = -u ] && shift 2
case "$1" in
-l) cat "$CRONTAB" 2>/dev/null || { echo "no crontab" >&2; exit 1; } ;;
-) cat > "$CRONTAB" ;;
esac
"""


def machine(folder: Path) -> dict[str, str]:
    """Commands that stand for systemd's and cron's, and the environment in which they are found."""
    units = folder / "units"
    units.mkdir(parents=True)
    for unit, state in (("dual_recorder.service", "active enabled"), ("video_worker.service", "inactive enabled"),
                        ("system_status.timer", "active enabled"), ("cloudflared.service", "active enabled")):
        (units / unit).write_text(f"{state}\n")
    programs = folder / "bin"
    programs.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("crontab", CRONTAB)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "UNITS": str(units), "CALLS": str(folder / "calls"),
            "CRONTAB": str(folder / "crontab")}
