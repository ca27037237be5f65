"""Whether a store's write-ahead log (-wal) has lost commits, which SQLite does not say.

SQLite reads a log up to the first frame that is not whole, and takes what was committed until there for all there is:
a power cut may have torn the last commit. Here each commit is on the disk before the next one begins
(synchronous=FULL), and the log's header before its first frame. So a header that is not whole, or several commits
behind the frame where SQLite stopped, mean that the log came to harm: the store has gone back in time.

Limits: a log that was cut short or deleted looks like one that never was longer.
Formats: https://www.sqlite.org/fileformat2.html#walformat and https://www.sqlite.org/walformat.html.
"""

import os
import struct
import sys
from pathlib import Path

HEADER, FRAME = 32, 24  # bytes in front of the first frame, and in front of a frame's page
MAGIC, VERSION = 0x377F0682, 3007000  # the magic's lowest bit: checksums over big-endian words
LAST_FRAME_AT = 16  # in the log's index: the number of frames that SQLite takes for whole
SALTS_AT = 32  # in the log's index: which round of the log it is about
TORN = 1  # commits that a power cut may spoil


def harm_to_log(store: Path) -> str | None:
    """What is wrong with the log of the store at `store`, in words; None if nothing is.

    Something must have been read from the store before, because SQLite writes the log's index then. It must not be open
    in this process: closing a file here drops SQLite's locks on it, and whoever opens the store next takes the index
    for a left-over and cuts it. Blocks.

    Raises:
        OSError: the disk does not give them.
    """
    log, index = (store.with_name(store.name + ending) for ending in ("-wal", "-shm"))
    try:
        handle = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(handle).st_size <= HEADER + FRAME:
            return None
        header = os.pread(handle, HEADER, 0)
        if not _is_whole(header):
            return f"the header of {log.name} is damaged"
        commits = _commits(handle, header)
        read = index.read_bytes()
        if read[SALTS_AT:SALTS_AT + 8] != header[16:24]:
            return None  # the recorder begins the log anew at this very moment
        last = int.from_bytes(read[LAST_FRAME_AT:LAST_FRAME_AT + 4], sys.byteorder)
    except FileNotFoundError:  # a store that is not in this mode has no index
        return None
    finally:
        os.close(handle)
    lost = sum(number > last for number in commits)
    return f"{log.name} is damaged: {lost} commits are lost" if lost > TORN else None


def _is_whole(header: bytes) -> bool:
    magic, version = struct.unpack_from(">2I", header)
    words = struct.unpack(f"{'>' if magic & 1 else '<'}6I", header[:24])
    one = other = 0
    for at in range(0, 6, 2):
        one = (one + words[at] + other) & 0xFFFFFFFF
        other = (other + words[at + 1] + one) & 0xFFFFFFFF
    return magic | 1 == MAGIC | 1 and version == VERSION and struct.unpack(">2I", header[24:]) == (one, other)


def _commits(handle: int, header: bytes) -> list[int]:
    """The numbers of the frames that end a commit and belong to the log as it is now; older ones have other salts."""
    size = FRAME + int.from_bytes(header[8:12], "big")
    numbers = []
    for number in range(1, (os.fstat(handle).st_size - HEADER) // size + 1):
        frame = os.pread(handle, FRAME, HEADER + (number - 1) * size)
        if frame[8:16] == header[16:24] and frame[4:8] != bytes(4):
            numbers.append(number)
    return numbers
