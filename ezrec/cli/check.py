"""`ezrec check`: whether what the recorder needs is there and works."""

import logging
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ezrec import logs
from ezrec.actions import state as state_file
from ezrec.cli import words
from ezrec.cli.cloud import check_cloud, quiet
from ezrec.cli.settings import CommandContext, check_store, data_folder, show_json
from ezrec.config import Settings, exposed
from ezrec.config.doubts import doubts, key_risk
from ezrec.domain.clock import SECOND, SystemClock
from ezrec.domain.errors import AlreadyRunning, CameraLost, EzrecError, StoreMissing
from ezrec.files import verdict
from ezrec.folders import DataFolder, DataLock

TRY_S = 4.0  # for two key frames; a camera starts within one second
SHORTEST_S, LONGEST_S = 2.0, 600.0  # of a film that is made to see whether it can be
LIMIT_S = 30.0  # for both cameras together, whatever they do
VERDICTS = {"ok": "ok      ", "warning": "warning ", "bad": "NOT OK  "}
UNKNOWN: dict[str, Any] = {  # of a camera that gave nothing
    "ok": False, "problems": [], "model": None, "note": "", "frames": 0, "missing": 0, "rate": None, "brightness": None,
    "sharpness": None, "likeness": None, "temperature_c": None, "picture": None}


def check(
    context: typer.Context,
    cameras: Annotated[bool, typer.Option(
        "--cameras", help="Start both cameras, judge and save a picture of each.")] = False,
    cloud: Annotated[bool, typer.Option(
        "--cloud", help="Ask the Supabase project what it would not take, and what is open to strangers.")] = False,
    record: Annotated[str | None, typer.Option(
        "--record", metavar="LENGTH", help="Make a film of both cameras, e.g. 10s, and say what it holds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    reference: Annotated[bool, typer.Option(
        "--reference", help="Keep the pictures as what the cameras should see; later pictures are compared.")] = False,
) -> None:
    """Look at everything that a court's recordings depend on; of each thing a verdict, and what helps.

    Settings, versions, folders, the disk's room and speed, cameras and who holds them, heat, supply, clock, systemd's
    unit, the Supabase project (with SQL that puts it right) and the storage (a probe, of which nothing stays). It works
    beside the recorder, whose cameras are judged by their frames. Each look has a limit in time.

    With `--cameras` the cameras instead: whether frames flow and what they show. With `--record 10s` a real film of
    them, into a folder of its own. With `--cloud` the project alone. Exit status 0 only if nothing is NOT OK. Stop the
    recorder before `--cameras` and `--record`: one process has the cameras.

    Examples: `ezrec check`, and `ezrec check --cameras --reference` after the cameras were mounted and focused.
    """
    command: CommandContext = context.obj
    settings = command.load()
    if sum(map(bool, (cloud, cameras or reference, record is not None))) > 1:
        raise typer.BadParameter("--cloud, --cameras and --record are checks of their own: give one of them")
    if reference and not cameras:
        raise typer.BadParameter("--reference keeps what --cameras sees: give both")
    if record is not None:
        raise typer.Exit(0 if _film(command, settings, record, as_json=as_json) else 1)
    if cloud:
        raise typer.Exit(0 if check_cloud(settings, as_json=as_json) else 1)
    if cameras:
        raise typer.Exit(0 if _cameras(command, settings, keep=reference, as_json=as_json) else 1)
    quiet(settings)
    surroundings = look_around(settings, data_folder(settings))
    _add_exposed(surroundings, exposed(command.config))
    if as_json:
        show_json(surroundings)
    else:
        tell_surroundings(surroundings)
    _leave(1 if surroundings["problems"] else 0, hangs=surroundings["hangs"])


def _cameras(command: CommandContext, settings: Settings, *, keep: bool, as_json: bool) -> bool:
    """Start the cameras, and say how they are; whether they are fine."""
    from ezrec import files  # noqa: PLC0415 - what commands without cameras do not need

    folder = data_folder(settings, written=True)
    logs.register_secrets(settings)
    logs.set_up("error", folder.logs, stream=sys.stderr)
    logging.getLogger("picamera2").setLevel(logging.CRITICAL)  # its errors stand in what is found
    files.make_folders(folder.root)
    try:
        with DataLock(folder):
            found = look(settings, folder, keep=keep)
            found["doubts"] = exposed(command.config)
    except AlreadyRunning as error:
        raise EzrecError(f"the cameras cannot be tried while they are used: {error}{_as_the_recorder_says(folder)}") \
            from error
    finally:
        logs.shut_down()
    if as_json:
        show_json(found)
    else:
        tell(found)
    return not found["problems"] and all(one["ok"] for one in (found["disk"], *found["cameras"].values()))


def _film(command: CommandContext, settings: Settings, length: str, *, as_json: bool) -> bool:
    from ezrec.cli.bookings import span  # noqa: PLC0415
    from ezrec.cli.record import record  # noqa: PLC0415 - loads the recorder

    seconds = span(length) / SECOND
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise typer.BadParameter(f"--record takes {SHORTEST_S:g}s to {LONGEST_S / 60:g}m")
    return record(command, data_folder(settings, written=True), seconds, as_json=as_json)


