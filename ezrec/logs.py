"""The log: one line of JSON for each event, to stdout for the journal and to a rotating file in the log folder.

Events are short lower-case sentences that never change; what they are about goes into keys, whose names stand below.
A log line names its file: the key `task` is the asyncio task's name and the name of the module it lives in.

Limits: logging never raises, never holds the program up and never shows a secret. A line that cannot be written (full
disk, closed pipe, a reader that stands still) is dropped and counted; the count is told with the next line that can.
One process writes the log file; workers log to stdout only.
"""

import contextlib
import errno
import json
import logging
import logging.handlers
import os
import queue
import re
import select
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol, cast
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ezrec.domain.showing import visible, visible_json, visible_lines

AT = "at"  # ISO 8601, UTC, µs
LEVEL = "level"
EVENT = "event"
TASK = "task"
BOOKING = "booking"
CAMERA = "camera"
FILM = "film"
RUN = "run"
SEGMENT = "segment"
CHUNK = "chunk"
PART = "part"
STAGE = "stage"
GENERATION = "generation"
REASON = "reason"
LOGGER = "logger"  # of lines from other people's code

FILE_NAME = "ezrec.log"
ROOT = "ezrec"  # everything of ours logs below it; others are heard from "info" upwards only
CHATTY = ("httpx",)  # heard from "warning" upwards: a line for each request, which is one every few seconds
MASK = "********"
SHORTEST_SECRET = 4  # characters; masking shorter ones would make the log unreadable
DEEPEST = 6  # levels of nested values that are written out
QUEUED = 10_000  # lines waiting for the log file before lines are dropped
ATOMIC = 4096  # bytes: what a pipe that polls as writable takes without blocking (PIPE_BUF, pipe(7))
GOODBYE_S = 2.0  # how long the last lines may take to reach the log file
MOST_WORDS = 20  # in which one trouble is said while it lasts: an error may hold a number that is never the same
LONGEST_ERROR = 500  # characters of the last error that are remembered

PATTERNS = (
    r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"  # JSON Web Token, RFC 7519
    r"|sb_secret_[\w-]+"  # Supabase secret key
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS access key id
    r"|(?<=X-Amz-Signature=)[0-9a-fA-F]+|(?<=X-Amz-Security-Token=)[^&\s\"']+"  # presigned URL
    r"|(?<![\w/+])(?=[\w/+]*[A-Z])(?=[\w/+]*[0-9])(?=[\w/+]*[g-z])[A-Za-z0-9+][A-Za-z0-9/+]{39}(?![\w/+=])"
    # ^ AWS secret access key: 40 characters of base64, and not a SHA-1 or a path
)


class HasSecrets(Protocol):
    """Settings, as far as the log cares."""

    def secret_values(self) -> list[str]:
        """Texts that must never be shown."""


class _Secrets:
    """What is masked: registered texts, in every spelling they may turn up in, and what looks like a key."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._pattern = re.compile(PATTERNS)

    def add(self, values: list[str]) -> None:
        with self._lock:
            for value in values:
                spellings = {value, *value.splitlines(), quote(value, safe=""), quote(value), quote_plus(value),
                             repr(value)[1:-1], repr(value.encode())[2:-1], json.dumps(value)[1:-1]}
                self._known |= {spelling for spelling in spellings if len(spelling) >= SHORTEST_SECRET}
            known = sorted(self._known, key=len, reverse=True)  # the longest first: one may begin with another
            self._pattern = re.compile("|".join([*map(re.escape, known), PATTERNS]))

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text)


_secrets = _Secrets()


def register_secrets(settings: HasSecrets) -> None:
    """Never show the secrets of `settings` in any line from now on, whatever it is about."""
    _secrets.add(settings.secret_values())


def masked(text: str) -> str:
    """`text` with every registered secret in it masked, and whatever looks like a key."""
    return _secrets.mask(text)


def get(task: str) -> structlog.stdlib.BoundLogger:
    """The logger of a task; may be made before `set_up` and kept."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(f"{ROOT}.{task}", **{TASK: task}))


class Troubles:
    """What is wrong at the moment: said once, forgotten when it is well again, and that is said too.

    What comes back is said again. Each trouble is `about` something, which may go wrong in several words in turn.
    """

    def __init__(self, log: structlog.stdlib.BoundLogger) -> None:
        self.log = log
        self._said: dict[object, set[str]] = {}

    def say(self, about: object, event: str, error: str, *, level: str = "warning", **data: object) -> bool:
        """`about` is in trouble, and `error` says how: logged unless that was said since it was last well."""
        said = self._said.setdefault(about, set())
        if error in said or len(said) >= MOST_WORDS:
            return False
        said.add(error)
        getattr(self.log, level)(event, error=error, **data)
        return True

    def over(self, about: object, event: str, **data: object) -> bool:
        """`about` is well: logged if it was in trouble."""
        if self._said.pop(about, None) is None:
            return False
        self.log.info(event, **data)
        return True

    def standing(self) -> list[object]:
        """What is in trouble now."""
        return list(self._said)

    def __bool__(self) -> bool:
        """Whether anything is in trouble."""
        return bool(self._said)


