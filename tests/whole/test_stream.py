"""The stream of a film that the real program made: rate, groups of pictures, index, parameter sets, quality at the
joins, and a browser that plays and seeks in it.
"""

import json
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
import pytest

from ezrec.adapters.cameras.synthetic.court import read_counter
from tests.fakes.site import Site
from tests.fakes.waiting import wait_until

CHUNK_S, FPS, WIDTH, OVERLAP = 2.5, 30, 480, 48  # a chunk is longer than a group of pictures may be


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[Site, Path]]:
    """A film of four chunks at the settings of a real one, and the site, with its segments kept."""
    site = Site(tmp_path,
                cameras={"width": WIDTH, "height": 270, "fps": FPS, "bitrate": 3_000_000, "keyframe_s": 1},
                film={"chunk_s": CHUNK_S, "preset": "veryfast", "maxrate": 12_000_000, "bufsize": 24_000_000,
                      "threads": 2, "keep_segments_h": 1})
    site.start()
    site.wait_said("ready")
    site.book("match", 2.5, 2.5 + 4 * CHUNK_S)
    film = site.wait_stage("match", "published")
    yield site, site.library / film["object_key"]
    site.end()


def top_boxes(path: Path) -> list[str]:
    """The names of an MP4's top boxes in order (ISO/IEC 14496-12, 4.2)."""
    names = []
    with path.open("rb") as file:
        while header := file.read(8):
            size, name = struct.unpack(">I4s", header)
            skip = size - 8
            if size == 1:
                skip = struct.unpack(">Q", file.read(8))[0] - 16
            names.append(name.decode())
            file.seek(skip, 1)
    return names


def units(packet: bytes) -> list[int]:
    """The kinds of a packet's NAL units, which carry their length in four bytes (ISO/IEC 14496-15, 5.3)."""
    kinds, at = [], 0
    while at < len(packet):
        kinds.append(packet[at + 4] & 31)
        at += 4 + int.from_bytes(packet[at:at + 4], "big")
    return kinds


def check_stream(film: Path) -> None:
    """Index in front, one rate, short closed groups of pictures, one parameter set."""
    boxes = top_boxes(film)
    assert boxes.index("moov") < boxes.index("mdat")
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == FPS
        tick = 1 / Fraction(FPS) / stream.time_base
        avcc = bytes(stream.codec_context.extradata)
        packets = [(packet.pts, packet.dts, packet.is_keyframe, units(bytes(packet)))
                   for packet in container.demux(stream) if packet.size]
    shown = sorted(pts for pts, *_ in packets)
    assert {later - earlier for earlier, later in pairwise(shown)} == {tick}
    decoded = [dts for _, dts, *_ in packets]
    assert {later - earlier for earlier, later in pairwise(decoded)} == {tick}
    assert avcc[5] & 31 == 1  # of sequence parameter sets (ISO/IEC 14496-15, 5.2.4.1)
    assert not {7, 8} & {kind for *_, kinds in packets for kind in kinds}
    keys = [number for number, (_, _, key, _) in enumerate(packets) if key]
    assert keys[0] == 0
    assert max(later - earlier for earlier, later in zip(keys, [*keys[1:], len(packets)], strict=True)) <= 2 * FPS
    for key in keys:
        assert 5 in packets[key][3]
        assert all(pts > packets[key][0] for pts, *_ in packets[key + 1:]), "a picture reaches back over a key frame"


def sources(site: Site) -> dict[int, Any]:
    """The left camera's pictures as recorded: its counter → luma of the part that it alone sees."""
    found = {}
    for path in sorted((site.data / "segments").rglob("left/*.ts")):
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                luma = frame.to_ndarray()[:frame.height]
                found[read_counter(luma, "left")] = luma[:, :WIDTH - OVERLAP].copy()
    return found


def check_joins(site: Site, film: Path) -> None:
    """The pictures around a join are as good as the others."""
    seen, quality = sources(site), []
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            luma = frame.to_ndarray()[:frame.height]
            source = seen[read_counter(luma, "left")].astype(np.int32)
            error = float(np.mean((luma[:, :WIDTH - OVERLAP] - source) ** 2))
            quality.append(10 * np.log10(255 ** 2 / max(error, 1e-6)))
    usual, each = median(quality), round(CHUNK_S * FPS)
    assert len(quality) >= 4 * each - 2
    for join in range(each, 4 * each - 5, each):
        around = quality[join - 5:join + 5]
        # Together: x264 gives the last pictures before any key frame, joined or not, up to 2.5 dB less (mb-tree).
        assert sum(around) / 10 >= usual - 1, [round(one - usual, 2) for one in around]
        assert min(around) >= usual - 3.5, [round(one - usual, 2) for one in around]


