"""The error tree. The class says what happens next; foreign errors are translated into it once, at the border.

    EzrecError
    ├── RetryError            try again later, as often as it takes (a network, a full disk)
    │   ├── CredentialError   the same; the credential or this machine's clock may be put right
    │   ├── FilmAway          a film's file cannot be read: a disk may come back, or the film is made again
    │   ├── UploadGone        the storage forgot the upload: look whether its object is complete, or begin again
    │   ├── SegmentFailed     a segment was not written: the writer goes on with the next one
    │   └── FootageAway       footage is missing or the disk fails: wait a while, then go on without it
    ├── ParkError             trying again soon cannot help: stop, and tell it; see `passing`
    │   ├── OtherObject       another object lies at the film's key
    │   └── Refused           Supabase's word for it, with its code
    ├── LeaveError            the process cannot go on: leave, systemd starts it again
    │   ├── FolderGone        the data folder went away
    │   ├── StoreDamaged      the store's file is damaged: the next process salvages it
    │   └── CameraStuck       a camera can only be freed by that
    ├── RowUnreadable         a row of the store cannot be true: its reader fails, the next process leaves it out
    ├── CameraLost            the camera is not there or has gone: its lane tries again
    ├── WorkerDied            a call's worker is gone: one attempt of the call is used up
    │   └── WorkerHung        it was killed because it did not answer: another film's turn
    ├── PoolClosed            the process is leaving: nothing is wrong with the call
    ├── SettingsError         refused at start; names the key, the file and the remedy
    ├── StoreMissing          a command found no store it may use
    ├── AlreadyRunning        another recorder owns the data folder
    ├── BadBooking            a row from outside is malformed: say so once, skip it
    ├── BadMedia              a logo, an intro or a segment cannot be used: take the next rung
    │   ├── ChunkDamaged      a chunk is not what was rendered, and nothing of it was joined: render it again
    │   └── IntroLost         the intro that a film began with: begin the film again without it
    ├── FilmDamaged           a film's file is gone or not what was written: the film is made again from its footage
    ├── FootageGone           no camera's footage of a time can be read: cut that time out
    ├── IndexOutgrown         a film's index does not fit its reserve: begin it again with a larger one
    └── IllegalStep           a step that the stage table does not hold; nothing was changed
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ezrec.domain.loss import Loss


class EzrecError(Exception):
    """Base of every error that EZREC raises on purpose; its text is meant for people."""


class RetryError(EzrecError):
    """What failed may work later: it is tried again with growing, jittered delays.

    `after_s`: who refused asked not to be called again before so many seconds are over.
    """

    def __init__(self, *text: object, after_s: float = 0.0) -> None:
        super().__init__(*text)
        self.after_s = after_s


class CredentialError(RetryError):
    """A service refuses the credential, or this machine's clock is wrong; tried again, since both may be put right."""


class UploadGone(RetryError):
    """The storage no longer knows the unfinished upload: its object is complete, or it is begun again."""


class FilmAway(RetryError):
    """A film's file cannot be read at the moment; if that stays so, it counts as `FilmDamaged`."""


class SegmentFailed(RetryError):
    """A segment could not be written or sealed. `left` is the file that lies there without a row, if one does."""

    def __init__(self, text: str, left: Path | None = None) -> None:
        super().__init__(text)
        self.left = left


class FootageAway(RetryError):
    """Footage is missing or its disk fails: either may come back."""


class ParkError(EzrecError):
    """What failed is told at once, and the film waits with this reason for `films retry`.

    `passing`: somebody else may put it right (a quota, a permission, a schema that is being loaded), so that it is also
    tried again by itself, slowly. Otherwise it depends on what is here, and nothing changes until a person acts.
    """

    def __init__(self, *text: object, passing: bool = False) -> None:
        super().__init__(*text)
        self.passing = passing


class OtherObject(ParkError):
    """The storage holds other bytes at the film's key; they were left alone."""


class Refused(ParkError):
    """The project refuses a call. `code`: PostgREST's own, or an SQLSTATE; `column`: one that is not known, if any."""

    def __init__(self, text: str, code: str, column: str | None, *, passing: bool = False) -> None:
        super().__init__(text, passing=passing)
        self.code = code
        self.column = column


class LeaveError(EzrecError):
    """The process must end; the supervisor stops in order and exits with `status`."""

    status = 1


class CameraStuck(LeaveError):
    """A call on a camera never came back, or no camera can be brought to deliver: only a new process helps."""

    status = 3


class FolderGone(LeaveError):
    """The data folder, or the store in it, is not the one any more that was opened; a new process waits for the folder,
    or makes another, and saves what can be read of the store.
    """


class StoreDamaged(LeaveError):
    """The store's file is damaged: a new process puts it aside and saves what can be read."""


class RowUnreadable(EzrecError):
    """A row of the store cannot be what was written. Whoever needs it fails; a new process leaves it out."""


class CameraLost(EzrecError):
    """The camera cannot be opened or started, or has gone; the recorder tries again later."""


class WorkerDied(EzrecError):
    """The worker of a call died before it answered: what the call did is unknown, and it may be made again."""


class WorkerHung(WorkerDied):
    """The worker of a call did not answer within the call's limit, and was killed."""


class PoolClosed(EzrecError):
    """The pool was closed before the call ended; nothing is wrong with the call, so it does not count as an attempt."""


class StoreMissing(EzrecError):
    """A command looked for the store of a recorder that has never run here, or may not use the one it found."""


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


class ChunkDamaged(BadMedia):
    """A chunk's file is gone or not what was rendered; the film that it belongs to is as it was."""


class IntroLost(BadMedia):
    """The intro that a film began with cannot be joined any more."""


class FilmDamaged(EzrecError):
    """A film's file is gone, too short, or does not hold what was written into it."""


class FootageGone(EzrecError):
    """A time that was planned cannot be shown: no camera's footage of it can be read. `losses` says what is lost."""

    def __init__(self, losses: "Sequence[Loss]") -> None:
        super().__init__(losses)  # all that is needed to make it again, on its way out of a worker
        self.losses = losses

    def __str__(self) -> str:
        from ezrec.domain.loss import in_words  # noqa: PLC0415 - every worker imports this module

        return in_words(self.losses)


class IndexOutgrown(EzrecError):
    """A film has become too long for the space kept for its index; it was not closed and cannot be."""


class IllegalStep(EzrecError):
    """A film was asked to take a step that the stage table does not hold."""
