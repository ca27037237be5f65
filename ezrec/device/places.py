"""Where everything of an installed EZREC lies."""

from dataclasses import dataclass
from pathlib import Path

USER = "ezrec"
UNIT, TRIAL_UNIT = "ezrec.service", "ezrec-trial.service"
GROUPS = ("video", "render", "gpio", "systemd-journal")  # cameras, their memory, lamps and buttons, the unit's journal


@dataclass(frozen=True)
class Places:
    """Paths below a root folder: `/`, or the folder that a package is put together in ($DESTDIR)."""

    root: Path = Path("/")

    def at(self, path: str | Path) -> Path:
        """Where a path of the device lies below the root."""
        return self.root / Path(path).relative_to("/")

    @property
    def real(self) -> bool:
        """Whether this is a device, with users and units, and no folder for a package."""
        return self.root == Path("/")

    @property
    def base(self) -> Path:
        """All releases, and which one is used."""
        return self.at("/opt/ezrec-backend")

    @property
    def releases(self) -> Path:
        """A folder for each release."""
        return self.base / "releases"

    @property
    def current(self) -> Path:
        """A link to the release that is used."""
        return self.base / "current"

    @property
    def trial(self) -> Path:
        """What is known of an upgrade until it has proved itself."""
        return self.base / "trial"

    @property
    def outcome(self) -> Path:
        """What became of the last upgrade."""
        return self.base / "last-upgrade.json"

    @property
    def settings(self) -> Path:
        """Settings."""
        return self.at("/etc/ezrec/config.toml")

    @property
    def secrets(self) -> Path:
        """Secrets, a file each, where systemd looks for credentials."""
        return self.at("/etc/credstore")

    @property
    def data(self) -> Path:
        """The data folder, unless the settings name another one."""
        return self.at("/var/lib/ezrec")

    @property
    def logs(self) -> Path:
        """The log folder, unless the settings name another one."""
        return self.at("/var/log/ezrec")

    @property
    def units(self) -> Path:
        """The administrator's units."""
        return self.at("/etc/systemd/system")

    @property
    def drop_in(self) -> Path:
        """What the settings make of the unit: its folders."""
        return self.units / f"{UNIT}.d" / "folders.conf"

    @property
    def command(self) -> Path:
        """The command `ezrec`."""
        return self.at("/usr/local/bin/ezrec")