def _stamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event[AT] = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return event


def _name_stranger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Lines of the standard library's logging say which logger they came from."""
    record = event.get("_record")
    if record is not None:
        event[LOGGER] = record.name
    return event


def _plain(value: object, depth: int = 0) -> Any:
    """`value` as JSON can hold it, with every secret masked."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return _secrets.mask(value)
        case float():
            return value if abs(value) != float("inf") and value == value else str(value)  # noqa: PLR0124 -- NaN
        case Mapping() if depth < DEEPEST:
            return {_secrets.mask(str(key)): _plain(inner, depth + 1) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset() if depth < DEEPEST:
            return [_plain(inner, depth + 1) for inner in value]
        case _:
            return _secrets.mask(_words(value))


def _words(value: object) -> str:
    try:
        return repr(value) if isinstance(value, bytes | Mapping | list | tuple | set | frozenset) else str(value)
    except Exception as error:  # noqa: BLE001 -- somebody's __str__ may raise anything; logging must not
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last step before a line is made: plain values only, secrets masked, `at level task event` in front."""
    plain = {_secrets.mask(str(key)): _plain(value) for key, value in event.items()}
    first = {key: plain.pop(key) for key in (AT, LEVEL, TASK, EVENT) if key in plain}
    return first | plain


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return visible_json(json.dumps(event, ensure_ascii=False))


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    _stamp,
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
]


def _formatter(last: Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_SHARED, _name_stranger],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _mask, last],
    )


def _lost_line(formatter: logging.Formatter | None, lost: int) -> str:
    words = f"{lost} log lines could not be written"
    record = logging.makeLogRecord(
        {"name": ROOT, "levelno": logging.WARNING, "levelname": "WARNING", "msg": words})
    return (formatter or logging.Formatter()).format(record)


class StreamLines(logging.Handler):
    """Writes each line with one write, at once, past the stream's buffer; drops what would have to wait."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__()
        self._stream = stream
        self._fd: int | None = None
        self._poll = select.poll()
        with contextlib.suppress(OSError, ValueError):  # a stream in memory has no file descriptor
            self._fd = stream.fileno()
            self._poll.register(self._fd, select.POLLOUT)
        self._torn = False  # the last line was cut in the middle
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; never raises, never waits."""
        try:
            line = self.format(record)
            if self._lost:
                self._write(_lost_line(self.formatter, self._lost))
                self._lost = 0
            self._write(line)
        except Exception:  # noqa: BLE001 -- a log line that cannot be made or written must not end anything
            self._lost += 1

    def _write(self, line: str) -> None:
        if self._fd is None:
            self._stream.write(line + "\n")
            return
        data = ("\n" * self._torn + line + "\n").encode("utf-8", "backslashreplace")
        written = 0
        while written < len(data):
            if not self._poll.poll(0):
                self._torn = self._torn or written > 0
                raise BlockingIOError
            # Almost every line fits; a longer one goes in pieces that are sure not to block.
            written += os.write(self._fd, data[written:written + ATOMIC])
        self._torn = False


class FileLines(logging.handlers.RotatingFileHandler):
    """The rotating file; after a failed write it begins afresh, so that it heals when the disk does."""

    failed = False
    within: Path | None = None  # the log folder is made only where this folder exists

    def put(self, record: logging.LogRecord) -> bool:
        """Write one line; False if it could not be written."""
        self.failed = False
        self.handle(record)
        return not self.failed

    def _open(self) -> Any:
        if self.within is not None and not self.within.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no log file without its data folder", str(self.within))
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 -- the standard library's name
        """Drop the line and the stream, whose buffer still holds it."""
        self.failed = True
        stream, self.stream = self.stream, cast("Any", None)
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.close()


