"""Render one chunk: decode both cameras' segments, pick, compose, encode, and put a small MP4 in place.

`render` runs in a worker process, is a function of files only, and gives the same bytes for the same job.
Limits: footage has no B-frames; a chunk is some seconds long (its packets are held in memory while it is made).
"""

import gc
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.video.frame import VideoFrame

from ezrec.domain.clock import SECOND
from ezrec.domain.errors import BadMedia, FootageGone
from ezrec.domain.film import CameraShare, Canvas, ChunkJob, ChunkReport, Footage, Light, Rung, tick_us
from ezrec.domain.timeline import HOLD_US, Interval, coverage
from ezrec.files import put_in_place
from ezrec.media import opencv as cv2
from ezrec.media.decode import READING, Reel, Undecodable, away_error
from ezrec.media.encode import MUXER, coded_frame, finish, shown_part, video_stream
from ezrec.media.geometry import Composer, Following, composer_for
from ezrec.media.hashing import sha256_of
from ezrec.media.overlay import place
from ezrec.media.picking import HYSTERESIS_US, pick
from ezrec.media.probe import video_of
from ezrec.pyav import LibavError, opened, translated

POSTER_WIDTH = 1280  # pixels at most
POSTER_QUALITY = 85  # JPEG, of 100


_Shown = dict[str, list[int | None]]
"""Each camera's sensor time (µs) of what it shows, tick by tick; None where its view is filled."""


def render(job: ChunkJob) -> ChunkReport:
    """Make `job.out` (and the poster, if asked for); both appear whole or not at all.

    The footage should reach half a second beyond the chunk on both sides where there is any: holes are bridged and
    nearest frames found only in what is handed in.

    Raises:
        FootageAway: footage is missing or its disk fails, and the job does not say to go on without it.
        FootageGone: a tick that a camera saw can be shown from none.
        BadMedia: the only view of this rung cannot be shown at all, a logo cannot be used, or libx264 refused.
        OSError: the disk is full, or the folder is not there.
    """
    undecodable: dict[str, list[Interval]] = {}
    while True:
        try:
            return _render(job, undecodable)
        except Undecodable as error:  # found out while the chunk was made: it is made anew without
            undecodable.setdefault(error.camera, []).append(error.times)
        finally:
            gc.collect()  # containers, streams and packets refer to each other; uncollected they keep codecs alive


def _render(job: ChunkJob, undecodable: Mapping[str, Sequence[Interval]]) -> ChunkReport:
    canvas = job.recipe.canvas
    tick_period_us, from_us = float(SECOND / job.recipe.rate), tick_us(job.anchor_us, job.first_tick, job.recipe.rate)
    reels = {camera: Reel(camera, job.footage.get(camera, ()), tick_period_us, from_us, undecodable.get(camera, ()))
             for camera in _cameras(canvas, job.rung)}
    _check_losses(job, reels)
    logos = place(job.recipe.logos, canvas) if job.rung in (Rung.FULL, Rung.FEATHER) else ()
    composer = composer_for(canvas, job.rung, logos, coded_frame(canvas))
    lights = _follow(job, composer, reels)
    try:
        with put_in_place(job.out) as temporary:
            shown = _encode(job, temporary, composer, _plan(job, reels), reels)
            _check(temporary, job.ticks)
            size, sha256 = Path(temporary).stat().st_size, sha256_of(Path(temporary))
    except LibavError as error:
        raise translated(error, job.out, "cannot be encoded") from error
    return replace(_report(size, shown, reels, job), sha256=sha256, lights=lights)


def _follow(job: ChunkJob, composer: Composer, reels: Mapping[str, Reel]) -> tuple[Light, ...]:
    """Tell a composer that follows the light what it is at both ends of the chunk.

    It is taken from the key frames nearest to them. Neighbours look at the same ones, so that one begins as the other
    ended, and a chunk that is made again looks as it did.
    """
    if not isinstance(composer, Following):
        return ()
    ends = [tick_us(job.anchor_us, job.first_tick + tick, job.recipe.rate) for tick in (0, job.ticks)]
    first, last = ({camera: reel.key_picture(end) for camera, reel in reels.items()} for end in ends)
    return composer.follow(first, last, job.ticks)


