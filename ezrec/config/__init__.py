"""Settings: TOML, the environment and `.env` in, one frozen and checked `Settings` out.

`load` reads and refuses; `sections` holds every key with its default, unit and range; `places` knows where values
come from, the documents' environment names among them.
"""

from ezrec.config.loading import load
from ezrec.config.sections import LogoFile, Settings

__all__ = ["LogoFile", "Settings", "load"]
