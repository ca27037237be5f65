"""The certificate: what is missing and what is shown make up the window, and what is counted is what was told."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from ezrec.domain import certify as certifying
from ezrec.domain.certificate import Certificate, StoredObject
from ezrec.domain.certify import Evidence, Rendered
from ezrec.domain.clock import SECOND, utc_text
from ezrec.domain.film import CameraShare, Canvas, ChunkReport, EncoderOptions, Intro, Recipe, Rung, View, tick_us
from ezrec.domain.planning import Chunk, Stretch, plan
from ezrec.domain.stored import values_of
from ezrec.domain.timeline import HOLD_US, Interval, Segment, union

RATE = Fraction(30)
TICK = Fraction(SECOND, 30)
WIDE = Recipe(RATE, Canvas(640, 180, (View("left", 0, 320, 180), View("right", 320, 320, 180))), EncoderOptions())
SINGLE = Recipe(RATE, Canvas(320, 180, (View("left", 0, 320, 180),)), EncoderOptions())
UTC0 = 1_800_000_000 * SECOND
FOR_EVER = 1 << 62


def certify(proof: Evidence) -> dict[str, Any]:
    """The certificate as it is stored; it comes back as it was."""
    made = certifying.certify(proof)
    assert Certificate.from_json(json.loads(json.dumps(made.to_json()))) == made
    return made.to_json()


def gaps(proof: Evidence) -> list[dict[str, Any]]:
    return [values_of(gap) for gap in certifying.gaps(proof)]


def evidence(stretches: list[Stretch], begun: dict[int, int], seconds: float, recipe: Recipe = WIDE,
             **more: Any) -> Evidence:
    return Evidence(UTC0, UTC0 + round(seconds * SECOND), recipe, stretches, begun, more.pop("chunks", ()),
                    more.pop("periods_us", {}), **more)


def stretch(seen: dict[str, list[tuple[float, float]]], start: float, end: float, run: int = 1) -> Stretch:
    """A run whose monotonic clock is that of the window, in seconds from its start."""
    return Stretch(run, round(start * SECOND), round(start * SECOND), round(end * SECOND),
                   {camera: tuple((round(a * SECOND), round(b * SECOND)) for a, b in some)
                    for camera, some in seen.items()}, FOR_EVER)


def said(certificate: list[dict[str, Any]]) -> list[tuple[str, float, float, float]]:
    return [(gap["camera"], gap["seconds"], gap["at_s"], (us_of(gap["from"]) - UTC0) / SECOND) for gap in certificate]


def us_of(text: str) -> int:
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_a_film_that_lacks_nothing_has_no_gap() -> None:
    whole = stretch({"left": [(-1, 11)], "right": [(-1, 11)]}, 0, 10)
    assert gaps(evidence([whole], {1: UTC0}, 10)) == []


def test_a_half_that_is_missing_is_a_gap_of_its_camera_and_a_time_nobody_saw_is_one_of_both() -> None:
    one = stretch({"left": [(0, 2), (4, 10)], "right": [(0, 3), (4, 6), (7, 10)]}, 0, 10)
    assert said(gaps(evidence([one], {1: UTC0}, 10))) == [("left", 1, 2, 2), ("both", 1, 3, 3), ("right", 1, 5, 6)]


def test_a_gap_says_when_it_was_how_long_and_where_in_the_film() -> None:
    one = stretch({"left": [(0, 2), (4.5, 10)], "right": [(0, 2), (4.5, 10)]}, 0, 10)
    assert gaps(evidence([one], {1: UTC0}, 10)) == [{
        "camera": "both", "from": "2027-01-15T08:00:02.000+00:00", "to": "2027-01-15T08:00:04.500+00:00",
        "seconds": 2.5, "at_s": 2.0}]


def test_a_gap_as_long_as_a_tick_is_stated_to_the_millisecond_and_a_shorter_one_is_none() -> None:
    recipe = replace(SINGLE, rate=Fraction(25))
    found = [gaps(evidence([stretch({"left": [(0, 2.01234), (2.01234 + hole, 10)]}, 0, 10)], {1: UTC0}, 10, recipe))
             for hole in (0.04, 0.039999)]
    assert [[(gap["seconds"], gap["at_s"]) for gap in some] for some in found] == [[(0.04, 2.012)], []]


def test_a_pause_between_two_runs_is_a_gap_of_both_that_says_where_the_cut_lies() -> None:
    first = stretch({"left": [(0, 4)], "right": [(0, 4)]}, 0, 10)
    second = Stretch(2, 500, 500 - 7 * SECOND, 500 + 3 * SECOND,
                     dict.fromkeys(("left", "right"), ((500, 500 + 4 * SECOND),)), FOR_EVER)
    found = gaps(evidence([first, second], {1: UTC0, 2: UTC0 + 7 * SECOND - 500}, 10))
    assert said(found) == [("both", 3, 4, 4)]


def test_the_only_camera_of_a_single_canvas_names_its_gaps_itself() -> None:
    one = stretch({"left": [(1, 9)], "right": [(0, 10)]}, 0, 10)
    assert said(gaps(evidence([one], {1: UTC0}, 10, SINGLE))) == [("left", 1, 0, 0), ("left", 1, 8, 9)]


def test_a_film_without_any_footage_of_its_cameras_is_one_gap() -> None:
    assert said(gaps(evidence([stretch({}, 0, 10)], {1: UTC0}, 10))) == [("both", 10, 0, 0)]


def test_the_time_after_the_booked_end_that_a_corrected_clock_added_counts_as_window() -> None:
    longer = stretch({"left": [(0, 12)], "right": [(0, 9)]}, 0, 12)
    assert said(gaps(evidence([longer], {1: UTC0}, 10))) == [("right", 3, 9, 9)]


moments = st.integers(0, 12_000).map(lambda ms: ms * 1000)
coverages = st.lists(st.tuples(moments, moments), max_size=4).map(lambda some: union(some, HOLD_US))


@given(coverages, coverages, st.integers(1000, 12_000))
def test_gaps_and_what_is_shown_make_up_the_window(left: tuple[Interval, ...], right: tuple[Interval, ...],
                                                   ms: int) -> None:
    one = Stretch(1, 0, 0, ms * 1000, {"left": left, "right": right}, FOR_EVER)
    stated = gaps(evidence([one], {1: UTC0}, ms / 1000))
    chunks = list(plan([one], RATE, 60, ()))
    film_s = sum(chunk.ticks for chunk in chunks) / float(RATE)
    cut_s = sum(gap["seconds"] for gap in stated if gap["camera"] == "both")
    # Each stretch of footage begins and ends between two ticks, and gaps shorter than a tick are not stated.
    slack_s = 2 * (len(left) + len(right) + 1) / float(RATE)
    assert abs(film_s + cut_s - ms / 1000) <= slack_s
    for camera, seen in (("left", left), ("right", right)):
        missing_s = sum(gap["seconds"] for gap in stated if gap["camera"] in (camera, "both"))
        shown = sum(any(a <= tick_us(0, tick, RATE) < b for a, b in seen)
                    for chunk in chunks for tick in range(chunk.first_tick, chunk.first_tick + chunk.ticks))
        assert abs(shown / float(RATE) + missing_s - ms / 1000) <= slack_s


@given(coverages, coverages)
def test_gaps_of_one_camera_never_overlap_and_none_is_shorter_than_a_tick(left: tuple[Interval, ...],
                                                                          right: tuple[Interval, ...]) -> None:
    one = Stretch(1, 0, 0, 12 * SECOND, {"left": left, "right": right}, FOR_EVER)
    stated = gaps(evidence([one], {1: UTC0}, 12))
    for camera in ("left", "right"):
        times = [(us_of(gap["from"]), us_of(gap["to"])) for gap in stated if gap["camera"] in (camera, "both")]
        assert sum(b - a for a, b in times) == sum(b - a for a, b in union(times))
    assert all(gap["seconds"] >= round(1 / 30, 3) for gap in stated)


def rendered(number: int, first_tick: int, ticks: int, run: int = 1, rung: Rung = Rung.FULL, both: int = 0,
             apart: int = 0, worst_us: int = 0, **cameras: CameraShare) -> Rendered:
    return Rendered(Chunk(number, run, first_tick, ticks), ChunkReport(1, cameras, both, apart, worst_us), rung)


def share(first_us: int, last_us: int, **more: int) -> CameraShare:
    return CameraShare(first_us=first_us, last_us=last_us, **more)


def counts(chunks: list[Rendered], seen: dict[str, list[tuple[float, float]]], period: Fraction = TICK,
           recipe: Recipe = SINGLE) -> tuple[int, int]:
    proof = evidence([stretch(seen, 0, 10)], {1: UTC0}, 10, recipe, chunks=chunks, periods_us={"left": period})
    left = certify(proof)["cameras"]["left"]
    return left["repeats"], left["skips"]


def test_a_frame_shown_on_both_sides_of_a_join_is_one_repeat_more() -> None:
    chunks = [rendered(1, 0, 30, left=share(0, 29 * SECOND // 30, repeats=2)),
              rendered(2, 30, 30, left=share(29 * SECOND // 30, 59 * SECOND // 30, repeats=1))]
    assert counts(chunks, {"left": [(0, 10)]}) == (4, 0)


def test_frames_left_out_at_a_join_are_skips() -> None:
    chunks = [rendered(1, 0, 30, left=share(0, 29 * SECOND // 30, skips=1)),
              rendered(2, 30, 30, left=share(32 * SECOND // 30, 59 * SECOND // 30))]
    assert counts(chunks, {"left": [(0, 10)]}) == (0, 3)


def test_a_join_is_looked_at_if_the_camera_saw_both_sides_whatever_it_saw_elsewhere() -> None:
    chunks = [rendered(1, 0, 30, left=share(0, 29 * SECOND // 30)),
              rendered(2, 30, 30, left=share(29 * SECOND // 30, 59 * SECOND // 30))]
    assert counts(chunks, {"left": [(0, 5), (8, 10)]}) == (1, 0)
    assert counts(chunks, {"left": [(29 / 30, 5)]}) == (1, 0)
    assert counts(chunks, {"left": [(0, 1), (1.5, 10)]}) == (0, 0)


def test_frames_are_counted_by_the_cameras_own_period() -> None:
    chunks = [rendered(1, 0, 30, left=share(0, 29 * SECOND // 30)),
              rendered(2, 30, 30, left=share(29 * SECOND // 30 + SECOND // 60, 59 * SECOND // 30))]
    assert counts(chunks, {"left": [(0, 10)]}, TICK / 2) == (0, 0)
    assert counts(chunks, {"left": [(0, 10)]}, TICK / 4) == (0, 1)


def test_neither_a_cut_nor_a_gap_at_a_join_counts_as_skips() -> None:
    before, after = share(0, 29 * SECOND // 30), share(5 * SECOND, 6 * SECOND)
    cut = [rendered(1, 0, 30, left=before), rendered(2, 150, 30, left=after)]
    assert counts(cut, {"left": [(0, 1), (5, 10)]}) == (0, 0)
    half_missing = [rendered(1, 0, 30, left=before, right=before), rendered(2, 30, 150, left=after, right=before)]
    assert counts(half_missing, {"left": [(0, 1), (5, 10)], "right": [(0, 10)]}, recipe=WIDE) == (0, 0)
    other_run = [rendered(1, 0, 30, left=before), rendered(2, 30, 30, run=2, left=after)]
    proof = evidence([stretch({"left": [(0, 1)]}, 0, 10), stretch({"left": [(0.9, 9)]}, 0, 10, run=2)],
                     {1: UTC0, 2: UTC0}, 10, SINGLE, chunks=other_run)
    assert certify(proof)["cameras"]["left"]["skips"] == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=5))
def test_what_the_chunks_told_is_summed_up(told: list[tuple[int, int]]) -> None:
    assume(any(both for both, _ in told))
    chunks = [rendered(number, 1000 * number, 60, both=both, apart=min(apart, both), worst_us=apart,
                       left=CameraShare(shown=both, filled=60 - both, corrupt=apart, drops=both))
              for number, (both, apart) in enumerate(told, 1)]
    certificate = certify(evidence([stretch({"left": [(0, 10)]}, 0, 10)], {1: UTC0}, 10, chunks=chunks))
    left = certificate["cameras"]["left"]
    assert left["shown_ticks"] == left["drops"] == sum(both for both, _ in told)
    assert left["minutes"] == round(left["shown_ticks"] / 30 / 60, 3)
    assert left["corrupt"] == sum(apart for _, apart in told)
    assert left["filled_ticks"] == 60 * len(told) - left["shown_ticks"]
    assert certificate["sync"]["ticks_of_both"] == left["shown_ticks"]
    assert certificate["sync"]["apart"] == sum(min(pair) for pair in told)
    assert certificate["sync"]["worst_ms"] == max(apart for _, apart in told) / 1000
    assert certificate["film_seconds"] == 2 * len(told)


def test_fallbacks_skipped_media_and_generations_are_said() -> None:
    recipe = replace(WIDE, skipped=("logo a: broken",), intro=Intro("i.mp4", "0" * 64, 45, sound=True))
    chunks = [rendered(1, 0, 60), rendered(2, 60, 60, rung=Rung.PLAIN), rendered(3, 0, 30, run=2, rung=Rung.LEFT)]
    stretches = [stretch({"left": [(0, 10)]}, 0, 10), stretch({"left": [(0, 1)]}, 0, 1, run=2)]
    certificate = certify(evidence(stretches, {1: UTC0, 2: UTC0}, 10, recipe, chunks=chunks, generation=3, notes=["x"]))
    assert certificate["fallbacks"] == [{"chunk": 2, "rung": "side_by_side"}, {"chunk": 3, "rung": "left_only"}]
    assert (certificate["skipped_media"], certificate["notes"]) == (["logo a: broken"], ["x"])
    assert (certificate["generation"], certificate["runs"], certificate["intro_seconds"]) == (3, 2, 1.5)
    assert (certificate["layout"], certificate["picture"], certificate["rate"]) == ("wide", [640, 180], "30/1")
    assert certify(evidence(stretches, {1: UTC0, 2: UTC0}, 10, SINGLE, chunks=chunks))["layout"] == "single"
    assert certificate["window"] == [utc_text(UTC0), utc_text(UTC0 + 10 * SECOND)] == [
        "2027-01-15T08:00:00.000+00:00", "2027-01-15T08:00:10.000+00:00"]


def segment(start_us: int, frames: int, period_us: int, dropped: int = 0, gap_us: int = 0) -> Segment:
    """A segment as the writer tells it; its gap lies behind its first frame."""
    gaps = ((start_us + 33_333, start_us + gap_us),) if gap_us else ()
    last = start_us + (frames + dropped - 1 - len(gaps)) * period_us + gap_us
    return Segment("left", 1, start_us, last + 33_333, frames, dropped, 9, "x.ts", gaps)


def test_a_cameras_pace_is_what_its_sensor_times_tell_whatever_is_missing() -> None:
    whole = stretch({"left": [(-1, 11)], "right": [(-1, 11)]}, 0, 10)
    slow = [segment(0, 120, 33_366), segment(4_100_000, 110, 33_366, dropped=10),
            segment(9_000_000, 100, 33_366, gap_us=2_000_000)]
    told = certify(evidence([whole], {1: UTC0}, 10, periods_us={"left": Fraction(33_333), "right": TICK},
                            footage={"left": slow}))["cameras"]
    assert (told["left"]["fps"], told["left"]["drift_ppm"]) == (29.971, -989)
    assert (told["right"]["fps"], told["right"]["drift_ppm"]) == (None, None)


def test_frames_of_which_nothing_is_left_do_not_make_a_camera_seem_fast() -> None:
    whole = stretch({"left": [(-1, 11)]}, 0, 10)
    lost = replace(segment(4_000_000, 120, 33_333), gaps=((5_000_000, 7_000_000),))
    told = certify(evidence([whole], {1: UTC0}, 10, SINGLE, periods_us={"left": Fraction(33_333)},
                            footage={"left": [segment(0, 120, 33_333), lost]}))["cameras"]["left"]
    assert (told["fps"], told["drift_ppm"]) == (30.0, 0)


def test_nothing_is_said_of_a_cameras_pace_before_it_took_ten_steps() -> None:
    whole = stretch({"left": [(-1, 11)]}, 0, 10)
    paces = [certify(evidence([whole], {1: UTC0}, 10, SINGLE, periods_us={"left": Fraction(33_333)},
                              footage={"left": [segment(0, frames, 33_333)]}))["cameras"]["left"]["fps"]
             for frames in (10, 11)]
    assert paces == [None, 30.0]


def test_a_certificate_of_another_version_is_read_as_far_as_it_is_known() -> None:
    assert Certificate.from_json({}) == Certificate()
    assert Certificate.from_json({"object": {"key": "k"}}).to_json() == {
        "window": ["", ""], "film_seconds": 0.0, "intro_seconds": 0.0, "rate": "30/1", "picture": [0, 0],
        "layout": "single", "cameras": {}, "gaps": [], "fallbacks": [], "skipped_media": [], "runs": 0,
        "generation": 1, "notes": [], "sync": {"ticks_of_both": 0, "apart": 0, "within": None, "worst_ms": 0.0},
        "object": {"key": "k", "bytes": 0, "etag": "", "sha256": "", "part_bytes": 0, "poster_url": None,
                   "live_bytes": None}}
    raw = {"film_seconds": 3, "glow": 1, "sync": {"within": 0.5, "later": 2}, "object": {"key": "k", "later": 3},
           "gaps": [{"camera": "left", "from": "a", "to": "b", "seconds": 1.0, "at_s": 0.0, "why": "?"}]}
    read = Certificate.from_json(raw)
    assert (read.film_seconds, read.sync.within, read.object, read.gaps[0].start) == (
        3, 0.5, StoredObject(key="k"), "a")
