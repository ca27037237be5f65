"""A film plays in a browser, and seeking shows the frame of the time that was asked for."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from ezrec.domain.film import ChunkJob, Recipe
from ezrec.media.chunk import render
from ezrec.media.join import Joiner

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PAGE = """<!doctype html><video id=v muted preload=auto></video><script>
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
    v.src = 'film.mp4';
    await ready;
    Object.assign(found, {width: v.videoWidth, height: v.videoHeight, duration: v.duration});
    for (const tick of [30, 7, 75, 0, 89]) {
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
  fetch('found', {method: 'POST', body: JSON.stringify(found)});
})();
</script>"""


class Ranged(SimpleHTTPRequestHandler):
    """Answers byte ranges, which browsers need to seek, and takes the page's findings."""

    found: Queue[Any] = Queue()

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
        try:
            self.wfile.write(data[first : last + 1])
        except ConnectionError:
            return  # the browser has seen enough of it

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


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


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to play the film with")
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
    (tmp_path / "site" / "index.html").write_text(PAGE)
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--autoplay-policy=no-user-gesture-required",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"{served}/index.html",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            found = Ranged.found.get(timeout=60)
        finally:
            browser.terminate()
    assert "error" not in found, found
    assert (found["width"], found["height"], round(found["duration"], 2)) == (608, 180, 3.0)
    assert [counter for _, counter in found["seen"]] == [tick for tick, _ in found["seen"]]
    assert found["ended"] == pytest.approx(3.0, abs=0.05)
