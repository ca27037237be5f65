"""Certifying a film: what it truly holds is computed from rows alone. Pure.

Everything that is missing is a gap. Everything that is shown twice, left out or filled is counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ezrec.domain.certificate import CalibrationUsed, CameraPart, Certificate, Fallback, Gap, Sync
from ezrec.domain.clock import SECOND, utc_text
from ezrec.domain.film import CameraShare, ChunkReport, Recipe, Rung, tick_us
from ezrec.domain.planning import Chunk, Stretch
from ezrec.domain.timeline import Interval, Segment, clip, common, length, union, without

LEAST_STEPS = 10  # from frame to frame, below which nothing is said of a camera's pace


@dataclass(frozen=True)
class Rendered:
    """A chunk of the film with its worker's report."""

    chunk: Chunk
    report: ChunkReport
    rung: Rung


@dataclass(frozen=True)
class Evidence:
    """All that a certificate is computed from."""

    starts_at: int  # the window, UTC µs
    ends_at: int
    recipe: Recipe
    stretches: Sequence[Stretch]
    start_offsets_us: Mapping[int, int]  # run → the offset (UTC = monotonic + offset) at which the film began there
    chunks: Sequence[Rendered]
    periods_us: Mapping[str, Fraction]  # camera → its frame period
    generation: int = 1
    notes: Sequence[str] = field(default=())
    footage: Mapping[str, Sequence[Segment]] = field(default_factory=dict)  # camera → its segments, in order of time


def certify(evidence: Evidence) -> Certificate:
    """The certificate of a film whose chunks are all rendered."""
    recipe, chunks = evidence.recipe, evidence.chunks
    cameras = [view.camera for view in recipe.canvas.views]
    ticks, used = sum(rendered.chunk.ticks for rendered in chunks), recipe.canvas.calibration
    return Certificate(
        window=(utc_text(evidence.starts_at), utc_text(evidence.ends_at)),
        film_seconds=_seconds(ticks / recipe.rate),
        intro_seconds=_seconds(recipe.intro.ticks / recipe.rate) if recipe.intro else 0.0,
        rate=recipe.rate,
        picture=(recipe.canvas.width, recipe.canvas.height),
        layout="wide" if len(cameras) > 1 else "single",
        cameras={camera: _camera(evidence, camera) for camera in cameras},
        gaps=tuple(gaps(evidence)),
        sync=_sync(chunks),
        drawn=recipe.canvas.layout if len(cameras) > 1 else "",
        calibration=CalibrationUsed(used.id, used.verdict, used.tracked, used.p95_px) if used else None,
        fallbacks=(*([Fallback(0, recipe.canvas.layout)] if recipe.fallback else []),
                   *(Fallback(one.chunk.number, str(one.rung)) for one in chunks if one.rung is not Rung.FULL)),
        skipped_media=recipe.skipped,
        runs=len({rendered.chunk.run for rendered in chunks}),
        generation=evidence.generation,
        notes=tuple(evidence.notes))


def _sync(chunks: Sequence[Rendered]) -> Sync:
    both = sum(rendered.report.both for rendered in chunks)
    apart = sum(rendered.report.apart for rendered in chunks)
    worst_us = max((rendered.report.worst_us for rendered in chunks), default=0)
    return Sync(both, apart, round(1 - apart / both, 6) if both else None, worst_us / 1000)


