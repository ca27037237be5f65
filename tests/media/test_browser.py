"""A film plays in a browser, and seeking shows the frame of the time that was asked for."""

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any, ClassVar

import numpy as np
import pytest

from ezrec.adapters.storage import Part
from ezrec.adapters.storage.s3 import S3Storage
from ezrec.config import sections
from ezrec.domain.film import ChunkJob, Recipe
from ezrec.media.chunk import render
from ezrec.media.join import Joiner
from tests.fakes.cloud.chaos import ChaosProxy
from tests.fakes.cloud.s3 import S3
from tests.fakes.waiting import eventually, wait_until

KEY = "2026-11-20/match.mp4"
PIECE, LINE = 50_000, 2_500_000  # bytes that the browser is sent at a time, and in a second: 20 Mbit/s
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PAGE = """<!doctype html><meta charset=utf-8><video id=v muted preload=auto></video><script>
const v = document.getElementById('v'), found = {seen: []};
const event = name => new Promise((done, failed) => {
  v.addEventListener(name, done, {once: true});
  v.addEventListener('error', () => failed(v.error.message), {once: true});
});
const counter = () => {
  const c = document.createElement('canvas');
  c.width = v.videoWidth; c.height = v.videoHeight;
  const g = c.getContext('2d');
  g.drawImage(v, 0, 0);
  let n = 0;
  for (let bit = 0; bit < 12; bit++) if (g.getImageData(100 + 8 * bit, 88, 1, 1).data[0] > 120) n |= 1 << bit;
  return n;
};
(async () => {
  try {
    const ready = event('loadeddata');
    v.src = 'FILM';
    await ready;
    Object.assign(found, {width: v.videoWidth, height: v.videoHeight, duration: v.duration});
    for (const tick of TICKS) {
      const sought = event('seeked');
      v.currentTime = (tick + 0.5) / 30;
      await sought;
      for (let n = 0; n < 100 && counter() !== tick; n++)  // a busy machine shows it a moment later
        await new Promise(done => setTimeout(done, 50));
      found.seen.push([tick, counter()]);
    }
    v.currentTime = 2.5;
    await event('seeked');
    const over = event('ended');
    await v.play();
    await over;
    found.ended = v.currentTime;
  } catch (error) { found.error = String(error); }
  fetch('REPORT/found', {method: 'POST', mode: 'no-cors', body: JSON.stringify(found)});
})();
</script>"""


def page(film: str, report: str, ticks: Sequence[int]) -> str:
    """A page that plays the film at a URL, seeks to the ticks and reports what it saw."""
    return PAGE.replace("FILM", film).replace("REPORT", report).replace("TICKS", str(list(ticks)))


def shown(url: str, profile: Path) -> Any:
    """What Chromium finds on that page."""
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--autoplay-policy=no-user-gesture-required",
        f"--user-data-dir={profile}",
        url,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            return Ranged.found.get(timeout=60)
        finally:
            browser.terminate()


class Ranged(SimpleHTTPRequestHandler):
    """Answers byte ranges, which browsers need to seek, and takes the page's findings."""

    found: Queue[Any] = Queue()
    sent: ClassVar[list[tuple[int, int]]] = []  # from where, and how much of it before the browser had enough

    def do_POST(self) -> None:
        self.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not asked or not path.is_file():
            super().do_GET()
            return
        data = path.read_bytes()
        first, last = int(asked[1]), int(asked[2] or len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        at = first
        with suppress(ConnectionError):  # the browser has seen enough of it
            while at <= last:
                self.wfile.write(data[at : min(at + PIECE, last + 1)])
                at += PIECE
                time.sleep(PIECE / LINE)
        self.sent.append((first, at - first))

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def noisy(drawn: Callable[..., Any], counter: int, *size: int) -> Any:
    """A picture that takes so many bytes that a browser asks for its film in ranges, as it does for a long one."""
    frame = drawn(counter, *size)
    plane = np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)
    noise = np.random.default_rng(counter).integers(0, 60, plane.shape, np.uint8)
    plane[:70] += noise[:70]
    plane[110:] += noise[110:]  # the counter stands between them
    return frame