PAGE = """<!doctype html><video id=v muted preload=auto src=/film.mp4></video><script>
const v = document.getElementById('v'), said = {at: []};
const tell = () => fetch('/said', {method: 'POST', body: JSON.stringify(said)});
const next = what => new Promise(go => v.addEventListener(what, go, {once: true}));
v.onerror = () => { said.error = v.error.message || 'code ' + v.error.code; tell(); };
(async () => {
  if (v.readyState < 4) await next('canplaythrough');
  Object.assign(said, {width: v.videoWidth, height: v.videoHeight, seconds: v.duration});
  await v.play();
  while (v.currentTime < 0.5) await next('timeupdate');
  v.pause();
  for (const at of [v.duration - 0.5, 1.0, v.duration / 2]) {
    v.currentTime = at;
    await next('seeked');
    said.at.push([at, v.currentTime, v.readyState]);
  }
  said.frames = v.getVideoPlaybackQuality().totalVideoFrames;
  tell();
})();
</script>"""


def serve(film: Path, said: list[dict[str, Any]]) -> ThreadingHTTPServer:
    """A web server with a page that plays the film and tells what came of it."""
    content = film.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, kind = (content, "video/mp4") if self.path == "/film.mp4" else (PAGE.encode(), "text/html")
            first, _, last = self.headers.get("Range", "bytes=-").removeprefix("bytes=").partition("-")
            begin, stop = int(first or 0), min(int(last or len(body) - 1), len(body) - 1)
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {begin}-{stop}/{len(body)}")
            self.send_header("Content-Length", str(stop + 1 - begin))
            self.end_headers()
            try:
                self.wfile.write(body[begin:stop + 1])
            except ConnectionError:
                self.close_connection = True  # the browser has enough of it

        def do_POST(self) -> None:
            said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def check_browser(film: Path, folder: Path) -> None:
    """A browser plays the film and seeks in it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    said: list[dict[str, Any]] = []
    server = serve(film, said)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               "--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder}",
               f"http://127.0.0.1:{server.server_port}/"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            (told,) = wait_until(lambda: said, 60, "the browser's word")
        finally:
            process.kill()
            server.shutdown()
            server.server_close()
    assert "error" not in told, told
    assert (told["width"], told["height"]) == (2 * WIDTH - OVERLAP, 270)
    assert abs(told["seconds"] - 4 * CHUNK_S) < 0.2
    assert told["frames"] > 10
    for wanted, reached, ready in told["at"]:
        assert abs(wanted - reached) < 0.05
        assert ready >= 2  # HAVE_CURRENT_DATA


def test_a_film_is_an_even_stream_that_is_good_at_its_joins_and_plays_in_a_browser(
        made: tuple[Site, Path], tmp_path: Path) -> None:
    site, film = made
    check_stream(film)
    check_joins(site, film)
    check_browser(film, tmp_path / "browser")


@pytest.mark.parametrize(("cameras", "rate", "expected"), [
    ("25", None, Fraction(25)), ("30000/1001", None, Fraction(30_000, 1001)), ("30", 25, Fraction(25)),
    ("24", "30000/1001", Fraction(30_000, 1001)),
])
def test_a_film_has_the_rate_that_was_asked_for_whatever_the_cameras_have(
        tmp_path: Path, cameras: str, rate: int | str | None, expected: Fraction) -> None:
    site = Site(tmp_path, cameras={"fps": cameras}, film={} if rate is None else {"rate": rate})
    try:
        site.start()
        site.wait_said("ready")
        site.book("match", 2.5, 6)
        film = site.wait_stage("match", "cleaned")
        certificate, seen = site.check("match")
        assert certificate["rate"] == f"{expected.numerator}/{expected.denominator}"
        with av.open(str(site.library / film["object_key"])) as container:
            stream = container.streams.video[0]
            tick = 1 / expected / stream.time_base
            shown = sorted(packet.pts for packet in container.demux(stream) if packet.size)
        assert {later - earlier for earlier, later in pairwise(shown)} == {tick}
        assert abs(seen.ticks - 3.5 * expected) <= 2
        assert site.stop() == 0
    finally:
        site.end()
