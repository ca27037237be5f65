"""A chunk shows the frames it should, says truly what it shows, and survives damaged footage."""

import errno
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from ezrec.domain.errors import BadMedia, FootageAway, FootageGone
from ezrec.domain.film import ChunkJob, Footage, Logo, Recipe, Rung
from ezrec.domain.loss import Loss
from ezrec.media.chunk import render
from ezrec.media.drawing import BANDS
from ezrec.media.geometry import canvas_for
from ezrec.media.join import Joiner

Jobs = Callable[..., ChunkJob]
Shoot = Callable[..., tuple[Footage, ...]]
ROOT = str(Path(__file__).parents[2])
RENDER = "import pickle, sys; from ezrec.media.chunk import render; render(pickle.load(open(sys.argv[1], 'rb')))"
RIGHT_X = 288  # where the right view begins on the canvas of the `recipe` fixture


def counters(path: str, tools: Any) -> tuple[list[int], list[int]]:
    """The counters that the left and the right half of the film at `path` show."""
    seen = [tools.luma_of(frame) for frame in tools.pictures(path)]
    return [tools.read_counter(one) for one in seen], [tools.read_counter(one, RIGHT_X) for one in seen]


def test_every_tick_shows_the_frame_of_its_time(job: Jobs, footage: Shoot, tools: Any) -> None:
    made = job(footage("l", tools.shots(70)), footage("r", tools.shots(70)), first=25, ticks=20)
    report = render(made)
    left, right = counters(made.out, tools)
    assert left == right == list(range(25, 45))
    share = report.cameras["left"]
    assert (share.shown, share.filled, share.repeats, share.skips, share.corrupt) == (20, 0, 0, 0, 0)
    assert abs((share.first_us or 0) - 833_333) < 20
    assert (report.both, report.apart, report.bytes) == (20, 0, Path(made.out).stat().st_size)


def test_the_first_picture_is_a_key_frame_and_groups_are_closed(job: Jobs, footage: Shoot, tools: Any) -> None:
    made = job(footage("l", tools.shots(60)), footage("r", tools.shots(60)), ticks=40)
    render(made)
    with av.open(made.out) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        context = container.streams.video[0].codec_context
        assert (context.width, context.height) == (608, 180)
        assert (int(context.color_range), int(context.colorspace)) == (1, 1)
    keys = [n for n, packet in enumerate(packets) if packet.is_keyframe]
    assert keys[0] == 0
    assert max(b - a for a, b in zip([*keys, 40], [*keys[1:], 40, 40], strict=False)) <= 15
    for key in keys:  # no picture of a later group is shown before its key frame
        assert all(packet.pts >= packets[key].pts for packet in packets[key:])


