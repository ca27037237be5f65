"""The machine: heat, supply, the cameras' memory, and what systemd says of the recorder's unit."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from ezrec import files
from ezrec.actions.checks import Found, Grade, Look, Surroundings
from ezrec.adapters.power import PowerSensors

UNIT = "ezrec.service"
UNIT_KEYS = ("LoadState", "ActiveState", "SubState", "UnitFileState", "NRestarts", "Result")
COMMAND_S = 5.0  # for vcgencmd and systemctl
NEAR_C = 10.0  # so near to alerts.hot_c is worth a warning
SUPPLY_MA = 5000  # of a Raspberry Pi 5's own supply
MAX_CURRENT = "device-tree/chosen/power/max_current"
"""Below /proc: what a Pi 5's supply has promised, mA. https://github.com/raspberrypi/documentation, power supplies."""
HEAPS = ("vidbuf_cached", "linux,cma", "reserved")  # below dma_heap; Picamera2 takes one of them
AIR = "give the box air, or a cooler with a fan"
SUPPLY = "take a supply of 5 V and 5 A for a Pi 5, and a short cable"
OF_HEAT = ("frequency capped", "throttled", "soft temperature limit")


def heat_and_supply(around: Surroundings) -> Iterator[Found]:
    """How hot the processor is, whether it is held back, and whether the supply gives enough."""
    power = PowerSensors(around.clock, around.sys, around.vcgencmd, limit_s=COMMAND_S).read()
    facts = {"machine": {"temperature_c": power.temperature_c, "throttled": power.throttled,
                         "disk_free_mb": files.free_bytes(around.existing) >> 20}}
    bits = power.throttled.split(", ") if power.throttled else []
    yield _heat(around, power.temperature_c, [bit for bit in bits if bit.startswith(OF_HEAT)], facts)
    yield _supply(around, [bit for bit in bits if bit.startswith("under-voltage")], bool(power.said_by))


def _heat(around: Surroundings, degrees: float | None, bits: list[str], facts: Mapping[str, object]) -> Found:
    hot = around.settings.alerts.hot_c
    words = "; ".join([*([] if degrees is None else [f"the processor is at {degrees:.0f} °C"]),
                       *([f"it is held back: {', '.join(bits)}"] if bits else [])]) or "this machine does not say"
    if (degrees is not None and degrees >= hot) or any(bit.endswith(" now") for bit in bits):
        return Found("heat", Grade.BAD, words, AIR, facts)
    near = degrees is not None and degrees >= hot - NEAR_C
    return Found("heat", Grade.WARNING if near or bits else Grade.OK, words, AIR if near or bits else "", facts)


def _supply(around: Surroundings, bits: list[str], said: bool) -> Found:
    most = max_current_ma(around.proc)
    volt = supply_voltage(around.vcgencmd)
    figures = [*([f"{volt:.2f} V"] if volt else []), *([f"{most / 1000:g} A promised"] if most else [])]
    both = _both_run(around)
    if "under-voltage now" in bits:
        return Found("supply", Grade.BAD, "; ".join([f"its voltage is too low now{both}", *figures]), SUPPLY)
    if bits:
        return Found("supply", Grade.WARNING,
                    "; ".join(["its voltage was too low since the machine was started", *figures]), SUPPLY)
    if most and most < SUPPLY_MA:
        return Found("supply", Grade.WARNING, f"{', '.join(figures)}: that may be too little for both cameras at once",
                    SUPPLY)
    if not said and not figures:
        return Found("supply", Grade.OK, "this machine does not say")
    return Found("supply", Grade.OK, "; ".join([f"its voltage is high enough{both}", *figures]))


def _both_run(around: Surroundings) -> str:
    cameras = (around.recorder or {}).get("cameras") or {}
    running = [name for name, one in cameras.items() if one.get("state") in ("streaming", "warm")]
    return " with both cameras on" if len(running) > 1 else ""