def gaps(evidence: Evidence) -> list[Gap]:
    """Every time of the window that a camera of the canvas (or both) did not see, in order of time.

    A gap of one camera is a filled half. A gap of `both` (or of the only camera) is cut out: `at_s` is where in the
    film, counted behind the intro, the cut lies.
    """
    seen = {view.camera: _seen_utc(evidence, view.camera) for view in evidence.recipe.canvas.views}
    tick = SECOND / evidence.recipe.rate
    window = [(evidence.starts_at, max(evidence.ends_at, max((s[-1][1] for s in seen.values() if s), default=0)))]
    missing = {camera: without(window, covered) for camera, covered in seen.items()}
    cut: Sequence[Interval] = window
    for holes in missing.values():
        cut = common(cut, holes)
    nobody = "both" if len(seen) > 1 else next(iter(seen))
    found = [(start, end, nobody) for start, end in cut]
    if len(seen) > 1:
        found += [(start, end, camera) for camera, holes in missing.items() for start, end in without(holes, cut)]
    shown = union(piece for covered in seen.values() for piece in covered)
    return [Gap(camera, utc_text(start), utc_text(end), _seconds(Fraction(end - start, SECOND)),
                _seconds(Fraction(length(clip(shown, evidence.starts_at, start)), SECOND)))
            for start, end, camera in sorted(found) if end - start >= tick]


def _camera(evidence: Evidence, camera: str) -> CameraPart:
    shares = [rendered.report.cameras.get(camera, CameraShare()) for rendered in evidence.chunks]
    repeats, skips = _at_joins(evidence, camera)
    fps, drift_ppm = _pace(evidence.footage.get(camera, ()), evidence.periods_us.get(camera))
    shown = sum(share.shown for share in shares)
    return CameraPart(
        minutes=round(shown / float(evidence.recipe.rate) / 60, 3),
        shown_ticks=shown,
        filled_ticks=sum(share.filled for share in shares),
        repeats=sum(share.repeats for share in shares) + repeats,
        skips=sum(share.skips for share in shares) + skips,
        drops=sum(share.drops for share in shares),
        corrupt=sum(share.corrupt for share in shares),
        fps=fps, drift_ppm=drift_ppm)


def _pace(segments: Sequence[Segment], period_us: Fraction | None) -> tuple[float | None, int | None]:
    """How fast the camera's own clock ran: frames per second as its sensor's times tell, and how far off that is.

    Segments with a gap are left out: of some of their frames nothing is known any more, if it was found out later.
    """
    steps, time_us = 0, Fraction(0)
    if period_us:
        for one in segments:
            if not one.gaps:  # from its first frame to its last one
                steps += one.frames + one.dropped - 1
                time_us += one.end_us - one.start_us - period_us
    if not period_us or steps < LEAST_STEPS or time_us <= 0:
        return None, None
    return round(float(steps * SECOND / time_us), 3), round(float((steps * period_us / time_us - 1) * 1_000_000))


def _at_joins(evidence: Evidence, camera: str) -> tuple[int, int]:
    """Repeats and skips between the last frame of a chunk and the first of the next; a gap there is not counted."""
    repeats = skips = 0
    period = evidence.periods_us.get(camera, SECOND / evidence.recipe.rate)
    stretches = {stretch.run: stretch for stretch in evidence.stretches}
    for one, next_one in zip(evidence.chunks, evidence.chunks[1:], strict=False):
        first, last = next_one.report.cameras.get(camera), one.report.cameras.get(camera)
        touching = (one.chunk.run, one.chunk.first_tick + one.chunk.ticks) == (next_one.chunk.run,
                                                                              next_one.chunk.first_tick)
        if not touching or not first or not last or first.first_us is None or last.last_us is None:
            continue
        stretch, tick = stretches[next_one.chunk.run], next_one.chunk.first_tick
        edge = [tick_us(stretch.anchor_us, at, evidence.recipe.rate) for at in (tick - 1, tick)]
        if not all(any(a <= time < b for a, b in stretch.seen.get(camera, ())) for time in edge):
            continue
        moved = round((first.first_us - last.last_us) / period)
        repeats += moved == 0
        skips += max(0, moved - 1)
    return repeats, skips


def _seen_utc(evidence: Evidence, camera: str) -> tuple[Interval, ...]:
    return union(
        (start + evidence.start_offsets_us[stretch.run], end + evidence.start_offsets_us[stretch.run])
        for stretch in evidence.stretches
        for start, end in clip(stretch.seen.get(camera, ()), stretch.start_us, stretch.end_us))


def _seconds(value: Fraction | float) -> float:
    return round(float(value), 3)
