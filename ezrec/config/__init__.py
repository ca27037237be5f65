"""Settings: TOML, the environment and `.env` in, one frozen and checked `Settings` out.

`load` reads and refuses; `exposed` tells of files with secrets that others may read; `sections` holds every key with
its default, unit and range; `places` knows where values come from, the documents' environment names among them.
"""

from ezrec.config.loading import load
from ezrec.config.secrecy import exposed
from ezrec.config.sections import LogoSettings, Settings

__all__ = ["LogoSettings", "Settings", "exposed", "load"]