def max_current_ma(proc: Path) -> int | None:
    """What the supply has promised, mA; None if the machine does not say."""
    try:
        return int.from_bytes((proc / MAX_CURRENT).read_bytes()[:4], "big") or None
    except OSError:
        return None


def supply_voltage(vcgencmd: str) -> float | None:
    """Volts that reach a Pi 5; None on another machine."""
    try:
        said = subprocess.run([vcgencmd, "pmic_read_adc", "EXT5V_V"], capture_output=True,  # noqa: S603 - a name of ours
                              text=True, check=True, timeout=COMMAND_S).stdout
        return float(said.strip().partition("=")[2].rstrip("V"))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def dma_heap(around: Surroundings) -> Iterator[Found]:
    """Whether this user reaches the memory that Picamera2 wants for pictures."""
    if around.settings.cameras.source != "picamera2":
        return
    heaps = [heap for name in HEAPS if (heap := around.dev / "dma_heap" / name).exists()]
    if any(os.access(heap, os.R_OK | os.W_OK) for heap in heaps):
        yield Found("dma_heap", Grade.OK, "the cameras' memory can be reached")
    elif heaps:
        yield Found("dma_heap", Grade.BAD, f"this user may not open {heaps[0]}",
                   "sudo usermod -aG video ezrec, and let a udev rule give it to that group: SUBSYSTEM==\"dma_heap\", "
                   'GROUP="video", MODE="0660"')
    else:
        yield Found("dma_heap", Grade.BAD, f"there is no {around.dev / 'dma_heap'} with memory for cameras",
                   "start a kernel of Raspberry Pi OS (CONFIG_DMABUF_HEAPS)")


def unit(around: Surroundings) -> Iterator[Found]:
    """Whether the service runs, and starts with the machine."""
    try:
        done = subprocess.run([around.systemctl, "show", UNIT, f"--property={','.join(UNIT_KEYS)}"],  # noqa: S603
                              capture_output=True, text=True, check=True, timeout=COMMAND_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        yield Found("unit", Grade.OK, "no systemd runs here")
        return
    except subprocess.TimeoutExpired:
        yield Found("unit", Grade.BAD, f"systemctl does not answer within {COMMAND_S:g} s",
                   "sudo systemctl daemon-reexec")
        return
    yield judge_unit(dict(line.partition("=")[::2] for line in done.stdout.splitlines()))


def judge_unit(says: Mapping[str, str]) -> Found:
    """What the properties of the unit mean."""
    loaded, restarts = says.get("LoadState", ""), says.get("NRestarts", "")
    active, state, enabled = says.get("ActiveState", ""), says.get("SubState", ""), says.get("UnitFileState", "")
    if loaded in ("", "not-found"):
        return Found("unit", Grade.OK, f"no {UNIT} on this machine: the recorder is started by hand")
    grade, more, remedy = Grade.OK, "", ""
    if loaded != "loaded":
        grade, more, remedy = Grade.BAD, f", which cannot be loaded ({loaded})", f"systemctl status {UNIT}"
    elif active == "failed" or state == "auto-restart":
        grade, more = Grade.BAD, f": {says.get('Result', '')}"
        remedy = f"`journalctl -u {UNIT} -n 50` says why; then sudo systemctl restart {UNIT}"
    elif active not in ("active", "reloading", "activating"):
        grade, remedy = Grade.WARNING, f"sudo systemctl start {UNIT}"
    elif not enabled.startswith("enabled"):
        grade, more, remedy = Grade.WARNING, ": not started with the machine", f"sudo systemctl enable {UNIT}"
    elif restarts not in ("", "0"):
        grade, more = Grade.WARNING, f"; systemd had to start it again {restarts} times"
        remedy = f"`journalctl -u {UNIT}` says why"
    return Found("unit", grade, f"{UNIT} is {active} ({state}), {enabled}{more}", remedy,
                {"unit": {"active": active, "enabled": enabled, "restarts": restarts}})


LOOKS = (Look("heat and supply", heat_and_supply, 15.0), Look("dma_heap", dma_heap, by_itself=True),
         Look("unit", unit))