@pytest.mark.parametrize(("threads", "limit"), [(2, 12_000_000), (1, 30_000)])
def test_the_same_job_gives_the_same_bytes(
    job: Jobs, footage: Shoot, tools: Any, recipe: Recipe, threads: int, limit: int
) -> None:
    """In processes whose memory holds other rubbish; with one thread also where the bitrate's limit binds."""
    tight = replace(recipe.encoder, threads=threads, preset="veryfast", maxrate=limit, bufsize=limit)
    made = job(footage("l", tools.shots(40)), footage("r", tools.shots(40)), recipe=replace(recipe, encoder=tight))
    handed_over = Path(made.out).with_name("job")
    handed_over.write_bytes(pickle.dumps(made))
    command = [sys.executable, "-W", "ignore", "-c", RENDER, str(handed_over)]
    digests = set()
    for rubbish in ("1", "170"):  # what glibc fills fresh memory with
        memory = {"MALLOC_PERTURB_": rubbish, "MALLOC_MMAP_THRESHOLD_": "4000000000"}
        subprocess.run(command, check=True, env=os.environ | memory | {"PYTHONPATH": ROOT})
        digests.add(hashlib.sha256(Path(made.out).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_dropped_frames_are_counted_as_the_counters_show_them(job: Jobs, footage: Shoot, tools: Any) -> None:
    lossy = [shot for shot in tools.shots(60) if shot[1] not in (10, 11, 30)]
    made = job(footage("l", lossy), footage("r", tools.shots(60)), ticks=50)
    share = render(made).cameras["left"]
    left, right = counters(made.out, tools)
    steps = np.diff(left)
    assert right == left  # the right half shows what is nearest to the left half's picture
    assert share.repeats == int((steps == 0).sum()) == 3
    assert share.skips == share.drops == int((steps[steps > 0] - 1).sum()) == 3


def test_a_slower_camera_repeats_and_a_faster_one_skips(job: Jobs, footage: Shoot, tools: Any) -> None:
    made = job(footage("l", tools.shots(40, rate=25)), footage("r", tools.shots(80, rate=60)), ticks=30)
    report = render(made)
    left, right = counters(made.out, tools)
    assert report.cameras["left"].repeats == 30 - len(set(left)) == 5
    assert report.cameras["right"].skips == sum(max(step - 1, 0) for step in np.diff(right))
    assert report.apart == 0
    assert report.worst_us <= 8_334 + 2000


def test_halves_that_are_apart_are_told(job: Jobs, footage: Shoot, tools: Any) -> None:
    lossy = [shot for shot in tools.shots(60) if not 10 <= shot[1] < 22]
    report = render(job(footage("l", tools.shots(60)), footage("r", lossy), ticks=40))
    assert report.cameras["right"].filled == 0
    assert report.apart >= 10
    assert 195_000 < report.worst_us < 220_000


def test_a_half_that_nobody_saw_is_filled_and_not_counted_as_skipped(job: Jobs, footage: Shoot, tools: Any) -> None:
    times = tools.shots(90)
    early, late = footage("l", times[:20], each=20), footage("m", times[60:], each=30)
    made = job((*early, *late), footage("r", times), ticks=80)
    report = render(made)
    share = report.cameras["left"]
    assert (share.shown, share.filled, share.skips, report.both) == (40, 40, 0, 40)
    frames = [tools.luma_of(frame) for frame in tools.pictures(made.out)]
    halves = [one[:, :280] for one in frames]
    calm = [n for n, half in enumerate(halves) if min(BANDS) < half.mean() < max(BANDS) and half.std() < 8]
    assert calm == list(range(20, 60))
    assert [tools.read_counter(one, RIGHT_X) for one in frames] == list(range(80))


def test_a_gap_stated_inside_a_segment_is_filled(job: Jobs, footage: Shoot, tools: Any) -> None:
    (piece,) = footage("l", [shot for shot in tools.shots(60) if not 15 <= shot[1] < 45], each=60)
    gap = (550_000, 1_480_000)  # a row may reckon with another frame time than the frames tell
    report = render(job((replace(piece, gaps=(gap,)),), footage("r", tools.shots(60)), ticks=60))
    assert (report.cameras["left"].shown, report.cameras["left"].filled) == (32, 28)
    assert report.lost == ()


def test_frames_after_the_end_of_a_segment_are_not_shown(job: Jobs, footage: Shoot, tools: Any) -> None:
    (piece,) = footage("l", tools.shots(40), each=40)
    made = job((replace(piece, end_us=690_000),), footage("r", tools.shots(40)), ticks=30, anchor_us=22_000)
    assert render(made).cameras["left"].shown == 21
    assert counters(made.out, tools)[0][:21] == [*range(1, 21), 20]


def test_of_segments_that_overlap_each_time_is_shown_once(job: Jobs, footage: Shoot, tools: Any) -> None:
    times = tools.shots(80)
    early, late = footage("l", times[:30]), footage("m", times[22:], each=60)
    made = job((*early, *late), footage("r", times), first=15, ticks=30)
    share = render(made).cameras["left"]
    left, right = counters(made.out, tools)
    assert left == right == list(range(15, 45))
    assert (share.shown, share.repeats, share.skips, share.drops, share.corrupt) == (30, 0, 0, 0, 0)


def test_damage_repeats_the_last_good_frame_until_the_next_key_frame(job: Jobs, footage: Shoot, tools: Any) -> None:
    (piece,) = footage("l", tools.shots(60), each=60)
    data = bytearray(Path(piece.path).read_bytes())
    with av.open(piece.path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        start = packets[20].pos
        end = packets[21].pos
    for at in range(start, end, 188):  # keep the transport packets' headers, ruin what they carry
        data[at + 40 : at + 188] = bytes(b ^ 0x5A for b in data[at + 40 : at + 188])
    Path(piece.path).write_bytes(data)
    made = job((piece,), footage("r", tools.shots(60)), ticks=50)
    share = render(made).cameras["left"]
    left, right = counters(made.out, tools)
    assert share.corrupt >= 1
    assert right == list(range(50))
    assert left[:20] == list(range(20))
    assert left[20:30] == [19] * 10
    assert left[30:] == list(range(30, 50))


def ruin(piece: Footage, first: int, last: int) -> None:
    """Ruin what frames `first` to `last` carry; the transport packets' headers stay, so all packets are there."""
    path = Path(piece.path)
    data = bytearray(path.read_bytes())
    with av.open(piece.path) as container:
        packets = [packet.pos or 0 for packet in container.demux(video=0) if packet.size] + [len(data)]
    for at in range(packets[first], packets[last + 1], 188):
        data[at + 40 : at + 188] = bytes(148)
    path.write_bytes(data)


def test_a_packet_that_the_decoder_refuses_is_counted(job: Jobs, footage: Shoot, tools: Any) -> None:
    (piece,) = footage("l", tools.shots(80, rate=40), each=80)
    ruin(piece, 30, 30)  # a key frame
    made = job((piece,), footage("r", tools.shots(60)), ticks=60)
    report = render(made)
    assert report.cameras["left"].corrupt == 1  # it becomes one with the next; a picture that builds on them comes out
    assert report.lost == ()
    left, _ = counters(made.out, tools)
    assert [left[tick] for tick in (21, 22, 33)] == [28, 29, 29]  # up to the key frame after 1.125 s
    assert left[34] == 45


@pytest.mark.parametrize(("first", "last"), [(0, 29), (20, 39), (30, 30), (30, 59)])
def test_what_is_there_and_does_not_decode_for_half_a_second_is_lost(
    job: Jobs, footage: Shoot, tools: Any, first: int, last: int
) -> None:
    (piece,) = footage("l", tools.shots(60), each=60)
    ruin(piece, first, last)
    made = job((piece,), footage("r", tools.shots(60)), ticks=60)
    report = render(made)
    end = (last // 15 + 1) * 15  # the next key frame
    (loss,) = report.lost
    assert (loss.camera, loss.path, loss.reason) == ("left", piece.path, "is damaged")
    assert abs(loss.from_us - first * 1_000_000 / 30) < 40_000
    assert abs(loss.to_us - end * 1_000_000 / 30) < 40_000
    left, right = counters(made.out, tools)
    shown = [tick for tick in range(60) if not loss.from_us <= tick * 1_000_000 / 30 < loss.to_us]
    assert [left[tick] for tick in shown] == shown
    assert right == list(range(60))
    assert report.cameras["left"].filled == 60 - len(shown)


def test_a_truncated_segment_gives_what_it_has(job: Jobs, footage: Shoot, tools: Any) -> None:
    (piece,) = footage("l", tools.shots(60), each=60)
    path = Path(piece.path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 188 * 188 + 50])
    made = job((piece,), footage("r", tools.shots(60)), ticks=60)
    report = render(made)
    share = report.cameras["left"]
    left, _ = counters(made.out, tools)
    assert 15 <= share.shown <= 45
    assert left[: share.shown - 1] == list(range(share.shown - 1))
    assert share.shown + share.filled == 60
    assert [(loss.to_us, loss.reason) for loss in report.lost] == [(piece.end_us, "is damaged")]


def test_zeros_in_the_middle_of_a_segment_cost_that_time_and_no_more(job: Jobs, footage: Shoot, tools: Any) -> None:
    (piece,) = footage("l", tools.shots(120), each=120)
    path = Path(piece.path)
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + bytes(third) + data[2 * third :])
    report = render(job((piece,), footage("r", tools.shots(120)), ticks=120))
    (loss,) = report.lost
    assert 1.1 < (loss.to_us - loss.from_us) / 1_000_000 < 2.1  # up to the key frame after it
    share = report.cameras["left"]
    assert abs(share.filled - (loss.to_us - loss.from_us) * 30 / 1_000_000) <= 1
    assert share.shown == 120 - share.filled


def test_pictures_that_build_on_missing_ones_are_not_shown_though_no_packet_tells_it(
    job: Jobs, footage: Shoot, tools: Any
) -> None:
    (piece,) = footage("l", tools.shots(90), each=90)
    path = Path(piece.path)
    data = bytearray(path.read_bytes())
    with av.open(piece.path) as container:
        places = [packet.pos or 0 for packet in container.demux(video=0) if packet.size]
    del data[places[20] : places[50]]
    counters_of: dict[int, int] = {}
    for at in range(0, len(data), 188):  # the transport packets' counters go on as if nothing was missing
        stream, content = (data[at + 1] & 0x1F) << 8 | data[at + 2], data[at + 3] & 0x10
        counter = counters_of.get(stream, -1) + (1 if content else 0)
        data[at + 3] = data[at + 3] & 0xF0 | counter & 0x0F
        counters_of[stream] = counter
    path.write_bytes(data)
    made = job((piece,), footage("r", tools.shots(90)), ticks=90)
    (loss,) = render(made).lost
    assert (round(loss.from_us, -4), round(loss.to_us, -4)) == (670_000, 1_670_000)
    left, _ = counters(made.out, tools)
    assert left[:20] == list(range(20))
    assert left[50:] == [60] * 10 + list(range(60, 90))  # a third of a second is bridged by the key frame behind it


@pytest.mark.parametrize("content", [None, b"", b"this is not a film\n" * 40, bytes(4000), "folder", "pipe", "huge"])
def test_one_segment_of_three_that_cannot_be_read_leaves_a_filled_half(
    job: Jobs, footage: Shoot, tools: Any, content: bytes | str | None
) -> None:
    pieces = footage("l", tools.shots(90))
    path = Path(pieces[1].path)
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content == "pipe":
        os.mkfifo(path)
    elif content == "huge":
        path.touch()
        os.truncate(path, 1 << 42)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    report = render(job(pieces, footage("r", tools.shots(90)), ticks=85, accept_loss=content is None))
    share = report.cameras["left"]
    assert (share.filled, share.shown) == (30, 55)
    assert share.corrupt == 1
    assert report.lost == (Loss("left", str(path), pieces[1].start_us, pieces[1].end_us,
                                "is missing" if content is None else "is damaged"),)


def test_footage_that_is_missing_is_first_waited_for(job: Jobs, footage: Shoot, tools: Any) -> None:
    pieces = footage("l", tools.shots(90))
    Path(pieces[1].path).unlink()
    made = job(pieces, footage("r", tools.shots(90)), ticks=85)
    with pytest.raises(FootageAway, match=r"l30\.ts is missing: the disk may come back"):
        render(made)
    assert not list(Path(made.out).parent.glob("chunk*"))


def test_a_disk_that_fails_is_told_from_damage(
    job: Jobs, footage: Shoot, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, real = footage("l", tools.shots(90)), os.open

    def failing(path: Any, *rest: Any, **more: Any) -> int:
        if path == pieces[1].path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", failing)
    made = job(pieces, footage("r", tools.shots(90)), ticks=85)
    with pytest.raises(FootageAway, match=r"cannot be read \(Input/output error\): the disk may come back"):
        render(made)
    report = render(replace(made, accept_loss=True))
    assert [loss.reason for loss in report.lost] == ["cannot be read (Input/output error)"]


def test_a_link_to_itself_in_a_segments_place_cannot_be_read(job: Jobs, footage: Shoot, tools: Any) -> None:
    pieces = footage("l", tools.shots(90))
    path = Path(pieces[1].path)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(FootageAway, match="Too many levels of symbolic links"):
        render(job(pieces, footage("r", tools.shots(90)), ticks=85))


@pytest.mark.parametrize("rung", [Rung.FULL, Rung.PLAIN])
def test_a_time_that_no_file_gives_is_told_with_every_loss_from_the_chunk_on(
    job: Jobs, footage: Shoot, tools: Any, rung: Rung
) -> None:
    left, right = footage("l", tools.shots(120)), footage("r", tools.shots(120))
    for piece in (*left[1:3], right[1]):
        Path(piece.path).write_bytes(bytes(5000))
    made = job(left, right, first=45, ticks=30, rung=rung)
    with pytest.raises(FootageGone) as caught:
        render(made)
    error = pickle.loads(pickle.dumps(caught.value))  # out of a worker
    assert [(loss.camera, loss.path, loss.from_us, loss.to_us) for loss in error.losses] == [
        ("left", left[1].path, 1_500_000, left[1].end_us),
        ("left", left[2].path, left[2].start_us, left[2].end_us),
        ("right", right[1].path, 1_500_000, right[1].end_us)]
    assert str(error) == f"{left[1].path} is damaged (and 2 more)"
    assert not list(Path(made.out).parent.glob("chunk*"))


def test_what_was_noted_as_lost_is_not_told_again(job: Jobs, footage: Shoot, tools: Any) -> None:
    left, right = footage("l", tools.shots(90)), footage("r", tools.shots(90))
    Path(left[1].path).write_bytes(bytes(5000))
    noted = replace(left[1], gaps=((left[1].start_us, left[1].end_us),))
    report = render(job((left[0], noted, left[2]), right, ticks=85))
    assert report.lost == ()
    assert report.cameras["left"].filled == 30


def test_a_loss_that_reaches_less_than_half_a_second_into_a_chunk_is_bridged(
    job: Jobs, footage: Shoot, tools: Any
) -> None:
    left, right = footage("l", tools.shots(90)), footage("r", tools.shots(90))
    for piece in (left[1], right[1]):
        Path(piece.path).write_bytes(bytes(5000))
    report = render(job(left[1:], right[1:], first=50, ticks=30))
    assert report.lost == ()
    assert report.cameras["left"].shown == 30


@pytest.mark.parametrize("rung", [Rung.FULL, Rung.RIGHT])
def test_a_view_of_which_nothing_can_be_read_is_filled(job: Jobs, footage: Shoot, tools: Any, rung: Rung) -> None:
    (piece,) = footage("l", tools.shots(30), each=30)
    Path(piece.path).write_bytes(b"rubbish" * 1000)
    report = render(job((piece,), footage("r", tools.shots(30)), ticks=20, rung=rung))
    assert (report.cameras["left"].filled, report.cameras["right"].shown) == (20, 20)
    assert len(report.lost) == (rung is Rung.FULL)  # the other camera's files are not looked at on a lower rung


def test_a_rung_whose_only_view_cannot_be_read_is_bad_media_and_leaves_nothing(
    job: Jobs, footage: Shoot, tools: Any
) -> None:
    (piece,) = footage("l", tools.shots(30), each=30)
    Path(piece.path).write_bytes(b"rubbish" * 1000)
    made = job((piece,), footage("r", tools.shots(30)), ticks=20, rung=Rung.LEFT)
    with pytest.raises(BadMedia, match="nothing that camera left recorded"):
        render(made)
    assert not list(Path(made.out).parent.glob("chunk*"))


def test_an_encoder_that_refuses_its_options_is_bad_media_and_leaves_nothing(
    job: Jobs, footage: Shoot, tools: Any, recipe: Recipe
) -> None:
    unknown = replace(recipe, encoder=replace(recipe.encoder, preset="nonsense"))
    made = job(footage("l", tools.shots(30)), footage("r", tools.shots(30)), recipe=unknown, ticks=10)
    with pytest.raises(BadMedia, match=r"chunk0\.mp4: cannot be encoded"):
        render(made)
    assert not list(Path(made.out).parent.glob("chunk*"))


def test_a_logo_that_cannot_be_used_is_bad_media_and_the_plain_rung_goes_without(
    job: Jobs, footage: Shoot, tools: Any, recipe: Recipe, tmp_path: Path
) -> None:
    with_logo = replace(recipe, logos=(Logo("x", str(tmp_path / "none.png"), "0", "top_left", 40, 8),))
    made = job(footage("l", tools.shots(30)), footage("r", tools.shots(30)), recipe=with_logo, ticks=10)
    with pytest.raises(BadMedia, match=r"none\.png"):
        render(made)
    assert render(replace(made, rung=Rung.PLAIN)).both == 10


def test_a_logo_is_on_every_picture(job: Jobs, footage: Shoot, tools: Any, recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "logo.png"
    path.write_bytes(bytes(cv2.imencode(".png", np.full((20, 40, 3), 255, np.uint8))[1]))
    logos = tuple(Logo(p, str(path), "0", p, 40, 8) for p in ("top_left", "top_right"))
    branded = replace(recipe, logos=logos)
    made = job(footage("l", tools.shots(30)), footage("r", tools.shots(30)), recipe=branded, ticks=6)
    render(made)
    for frame in tools.pictures(made.out):
        luma = tools.luma_of(frame)
        assert luma[12:24, 12:44].min() > 220
        assert luma[12:24, 608 - 44 : 608 - 12].min() > 220


@pytest.mark.parametrize("rung", list(Rung))
def test_every_rung_gives_all_ticks(job: Jobs, footage: Shoot, tools: Any, rung: Rung) -> None:
    made = job(footage("l", tools.shots(20)), footage("r", tools.shots(20)), ticks=10, rung=rung)
    report = render(made)
    shown = {name: share.shown for name, share in report.cameras.items()}
    assert shown == {"left": 0 if rung is Rung.RIGHT else 10, "right": 0 if rung is Rung.LEFT else 10}
    assert {(one.drops, one.repeats, one.skips, one.corrupt) for one in report.cameras.values()} == {(0, 0, 0, 0)}
    assert len(tools.pictures(made.out)) == 10


def test_the_plain_rung_has_a_hard_edge(job: Jobs, footage: Shoot, tools: Any, recipe: Recipe) -> None:
    made = job(footage("l", tools.shots(5)), footage("r", tools.shots(5)), ticks=1, rung=Rung.PLAIN)
    render(made)
    luma = tools.luma_of(tools.pictures(made.out)[0]).astype(int)
    expected = tools.luma_of(tools.drawn(0)).astype(int)
    assert np.abs(luma[:70, 290:302] - expected[:70, 290:302]).mean() < 4
    assert np.abs(luma[:70, 306:318] - expected[:70, 18:30]).mean() < 4


def test_views_of_different_size_are_brought_to_one_height(
    job: Jobs, footage: Shoot, tools: Any, recipe: Recipe
) -> None:
    canvas = canvas_for("side_by_side", {"left": (324, 200), "right": (320, 180)})
    made = job(
        footage("l", tools.shots(10), size=(324, 200)),
        footage("r", tools.shots(10)),
        recipe=replace(recipe, canvas=canvas),
        ticks=5,
    )
    render(made)
    film = tools.pictures(made.out)[2]
    assert (film.width, film.height) == (canvas.width, 180)
    assert tools.read_counter(tools.luma_of(film), canvas.views[1].x) == 2


def test_the_poster_is_the_middle_picture(job: Jobs, footage: Shoot, tools: Any, tmp_path: Path) -> None:
    made = job(footage("l", tools.shots(40)), footage("r", tools.shots(40)), ticks=21, poster=str(tmp_path / "p.jpg"))
    render(made)
    poster = cv2.imread(str(tmp_path / "p.jpg"))
    assert poster is not None
    assert poster.shape[:2] == (180, 608)
    assert tools.read_counter(cv2.cvtColor(poster, cv2.COLOR_BGR2GRAY)) == 10


def test_nothing_temporary_is_left_and_an_old_chunk_is_replaced(job: Jobs, footage: Shoot, tools: Any) -> None:
    made = job(footage("l", tools.shots(20)), footage("r", tools.shots(20)), ticks=5)
    Path(made.out).write_bytes(b"old")
    render(made)
    assert len(tools.pictures(made.out)) == 5
    assert not list(Path(made.out).parent.glob("*.tmp"))


def test_pictures_around_joins_are_as_good_as_elsewhere(
    job: Jobs, footage: Shoot, tools: Any, recipe: Recipe, tmp_path: Path
) -> None:
    left, right = footage("l", tools.shots(130)), footage("r", tools.shots(130))
    tuned = replace(recipe, encoder=replace(recipe.encoder, preset="veryfast", crf=23))
    joiner = Joiner(tmp_path / "film.mp4", tuned)
    for number in range(4):
        made = job(left, right, first=30 * number, recipe=tuned)
        render(made)
        joiner.add(made.out, 30)
    joiner.close()
    quality = []
    for n, frame in enumerate(tools.pictures(tmp_path / "film.mp4")):
        error = tools.luma_of(frame)[:, :288].astype(float) - tools.luma_of(tools.drawn(n))[:, :288]
        quality.append(10 * np.log10(255**2 / np.mean(error**2)))
    for join in (30, 60, 90):
        assert np.mean(quality[join - 5 : join + 5]) >= np.median(quality) - 1
        assert min(quality[join - 5 : join + 5]) >= np.median(quality) - 3


def test_a_camera_with_one_frame_only_is_measured_by_the_films_rate(job: Jobs, footage: Shoot, tools: Any) -> None:
    (one,) = footage("r", tools.shots(1))
    report = render(job(footage("l", tools.shots(40)), (replace(one, end_us=500_000),), ticks=15))
    assert (report.cameras["right"].shown, report.cameras["right"].repeats) == (15, 14)
    assert (report.both, report.apart) == (15, 14)  # only at its own tick is it within half a frame and 2 ms
