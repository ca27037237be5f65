"""The commands in the pages on installing, upgrading, taking over: each is run in the device (`make test-device`)."""

import re
from pathlib import Path

import pytest

from tests.device.scenario import RUN_FOR_DOCS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["install.md", "upgrading.md", "migrating.md"])
def test_each_command_of_the_page_is_run_in_the_device(page: str) -> None:
    blocks = re.findall(r"^ *```\n(.*?)^ *```", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    commands = [line.strip().removeprefix("sudo ") for block in blocks for line in block.splitlines() if line.strip()]
    assert commands
    for command in commands:
        assert re.sub(r"ezrec-[0-9.]+-py3", "ezrec-…-py3", command) in RUN_FOR_DOCS, command