class _Entrance(logging.handlers.QueueHandler):
    """Makes the line at once and leaves the writing to another thread: an SD card may stand still for seconds."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 -- the standard library's name
        self.lost += 1


class _File:
    """The log file and the thread that writes it."""

    def __init__(self, folder: Path, file_bytes: int, files: int, within: Path | None) -> None:
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUED)
        self._handler = FileLines(folder / FILE_NAME, maxBytes=file_bytes, backupCount=files - 1, encoding="utf-8",
                                  errors="backslashreplace", delay=True)
        self._handler.within = within
        self.entrance = _Entrance(self._lines)
        self.entrance.setFormatter(_formatter(_to_json))
        self._thread = threading.Thread(target=self._write, name="log file", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        reported = lost = 0  # lines lost in the queue that were told of; lines lost that were not
        while (record := self._lines.get()) is not None:
            lost, reported = lost + self.entrance.lost - reported, self.entrance.lost
            if lost:
                notice = logging.makeLogRecord({"msg": _lost_line(self.entrance.formatter, lost)})
                lost = 0 if self._handler.put(notice) else lost
            lost += not self._handler.put(record)
        self._handler.close()

    def close(self) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=GOODBYE_S)
        self._thread.join(GOODBYE_S)


@dataclass(frozen=True)
class LastError:
    """The newest line of level error or worse, in words, with its secrets masked."""

    text: str
    at: datetime  # UTC


class _Errors(logging.Handler):
    """Remembers the last error logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(_formatter(_in_words))
        self.last: LastError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Remember one line; never raises."""
        with contextlib.suppress(Exception):  # a line that cannot be made is nothing to remember
            self.last = LastError(self.format(record)[:LONGEST_ERROR], datetime.fromtimestamp(record.created, UTC))


def _in_words(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """`task: event (key=value, …): what was raised`, on one line."""
    front = [str(event[key]) for key in (TASK, LOGGER) if event.get(key)]
    data = ", ".join(f"{key}={value}" for key, value in event.items()
                     if key not in (AT, LEVEL, TASK, LOGGER, EVENT, "exception", "stack") and value is not None)
    raised = str(event.get("exception") or "").strip().splitlines()[-1:]
    return visible(" ".join(": ".join([*front, f"{event.get(EVENT)}{f' ({data})' if data else ''}", *raised]).split()))


class _State:
    """What `set_up` put in place, for `shut_down`."""

    handlers: tuple[logging.Handler, ...] = ()
    file: _File | None = None
    errors: _Errors | None = None


def set_up(
    level: str,
    folder: Path | None,
    *,
    file_bytes: int = 10 << 20,
    files: int = 5,
    stream: IO[str] | None = None,
    within: Path | None = None,
) -> None:
    """Send all logging, the standard library's and warnings too, to stdout and to `folder`/ezrec.log.

    Args:
        level: debug, info, warning or error; the least that is logged.
        folder: where the log file goes; made if it is not there. None: no file (workers, commands).
        file_bytes: size at which a new file is begun.
        files: how many files are kept, the one being written included.
        within: the log folder is made only while this folder exists; a disk that is not mounted is not written beside.
        stream: in stdout's place. On a terminal the lines are for people.
    """
    shut_down()
    out: IO[str] | None = sys.stdout if stream is None else stream
    handlers: list[logging.Handler] = []
    if out is not None:  # it is None where the process was started with its stdout closed
        handlers.append(StreamLines(out))
        handlers[0].setFormatter(_formatter(_for_people() if out.isatty() else _to_json))
    if folder is not None:
        _State.file = _File(folder, file_bytes, files, within)
        handlers.append(_State.file.entrance)
    _State.errors = _Errors()
    handlers.append(_State.errors)
    _State.handlers = tuple(handlers)
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(max(number, logging.INFO))
    logging.getLogger(ROOT).setLevel(number)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def last_error() -> LastError | None:
    """The last error that was logged since `set_up`; None if there was none."""
    return _State.errors.last if _State.errors else None


def _for_people() -> Processor:
    render = structlog.dev.ConsoleRenderer(timestamp_key=AT, exception_formatter=structlog.dev.plain_traceback)
    several_lines = ("exception", "stack")

    def rendered(logger: WrappedLogger, method: str, event: EventDict) -> str:
        shown = {visible(key): visible_lines(value) if key in several_lines and isinstance(value, str) else
                 _shown(value) for key, value in event.items()}
        return str(render(logger, method, shown))

    return rendered


def _shown(value: Any) -> Any:
    """A plain value with nothing in it that a terminal would obey."""
    match value:
        case str():
            return visible(value)
        case dict() | list():
            return visible(str(value))
        case _:
            return value


def shut_down() -> None:
    """Write what waits for the log file and let go of all of it. Harmless if nothing was set up."""
    root = logging.getLogger()
    for handler in _State.handlers:
        root.removeHandler(handler)
        handler.close()
    if _State.file is not None:
        _State.file.close()
    if _State.handlers:
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
    _State.handlers, _State.file, _State.errors = (), None, None
