"""A machine's sensors for tests: a made-up /sys, and a made-up `vcgencmd`."""

from pathlib import Path


def a_sys_folder(folder: Path, zone: str | None = None, throttled: str | None = None, alarm: str | None = None) -> Path:
    """A /sys whose files say so: the processor's temperature, the firmware's bits, the alarm of the voltage."""
    if zone is not None:
        for number, kind in enumerate(("gpu-thermal", "cpu-thermal")):
            place = folder / f"class/thermal/thermal_zone{number}"
            place.mkdir(parents=True)
            (place / "type").write_text(f"{kind}\n")
            (place / "temp").write_text(zone if number else "99000\n")
    if throttled is not None:
        place = folder / "devices/platform/soc/soc:firmware"
        place.mkdir(parents=True)
        (place / "get_throttled").write_text(throttled)
    if alarm is not None:
        place = folder / "class/hwmon/hwmon0"
        place.mkdir(parents=True)
        (place / "name").write_text("rpi_volt\n")
        (place / "in0_lcrit_alarm").write_text(alarm)
    return folder


def a_firmware(folder: Path, script: str) -> str:
    """A command that is asked as `vcgencmd` is; returns its path."""
    command = folder / "vcgencmd"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return str(command)