def _check_losses(job: ChunkJob, reels: Mapping[str, Reel]) -> None:
    """Whether the chunk can be made of what is there of the footage; see `render` for what is raised."""
    away = [loss for reel in reels.values() for loss in reel.away]
    if away and not job.accept_loss:
        raise away_error(away)
    lost = [loss for reel in reels.values() for loss in reel.lost]
    promised = [any(row) for row in zip(*(_seen(job, job.footage.get(camera, ())) for camera in reels), strict=True)]
    given = [any(row) for row in zip(*(_shown_by(job, reel) for reel in reels.values()), strict=True)]
    if len(reels) < len(job.recipe.canvas.views):  # what the other camera saw is not known here
        if any(promised) and not any(given):
            raise BadMedia(f"nothing that camera {next(iter(reels))} recorded for this chunk can be read")
    elif lost and any(tick and not shown for tick, shown in zip(promised, given, strict=True)):
        raise FootageGone(lost)


def _cameras(canvas: Canvas, rung: Rung) -> list[str]:
    """The cameras that this rung of the ladder uses, left to right."""
    names = [view.camera for view in canvas.views]
    if rung is Rung.LEFT:
        return names[:1]
    return names[-1:] if rung is Rung.RIGHT else names


def _ticks_us(job: ChunkJob) -> list[int]:
    return [tick_us(job.anchor_us, job.first_tick + n, job.recipe.rate) for n in range(job.ticks)]


def _seen(job: ChunkJob, footage: Sequence[Footage]) -> list[bool]:
    """Whether `footage` of one camera says that it saw anything at each of the chunk's ticks."""
    spans = coverage(footage)
    starts = [start for start, _ in spans]
    found = []
    for time in _ticks_us(job):
        at = bisect_right(starts, time) - 1
        found.append(at >= 0 and time < spans[at][1])
    return found


def _shown_by(job: ChunkJob, reel: Reel) -> list[bool]:
    """Whether a camera's files give a picture for each of the chunk's ticks."""
    return _seen(job, reel.usable) if reel.times else [False] * job.ticks


def _plan(job: ChunkJob, reels: Mapping[str, Reel]) -> dict[str, list[int]]:
    """For each camera and tick the index of the picture to show, -1 where its view is filled.

    The first camera that saw the tick gives the picture nearest to it; the others the one nearest to that picture.
    """
    targets = _ticks_us(job)
    led = [False] * job.ticks
    plan: dict[str, list[int]] = {}
    for camera, reel in reels.items():
        seen = _shown_by(job, reel)
        ticks = [n for n in range(job.ticks) if seen[n]]
        chosen = pick(reel.times, [targets[n] for n in ticks], reel.period_us)
        if chosen:
            reel.narrow(chosen[0], chosen[-1])
        plan[camera] = [-1] * job.ticks
        for n, index in zip(ticks, chosen, strict=True):
            plan[camera][n] = index
            if not led[n]:
                led[n], targets[n] = True, reel.times[index]
    return plan


def _encode(
    job: ChunkJob,
    path: str,
    composer: Composer,
    plan: Mapping[str, Sequence[int]],
    reels: Mapping[str, Reel],
) -> _Shown:
    shown: _Shown = {view.camera: [] for view in job.recipe.canvas.views}
    with av.open(path, "w", format="mp4", options=MUXER) as container:
        stream = video_stream(container, job.recipe)
        for n in range(job.ticks):
            pictures: dict[str, VideoFrame | None] = {}
            for camera, times in shown.items():
                index = plan[camera][n] if camera in plan else -1
                time, pictures[camera] = reels[camera].picture(index) if index >= 0 else (None, None)
                times.append(time)
            frame = finish(composer.compose(pictures), job.recipe.canvas, n, Fraction(job.recipe.rate))
            container.mux(stream.encode(frame))
            if job.poster is not None and n == job.ticks // 2:
                write_poster(shown_part(frame, job.recipe.canvas), job.poster)
        container.mux(stream.encode(None))
    return shown


