"""`ezrec status` in words."""

from typing import Any

from ezrec.cli.status import _recorder
from ezrec.config import Settings

ROW: dict[str, Any] = {"pid": 1, "uptime_s": 60, "recording": False, "cameras": {}, "disk_free_mb": 20_600,
                       "written_mb_per_hour": None}


def test_what_an_hour_of_recording_writes_is_said_once_it_is_known() -> None:
    settings = Settings()
    assert dict(_recorder(ROW, settings))["disk    "] == "20600 MiB free, 2 h of recording"
    said = dict(_recorder(ROW | {"written_mb_per_hour": 10_400}, settings))["disk    "]
    assert said == "20600 MiB free, 2 h of recording; an hour of recording writes 10400 MiB to it"
