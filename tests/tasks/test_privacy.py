"""Folders of older versions are closed to strangers, and the library is opened to its group."""

import grp
import os
import stat
from pathlib import Path

import pytest

from ezrec.config import Settings
from ezrec.tasks import privacy


def modes(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): f"{stat.S_IMODE(path.lstat().st_mode):o}"
            for path in (root, *root.rglob("*")) if not path.is_symlink()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What an older version left."""
    root = tmp_path / "data"
    for name in ("films/r-1/film-1.mp4", "segments/1/left/5.ts", "library/2026-11-20/b.mp4", "ezrec.db", "ezrec.lock"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
        (root / name).chmod(0o644)
    for path in (root, *root.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    return root


def said(lines: list[dict[str, object]]) -> list[object]:
    return [line["event"] for line in lines]


class Log(list[dict[str, object]]):
    """What is logged."""

    def __getattr__(self, _level: str) -> object:
        return lambda event, **keys: self.append({"event": event} | keys)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    lines = Log()
    monkeypatch.setattr(privacy, "log", lines)
    return lines


def test_what_an_older_version_left_open_is_closed_and_that_is_said_once(data: Path, log: Log) -> None:
    elsewhere = data.parent / "elsewhere"
    elsewhere.touch()
    elsewhere.chmod(0o644)
    (data / "link").symlink_to(elsewhere)
    privacy.close_to_strangers(Settings(paths={"data": data}))
    assert set(modes(data).values()) == {"750", "640"}
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
    assert [(line["event"], line["count"]) for line in log] == [
        ("files and folders were open to others, closed now", 13)]
    log.clear()
    (data / "ezrec.db").chmod(0o600)  # closed further by its owner
    privacy.close_to_strangers(Settings(paths={"data": data}))
    assert log == []
    assert modes(data)["ezrec.db"] == "600"


def test_a_file_in_the_data_folder_itself_is_closed_though_the_folder_is(data: Path, log: Log) -> None:
    privacy.close_to_strangers(Settings(paths={"data": data}))
    (data / "ezrec.db").chmod(0o644)
    privacy.close_to_strangers(Settings(paths={"data": data}))
    assert modes(data)["ezrec.db"] == "640"
    assert len(log) == 2


def test_of_a_library_elsewhere_only_the_folder_is_closed(data: Path, log: Log) -> None:
    library = data.parent / "shared"
    (library / "other").mkdir(parents=True)
    for path in (library, library / "other"):
        path.chmod(0o755)
    privacy.close_to_strangers(Settings(paths={"data": data, "library": library}))
    assert modes(library) == {".": "750", "other": "755"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to any group")
def test_the_librarys_group_reads_films_and_nothing_else(data: Path, log: Log) -> None:
    group = grp.getgrnam("www-data")
    settings = Settings(paths={"data": data, "library_group": "www-data"})
    privacy.close_to_strangers(settings)
    of_group = {str(path.relative_to(data)) for path in (data, *data.rglob("*")) if path.stat().st_gid == group.gr_gid}
    assert of_group == {".", "library", "library/2026-11-20", "library/2026-11-20/b.mp4"}
    assert modes(data)["library"] == modes(data)["library/2026-11-20"] == "2750"
    (data / "library" / "2026-11-21").mkdir(0o750)
    assert (data / "library" / "2026-11-21").stat().st_gid == group.gr_gid
    log.clear()
    privacy.close_to_strangers(settings)
    assert log == []


def test_a_group_that_there_is_not_is_said_with_the_remedy(data: Path, log: Log) -> None:
    privacy.close_to_strangers(Settings(paths={"data": data, "library_group": "no-such-group"}))
    assert log[-1]["event"] == "library is not shared: there is no such group"
    assert "groupadd no-such-group" in str(log[-1]["hint"])
