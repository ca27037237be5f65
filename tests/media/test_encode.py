"""How pictures are encoded: every option of the recipe arrives, and what is cropped costs nothing at the edge."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ezrec.domain.film import Canvas, Recipe, View
from ezrec.media.encode import coded_frame, finish, shown_part, video_stream
from ezrec.pyav import planes_of


def test_every_option_of_the_recipe_reaches_the_encoder(tmp_path: Path, recipe: Recipe) -> None:
    asked = replace(recipe.encoder, preset="slow", crf=27, maxrate=3_000_000, bufsize=5_000_000, keyint=44, bframes=1,
                    threads=3)
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = video_stream(container, replace(recipe, encoder=asked))
        context = stream.codec_context
        assert (context.name, context.width, context.height, context.pix_fmt) == ("libx264", 768, 180, "yuv420p")
        assert (context.time_base, context.thread_count) == (Fraction(1, 30), 3)
        told = {"preset": "slow", "crf": "27", "maxrate": "3000000", "bufsize": "5000000", "g": "44", "bf": "1"}
        told |= {"thread_type": "frame", "b-pyramid": "none", "flags": "+global_header+bitexact+cgop"}
        told |= dict.fromkeys(("colorspace", "color_primaries", "color_trc"), "bt709") | {"color_range": "tv"}
        assert told.items() <= context.options.items()
        assert context.options["x264-params"] == "crop-rect=0,0,160,0:sync-lookahead=0"  # 608 of 768 columns are shown


def test_the_last_columns_go_on_to_the_end_of_their_macroblock_in_all_planes() -> None:
    canvas = Canvas(36, 16, (View("left", 0, 36, 16),))
    frame = coded_frame(canvas)
    for number, plane in enumerate(planes_of(frame)):
        plane[:, : 36 // (2 if number else 1)] = 60 + number
    finished = finish(frame, canvas, 7, Fraction(30))
    assert (finished.pts, finished.time_base) == (7, Fraction(1, 30))
    luma, blue, red = planes_of(finished)
    assert [set(plane[:, :end].ravel()) for plane, end in ((luma, 48), (blue, 24), (red, 24))] == [{60}, {61}, {62}]
    assert (set(luma[:, 48:].ravel()), set(blue[:, 24:].ravel())) == ({16}, {128})  # black, as it was


def test_what_is_shown_of_a_frame_is_its_canvas() -> None:
    canvas = Canvas(36, 16, (View("left", 0, 36, 16),))
    frame = coded_frame(canvas)
    planes_of(frame)[0][:] = np.arange(256)[None, : frame.width]
    shown = shown_part(frame, canvas)
    assert (shown.width, shown.height) == (36, 16)
    assert planes_of(shown)[0][3].tolist() == list(range(36))
