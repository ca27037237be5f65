"""`ezrec check`: whether what the recorder needs is there and works."""

import logging
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from ezrec import logs
from ezrec.cli import words
from ezrec.cli.settings import CommandContext, show_json
from ezrec.config import exposed
from ezrec.domain.clock import SystemClock
from ezrec.domain.errors import AlreadyRunning, CameraLost, EzrecError
from ezrec.folders import DataFolder, DataLock

TRY_S = 4.0  # for two key frames; a camera starts within one second
LIMIT_S = 30.0  # for both cameras together, whatever they do
UNKNOWN: dict[str, Any] = {  # of a camera that gave nothing
    "ok": False, "problems": [], "model": None, "note": "", "frames": 0, "missing": 0, "rate": None, "brightness": None,
    "sharpness": None, "likeness": None, "temperature_c": None, "picture": None}


def check(
    context: typer.Context,
    cameras: Annotated[bool, typer.Option("--cameras", help="Start both cameras, judge and save a picture of each.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    reference: Annotated[bool, typer.Option(
        "--reference", help="Keep the pictures as what the cameras should see; later pictures are compared.")] = False,
) -> None:
    """Check the cameras: what is there, who holds them, whether frames flow and what they show.

    Disks that cannot hold a long film, and secrets that others can read, are told too. Exit status 0 only if all is
    fine. Stop the recorder first: one process has the cameras.

    Example: `ezrec check --cameras --reference` after the cameras were mounted and focused.
    """
    if not cameras:
        raise typer.BadParameter("say what to check: --cameras")
    from ezrec import files  # noqa: PLC0415 - what commands without cameras do not need

    command: CommandContext = context.obj
    settings = command.load()
    folder = DataFolder(settings.paths.data)
    logs.register_secrets(settings)
    logs.set_up("error", folder.logs, stream=sys.stderr)
    logging.getLogger("picamera2").setLevel(logging.CRITICAL)  # its errors stand in what is found
    files.make_folders(folder.root)
    try:
        with DataLock(folder):
            found = look(settings, folder, keep=reference)
            found["problems"] += exposed(command.config)
    except AlreadyRunning as error:
        raise EzrecError(f"the cameras cannot be tried while they are used: {error}{_as_the_recorder_says(folder)}") \
            from error
    finally:
        logs.shut_down()
    if as_json:
        show_json(found)
    else:
        tell(found)
    if found["problems"] or not all(one["ok"] for one in found["cameras"].values()):
        raise typer.Exit(1)


def _as_the_recorder_says(folder: DataFolder) -> str:
    """How a running recorder says its cameras are."""
    from ezrec.actions import device  # noqa: PLC0415

    state = device.read(folder, SystemClock().wall_us())
    if state is None:
        return ""
    cameras = ", ".join(f"camera {name} is {one['state']}" for name, one in state["cameras"].items())
    return f". It says: {cameras}"


def look(settings: Any, folder: DataFolder, *, keep: bool) -> dict[str, Any]:
    """Everything about the cameras, as JSON-able values.

    Raises:
        SettingsError: cameras of this kind cannot be made here.
    """
    from ezrec.adapters.cameras.pi.holders import holders  # noqa: PLC0415
    from ezrec.factories import describe_cameras, make_cameras  # noqa: PLC0415
    from ezrec.tasks.capacity import too_small  # noqa: PLC0415

    made = make_cameras(settings, SystemClock())
    results: dict[str, dict[str, Any]] = {}
    threads = [threading.Thread(target=lambda one=camera: results.update({one.name: _try(one, folder, keep=keep)}),
                                name=f"check-{camera.name}", daemon=True) for camera in made]
    held = [{"pid": one.pid, "command": one.command, "unit": one.unit, "devices": one.devices, "remedy": one.remedy,
             "words": one.words} for one in holders()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S / len(threads))
    hung = UNKNOWN | {"problems": [f"a call on the camera hangs for {LIMIT_S / len(threads):.0f} s"]}
    return {"source": settings.cameras.source, "problems": too_small(settings),
            "machine": _machine(folder.root), "holders": held, **describe_cameras(settings),
            "cameras": {camera.name: results.get(camera.name, hung) for camera in made}}


def _machine(data: Path) -> dict[str, Any]:
    """What the machine says of itself that cameras suffer from."""
    from ezrec.adapters.metrics import Meter  # noqa: PLC0415

    now = Meter(data, SystemClock()).measure()
    return {"temperature_c": now.temperature_c, "throttled": now.throttled, "disk_free_mb": now.disk_free_mb}


def _try(camera: Any, folder: DataFolder, *, keep: bool) -> dict[str, Any]:
    from ezrec.adapters.cameras.inspection import keep_picture, try_out  # noqa: PLC0415

    picture, reference = folder.picture(camera.name), folder.reference(camera.name)
    try:
        verdict = try_out(camera, TRY_S, None if keep else reference)
        health = camera.health()
        if verdict.picture:
            keep_picture(picture, verdict)
        if keep and verdict.good:
            keep_picture(reference, verdict)
    except (CameraLost, OSError) as error:
        return UNKNOWN | {"problems": [str(error)]}
    return {"ok": verdict.good, "problems": list(verdict.problems), "model": health.model, "note": health.note,
            "frames": verdict.frames, "missing": verdict.missing, "rate": verdict.rate,
            "brightness": verdict.brightness, "sharpness": verdict.sharpness, "likeness": verdict.likeness,
            "temperature_c": health.temperature_c, "picture": str(picture) if verdict.picture else None}


def tell(found: dict[str, Any]) -> None:
    """Say it to people."""
    rows: list[tuple[str, str] | str] = [("machine ", _machine_words(found["machine"]))]
    if "software" in found:
        rows.append(("software", ", ".join(f"{name} {version}" for name, version in found["software"].items())))
        rows += [("found   ", f"{at}: {one}") for at, one in enumerate(found["found"])]
    rows += [("held by ", one["words"]) for one in found["holders"]]
    rows += [("NOT OK  ", one) for one in found["problems"]]
    for name, one in found["cameras"].items():
        rows.append((f"{name:8}", _sentence(one)))
        if one.get("picture"):
            rows.append((" " * 8, f"its picture: {one['picture']}"))
    words.sentences(words.console(), rows)


def _machine_words(machine: dict[str, Any]) -> str:
    said = [f"{machine['temperature_c']:.0f} °C"] if machine["temperature_c"] is not None else []
    if machine["disk_free_mb"] is not None:
        said.append(f"{machine['disk_free_mb']} MiB free")
    if machine["throttled"]:
        said.append(f"THE PROCESSOR IS HELD BACK: {machine['throttled']}")
    return "; ".join(said) or "says nothing of itself"


def _sentence(one: dict[str, Any]) -> str:
    said = "ok" if one["ok"] else f"NOT OK: {'; '.join(one['problems'])}"
    if one.get("frames"):
        said += f"; {words.many(one['frames'], 'frame')}, {one['rate']:g} a second, from {one['model']}"
    if one.get("temperature_c") is not None:
        said += f", {one['temperature_c']:.0f} °C"
    return f"{said} ({one['note']})" if one.get("note") else said