async def store(film: Path, server: S3, bucket: str) -> None:
    """Put the film into the bucket as the program does."""
    settings = sections.S3Settings(endpoint=server.endpoint, bucket=bucket, access_key_id=server.key,
                           secret_access_key=sections.Secret(server.secret))
    storage, data, size = S3Storage(settings, lambda: False), film.read_bytes(), 1 << 20
    parts = [Part(number, at, len(data[at : at + size]), hashlib.md5(data[at : at + size]).hexdigest())
             for number, at in enumerate(range(0, len(data), size), 1)]
    upload_id = await storage.begin(KEY)
    for part in [*parts[1:], parts[0]]:
        await storage.put_part(KEY, upload_id, part, film)
    await storage.complete(KEY, upload_id, parts, film)
    await storage.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranged, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_a_film_plays_and_seeks_in_chromium(
    tmp_path: Path, served: str, recipe: Recipe, job: Callable[..., ChunkJob], footage: Any, tools: Any
) -> None:
    left, right = footage("l", tools.shots(100)), footage("r", tools.shots(100))
    joiner = Joiner(tmp_path / "site" / "film.mp4", recipe)
    for first in (0, 30, 60):
        made = job(left, right, first=first)
        render(made)
        joiner.add(made.out, 30)
    joiner.close()
    (tmp_path / "site" / "index.html").write_text(page("film.mp4", served, [30, 7, 75, 0, 89]))
    found = shown(f"{served}/index.html", tmp_path / "profile")
    assert "error" not in found, found
    assert (found["width"], found["height"], round(found["duration"], 2)) == (608, 180, 3.0)
    assert [counter for _, counter in found["seen"]] == [tick for tick, _ in found["seen"]]
    assert found["ended"] == pytest.approx(3.0, abs=0.05)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_what_an_index_leaves_empty_is_not_loaded(
    tmp_path: Path, served: str, recipe: Recipe, job: Callable[..., ChunkJob], footage: Any, tools: Any
) -> None:
    made = job(footage("l", tools.shots(100)), footage("r", tools.shots(100)), ticks=90)
    render(made)
    joiner = Joiner(tmp_path / "site" / "film.mp4", replace(recipe, index_reserve=12 << 20))
    joiner.add(made.out, 90)
    joiner.close()
    (tmp_path / "site" / "index.html").write_text(page("film.mp4", served, [30, 7]))
    Ranged.sent.clear()
    found = shown(f"{served}/index.html", tmp_path / "profile")
    assert "error" not in found, found
    assert [counter for _, counter in found["seen"]] == [30, 7]
    wait_until(lambda: len(Ranged.sent) > 1, 10)
    assert sum(size for _, size in Ranged.sent) < 4 << 20, Ranged.sent


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
async def test_a_film_in_a_bucket_plays_from_a_presigned_url_and_seeks_before_it_is_loaded(
    tmp_path: Path, served: str, recipe: Recipe, job: Callable[..., ChunkJob], footage: Any, tools: Any,
    ministack: S3, bucket: str, s3_net: ChaosProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tools.write_segment.__globals__, "drawn", partial(noisy, tools.drawn))
    left, right = footage("l", tools.shots(100)), footage("r", tools.shots(100))
    film = tmp_path / "film.mp4"
    joiner = Joiner(film, recipe)
    for first in (0, 30, 60):
        made = job(left, right, first=first)
        render(made)
        joiner.add(made.out, 30)
    joiner.close()
    await store(film, ministack, bucket)
    assert ministack.sha256(bucket, KEY) == hashlib.sha256(film.read_bytes()).hexdigest()

    s3_net.slow(film.stat().st_size // 30)  # all of it would take half a minute
    url = ministack.presigned(bucket, KEY, endpoint=s3_net.url)
    with ministack.client() as s3:
        s3.put_object(Bucket=bucket, Key="index.html", ContentType="text/html", Body=page(url, served, [80, 20]))
    start = ministack.presigned(bucket, "index.html", endpoint=s3_net.url)
    watching = asyncio.create_task(asyncio.to_thread(shown, start, tmp_path / "profile"))

    async def sought() -> bool:
        return watching.done() or s3_net.count("GET", KEY) > 1

    await eventually(sought, 60, "the seek")
    loaded = s3_net.seen("GET", KEY)[0].down
    s3_net.heal()
    found = await watching
    assert "error" not in found, found
    assert loaded < film.stat().st_size
    assert [counter for _, counter in found["seen"]] == [80, 20]
    assert found["ended"] == pytest.approx(3.0, abs=0.05)
