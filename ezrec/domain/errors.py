"""The error tree. The class says what happens next; foreign errors are translated into it once, at the border.

    EzrecError
    ├── RetryError        try again later, as often as it takes (a network, a full disk)
    ├── ParkError         trying again cannot help: stop until a person says so
    ├── LeaveError        the process cannot go on: leave, systemd starts it again
    │   └── CameraStuck   a camera can only be freed by that
    ├── SettingsError     refused at start; names the key, the file and the remedy
    ├── AlreadyRunning    another recorder owns the data folder
    ├── BadBooking        a row from outside is malformed: say so once, skip it
    ├── BadMedia          a logo, an intro or a segment cannot be used: take the next rung
    ├── IndexOutgrown     a film's index does not fit its reserve: join again with a larger one
    └── IllegalStep       a step that the stage table does not hold; nothing was changed
"""


class EzrecError(Exception):
    """Base of every error that EZREC raises on purpose; its text is meant for people."""


class RetryError(EzrecError):
    """What failed may work later: it is tried again with growing, jittered delays, for ever."""


class CredentialError(RetryError):
    """A service refuses the credential, or this machine's clock is wrong; tried again, since both may be put right."""


class UploadGone(RetryError):
    """The storage no longer knows the unfinished upload: its object is complete, or it is begun again."""


class ParkError(EzrecError):
    """What failed cannot succeed by itself: the film waits, with this reason, for `films retry`."""


class LeaveError(EzrecError):
    """The process must end; the supervisor stops in order and exits with `status`."""

    status = 1


class CameraStuck(LeaveError):
    """A call on a camera never came back, or no camera can be brought to deliver: only a new process helps."""

    status = 3


class SettingsError(EzrecError):
    """The settings are not usable; the text names key, place and remedy."""


class AlreadyRunning(EzrecError):
    """A second recorder was started on a data folder that has one."""


class BadBooking(EzrecError):
    """A booking row from outside is malformed. `booking_id` is its id, where that much could be read."""

    def __init__(self, text: str, booking_id: str | None = None) -> None:
        super().__init__(text)
        self.booking_id = booking_id


class BadMedia(EzrecError):
    """A media file (segment, logo, intro) is missing or cannot be decoded."""


class IndexOutgrown(EzrecError):
    """A film has become too long for the space kept for its index; it was not closed and cannot be."""


class IllegalStep(EzrecError):
    """A film was asked to take a step that the stage table does not hold."""