def write_poster(frame: VideoFrame, path: str) -> None:
    """Write a picture of the film as a JPEG at most `POSTER_WIDTH` wide; durable when this returns."""
    width = min(frame.width, POSTER_WIDTH) // 2 * 2
    height = max(round(frame.height * width / frame.width / 2) * 2, 2)
    picture = frame.reformat(
        width, height, "bgr24", src_colorspace="ITU709", src_color_range="MPEG", dst_color_range="JPEG"
    )
    done, data = cv2.imencode(".jpg", picture.to_ndarray(), [cv2.IMWRITE_JPEG_QUALITY, POSTER_QUALITY])
    if not done:
        raise BadMedia(f"{path}: the picture cannot be encoded as JPEG")
    with put_in_place(path) as temporary:
        Path(temporary).write_bytes(data.tobytes())


def _check(path: str, ticks: int) -> None:
    """A chunk that is put in place holds `ticks` pictures and begins with a key frame."""
    with opened(path, READING) as container:
        keys = [packet.is_keyframe for packet in container.demux(video_of(container, path)) if packet.size]
    if len(keys) != ticks or not keys[0]:
        raise BadMedia(f"{path}: came out with {len(keys)} pictures in place of {ticks}, or without a key frame")


def _report(size: int, shown: _Shown, reels: Mapping[str, Reel], job: ChunkJob) -> ChunkReport:
    periods = {camera: reel.period_us for camera, reel in reels.items()}
    shares = {camera: CameraShare(filled=job.ticks) for camera in shown}
    for camera, reel in reels.items():
        drops = _drops(reel.times, periods[camera], job)
        shares[camera] = replace(_share(shown[camera], periods[camera]), drops=drops, corrupt=reel.corrupt)
    both = apart = worst = 0
    for row in zip(*shown.values(), strict=True):
        seen = [(camera, time) for camera, time in zip(shown, row, strict=True) if time is not None]
        if len(seen) < 2:
            continue
        both += 1
        distances = {camera: abs(time - seen[0][1]) for camera, time in seen[1:]}
        apart += any(far > periods[camera] / 2 + HYSTERESIS_US for camera, far in distances.items())
        worst = max(worst, *distances.values())
    return ChunkReport(bytes=size, cameras=shares, both=both, apart=apart, worst_us=worst,
                       lost=tuple(loss for reel in reels.values() for loss in reel.lost))


def _drops(times: Sequence[int], period_us: float, job: ChunkJob) -> int:
    """How many frames are missing between those of a camera that fall into the chunk; a hole that is a gap is none."""
    from_us = tick_us(job.anchor_us, job.first_tick, job.recipe.rate)
    to_us = tick_us(job.anchor_us, job.first_tick + job.ticks, job.recipe.rate)
    return sum(max(0, round((now - before) / period_us) - 1) for before, now in pairwise(times)
               if from_us <= now < to_us and now - before < HOLD_US)


def _share(times: Sequence[int | None], period_us: float) -> CameraShare:
    """Count what one camera gave: `times` holds the sensor time of the picture at each tick, None where filled."""
    seen = [time for time in times if time is not None]
    repeats = skips = 0
    for before, now in pairwise(times):
        if before is not None and now is not None:
            repeats += now == before
            skips += max(round((now - before) / period_us) - 1, 0)
    return CameraShare(
        shown=len(seen),
        filled=len(times) - len(seen),
        repeats=repeats,
        skips=skips,
        first_us=seen[0] if seen else None,
        last_us=seen[-1] if seen else None,
    )
