"""How pictures of a film are encoded, and how its files are put in place: the same for chunks and intro.

An MP4 has one sequence and picture parameter set, so whatever is to be joined must come out of one set of options.
The film is BT.709, limited range, and says so. A Pi's cameras deliver just that for pictures of HD size.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.container import OutputContainer

from ezrec.domain.film import Recipe

MUXER = {"fflags": "+bitexact"}
"""No date and no library version in the file: the same packets give the same bytes."""


def video_stream(container: OutputContainer, recipe: Recipe) -> Any:
    """A libx264 stream of `container` that encodes as `recipe` says; time base = one tick."""
    encoder, rate = recipe.encoder, Fraction(recipe.rate)
    stream: Any = container.add_stream("libx264", rate=rate)
    stream.width, stream.height = recipe.canvas.width, recipe.canvas.height
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / rate
    context.thread_count = encoder.threads
    context.options = {
        "preset": encoder.preset,
        "crf": str(encoder.crf),
        "maxrate": str(encoder.maxrate),
        "bufsize": str(encoder.bufsize),
        "g": str(encoder.keyint),
        "bf": str(encoder.bframes),
        "b-pyramid": "none",  # so that decoding order runs ahead of showing by one tick at most
        "profile": "high",
        "flags": "+global_header+bitexact+cgop",
        "color_range": "tv",
        "colorspace": "bt709",
        "color_primaries": "bt709",
        "color_trc": "bt709",
    }
    return stream


@contextmanager
def put_in_place(path: str | Path) -> Iterator[str]:
    """Yield a name beside `path` to write to; when the block ends well, the file is durable under its own name.

    The temporary name carries the process id: a worker orphaned by a kill may still be writing the same file.
    """
    target = Path(path)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        yield str(temporary)
        make_durable(temporary)
        temporary.replace(target)
        make_durable(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_durable(path: Path) -> None:
    """Fsync the file or folder at `path`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
