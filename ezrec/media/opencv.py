"""OpenCV, loaded when it is first used: it takes 15 MB, and the recorder's own process never draws.

Use: `from ezrec.media import opencv as cv2` in a module that the recorder imports. Nothing of it may be asked for while
such a module is imported.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """What OpenCV has by this name (PEP 562)."""
    return getattr(importlib.import_module("cv2"), name)
