"""Who holds the cameras, read from a made-up /proc and from the real one."""

import os
from pathlib import Path

import pytest

from ezrec.adapters.cameras.pi.holders import Holder, holders, words_for


def process(proc: Path, pid: int, command: str, devices: list[str], group: str = "0::/") -> None:
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    for number, device in enumerate(["/dev/null", *devices]):
        (folder / "fd" / str(number)).symlink_to(device)
    (folder / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
    (folder / "cgroup").write_text(group + "\n")


def test_processes_with_a_video_or_media_device_are_named_with_their_unit(tmp_path: Path) -> None:
    process(tmp_path, 31, "/usr/bin/wireplumber", ["/dev/video0", "/dev/media2"],
            "0::/user.slice/user-1000.slice/user@1000.service/session.slice/wireplumber.service")
    process(tmp_path, 7, "/usr/bin/motion -b", ["/dev/video1"], "0::/system.slice/motion.service")
    process(tmp_path, 8, "/bin/sh", ["/dev/video"])
    process(tmp_path, 9, "/usr/bin/ezrec run", ["/dev/video0"])
    (tmp_path / "meminfo").write_text("")
    assert holders(tmp_path, own=9) == [
        Holder(7, "/usr/bin/motion -b", "motion.service", ("/dev/video1",)),
        Holder(31, "/usr/bin/wireplumber", "wireplumber.service", ("/dev/media2", "/dev/video0"), True),
    ]


@pytest.mark.parametrize(("holder", "remedy"), [
    (Holder(1, "/usr/bin/pipewire", "pipewire.service", (), True),
     "systemctl --user mask --now pipewire.socket pipewire.service"),
    (Holder(1, "/usr/bin/motion -b", "motion.service", ()), "sudo systemctl disable --now motion.service"),
    (Holder(1, "python -m ezrec run", "ezrec.service", ()),
     "another EZREC runs: stop it (sudo systemctl stop ezrec.service)"),
    (Holder(1, "rpicam-vid -t 0", "session-3.scope", ()), "kill 1"),
    (Holder(1, "cam", "court.service", (), True), "systemctl --user stop court.service"),
])
def test_each_holder_comes_with_what_makes_it_let_go(holder: Holder, remedy: str) -> None:
    assert holder.remedy == remedy


def test_what_is_said_names_process_device_and_remedy() -> None:
    assert words_for([Holder(7, "motion", "motion.service", ("/dev/video1",))]) == (
        "process 7 (motion, unit motion.service) holds /dev/video1: sudo systemctl disable --now motion.service")
    assert "No process of this user is seen" in words_for([])


def test_the_real_proc_is_read_without_trouble() -> None:
    assert all(one.pid != os.getpid() for one in holders())
