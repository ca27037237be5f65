"""How pictures of a film are encoded: the same for chunks and intro.

An MP4 has one sequence and picture parameter set, so whatever is to be joined must come out of one set of options.
The film is BT.709, limited range, and says so. A Pi's cameras deliver just that for pictures of HD size.

Limits: libx264 gives the same bytes for the same pictures, with one exception found by trying: where `maxrate` binds,
two or more threads race for the bits. A chunk file that has been joined must therefore be kept, not rendered again.
"""

from fractions import Fraction
from typing import Any

from av.container import OutputContainer
from av.video.frame import VideoFrame

from ezrec.domain.film import Canvas, Recipe
from ezrec.media.drawing import black
from ezrec.pyav import planes_of

COLUMNS = 256  # pixels: 16 macroblocks

MUXER = {"fflags": "+bitexact"}
"""No date and no library version in the file: the same packets give the same bytes."""


def video_stream(container: OutputContainer, recipe: Recipe) -> Any:
    """A libx264 stream of `container` that encodes as `recipe` says; time base = one tick."""
    encoder, rate = recipe.encoder, Fraction(recipe.rate)
    stream: Any = container.add_stream("libx264", rate=rate)
    stream.width, stream.height = coded_width(recipe.canvas), recipe.canvas.height
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
        "thread_type": "frame",  # not PyAV's default, slices: they took a fifth more CPU
        "flags": "+global_header+bitexact+cgop",
        # without a lookahead thread of its own: 40 MB less for a picture of 3840x1080, and no slower
        "x264-params": f"crop-rect=0,0,{coded_width(recipe.canvas) - recipe.canvas.width},0:sync-lookahead=0",
        "color_range": "tv",
        "colorspace": "bt709",
        "color_primaries": "bt709",
        "color_trc": "bt709",
    }
    return stream


def coded_width(canvas: Canvas) -> int:
    """How wide the pictures are that libx264 is given; it is told to have the rest cropped when they are shown.

    Its macroblock tree works on up to 16 macroblocks at a time (AVX-512) and reads beyond a row that is no multiple of
    that: what lies there by chance then decides some bits, and the same chunk rendered twice would differ.
    """
    return -(-canvas.width // COLUMNS) * COLUMNS


def coded_frame(canvas: Canvas) -> VideoFrame:
    """A black frame to draw the canvas on, from its upper left corner."""
    return black(VideoFrame(coded_width(canvas), canvas.height, "yuv420p"))


def finish(frame: VideoFrame, canvas: Canvas, tick: int, rate: Fraction) -> VideoFrame:
    """Give a drawn `coded_frame` its time, and continue its last columns to the end of their macroblocks.

    A black edge within a macroblock would cost bits and ring into the picture.
    """
    for number, plane in enumerate(planes_of(frame)):
        step = 2 if number else 1
        end, full = canvas.width // step, -(-canvas.width // 16) * 16 // step
        if end < full:
            plane[:, end:full] = plane[:, end - 1 : end]
    frame.pts, frame.time_base = tick, 1 / rate
    return frame


def shown_part(frame: VideoFrame, canvas: Canvas) -> VideoFrame:
    """A copy of what players show of a `coded_frame`."""
    shown = VideoFrame(canvas.width, canvas.height, "yuv420p")
    for target, source in zip(planes_of(shown), planes_of(frame), strict=True):
        target[:] = source[: target.shape[0], : target.shape[1]]
    return shown