def look_around(settings: Settings, folder: DataFolder) -> dict[str, Any]:
    """Everything but starting the cameras, as JSON-able values; `problems` keep the recorder from its work.

    Nothing is made that stays.
    """
    from ezrec.actions import checks  # noqa: PLC0415 - what other commands do not need
    from ezrec.actions.checks.every import EVERY  # noqa: PLC0415

    seen, hangs = checks.see_all(EVERY, checks.Surroundings(
        settings, folder, state_file.read(folder, SystemClock().wall_us()),
        unusable=lambda: _folder_problems(folder, checks.there(folder.root)), describe=lambda: _described(settings)))
    found: dict[str, Any] = {
        "source": settings.cameras.source, "data": str(folder.root), "timezone": settings.site.timezone, "disk": None,
        "checks": [{"about": one.about, "verdict": str(one.grade), "seen": one.words, "remedy": one.remedy}
                   for one in seen],
        "problems": [one.problem for one in seen if one.grade is checks.Grade.BAD],
        "doubts": [*doubts(settings), *filter(None, [key_risk(settings)])], "hangs": hangs}
    for one in seen:
        found |= one.facts
    return found


def _add_exposed(found: dict[str, Any], secrets: list[str]) -> None:
    """Say which files with secrets are open to others."""
    found["doubts"] += secrets
    found["checks"] += [{"about": "secrets", "verdict": "warning", "seen": seen, "remedy": remedy}
                        for seen, _, remedy in (one.rpartition(": ") for one in secrets)]


def _leave(status: int, *, hangs: bool) -> NoReturn:
    """End the command; a look that hangs does not keep it from ending."""
    if hangs:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)
    raise typer.Exit(status)


def _folder_problems(folder: DataFolder, there: Path) -> list[str]:
    """What keeps this user from the data folder; `there` is the part of its path that exists."""
    try:
        if there == folder.root:
            check_store(folder, create=True)
        elif not there.is_dir():
            return [f"the data folder {folder.root} cannot be made: {there} is a file"]
        elif not os.access(there, os.W_OK | os.X_OK):
            return [f"the data folder {folder.root} cannot be made: this user cannot write to {there}"]
    except StoreMissing as error:
        return [str(error)]
    except OSError as error:
        return [str(verdict(error, "use the data folder"))]
    return []


def _too_small(settings: Settings) -> list[str]:
    from ezrec.tasks.capacity import too_small  # noqa: PLC0415

    return too_small(settings)


def _described(settings: Settings) -> dict[str, Any]:
    """Which cameras are there. Raises SettingsError without their software, CameraLost if they cannot be listed."""
    if settings.cameras.source == "picamera2":
        from ezrec.adapters.cameras.pi.factory import must_be_here  # noqa: PLC0415

        must_be_here()
    from ezrec.factories import describe_cameras  # noqa: PLC0415

    return describe_cameras(settings)


def tell_surroundings(found: dict[str, Any]) -> None:
    """Say it to people: what is fine first, what needs somebody last, where it is read."""
    rows: list[tuple[str, str] | str] = []
    for grade, label in VERDICTS.items():
        for one in found["checks"]:
            if one["verdict"] == grade:
                rows.append((label, f"{one['about']}: {one['seen']}"))
                rows += [("  remedy", one["remedy"])] if one["remedy"] else []
    words.sentences(words.console(), [*rows, "`ezrec check --cameras` tries the cameras as well.",
                                      "`ezrec check --record 10s` makes a film with them."])


def _as_the_recorder_says(folder: DataFolder) -> str:
    """How a running recorder says its cameras are."""
    state = state_file.read(folder, SystemClock().wall_us())
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
    return {"source": settings.cameras.source, "problems": _too_small(settings),
            "machine": _machine(folder.root), "disk": _disk(folder.root),
            "holders": held, **describe_cameras(settings),
            "cameras": {camera.name: results.get(camera.name, hung) for camera in made}}


def _machine(data: Path) -> dict[str, Any]:
    """What the machine says of itself that cameras suffer from."""
    from ezrec.adapters.metrics import Meter  # noqa: PLC0415

    now = Meter(data, SystemClock()).measure()
    return {"temperature_c": now.temperature_c, "throttled": now.throttled, "disk_free_mb": now.disk_free_mb}


def _disk(data: Path) -> dict[str, Any]:
    """How long syncs take on the data folder's disk, and whether that keeps what is promised of a power cut."""
    from ezrec.adapters import syncing  # noqa: PLC0415

    try:
        longest_us = max(syncing.measure(data))
    except OSError as error:
        return {"ok": False, "sync_ms": None, "problems": [f"cannot be written: {error.strerror or error}"]}
    ok = longest_us <= syncing.LONGEST_S * SECOND
    return {"ok": ok, "sync_ms": longest_us // 1000,
            "problems": [] if ok else [f"{syncing.too_slow(longest_us)}: {syncing.REMEDY}"]}


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
    if "disk" in found:
        rows.append(("disk    ", _disk_words(found["disk"])))
    if "software" in found:
        rows.append(("software", ", ".join(f"{name} {version}" for name, version in found["software"].items())))
        rows += [("found   ", f"{at}: {one}") for at, one in enumerate(found["found"])]
    rows += [("held by ", one["words"]) for one in found["holders"]]
    rows += [("note    ", one) for one in found.get("doubts", ())]
    rows += [("NOT OK  ", one) for one in found.get("problems", ())]
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


def _disk_words(disk: dict[str, Any]) -> str:
    if not disk["ok"]:
        return f"NOT OK: {'; '.join(disk['problems'])}"
    return f"ok; a sync takes {disk['sync_ms']} ms at most"


def _sentence(one: dict[str, Any]) -> str:
    said = "ok" if one["ok"] else f"NOT OK: {'; '.join(one['problems'])}"
    if one.get("frames"):
        said += f"; {words.many(one['frames'], 'frame')}, {one['rate']:g} a second, from {one['model']}"
    if one.get("temperature_c") is not None:
        said += f", {one['temperature_c']:.0f} °C"
    return f"{said} ({one['note']})" if one.get("note") else said
