"""What making a film costs: in chunks, by worker and joiner; with one ffmpeg command; in the three passes of old.

All three get the same footage, logos, intro and encoder options, and make the same number of pixels. Ours also fades
one view into the other where they overlap; ffmpeg cuts the right view there and only stacks.
"""

import asyncio
import resource
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from ezrec.adapters.workers import RenderPool
from ezrec.domain.film import ChunkJob, Intro, Recipe
from ezrec.media import demo_media
from ezrec.media.chunk import render
from ezrec.media.encode import coded_width
from ezrec.media.intro import normalise
from ezrec.media.join import Joiner
from ezrec.pyav import opened
from tests.bench.footage import RATE, SETTINGS, Taken, chunk_us, recipe_for, take
from tests.bench.result import Plan, Row, Say, spread

SIZE = (1920, 1080)
LEAD = 15  # frames of footage before the film: chunks begin between key frames, half a group of pictures off


class Workshop:
    """Footage, and the three ways to make a film of it."""

    def __init__(self, folder: Path, ffmpeg: str, seconds: int, say: Say) -> None:
        self._folder, self._ffmpeg = folder, ffmpeg
        self.ticks = round(seconds * RATE)
        say(f"taking {seconds} s of footage")
        self._taken: Taken = take(folder / "footage", SIZE, self.ticks + round(RATE))
        logos, clip = demo_media.make(folder / "venue")
        plain = recipe_for(SIZE, logos)
        say("normalising the intro")
        intro: Intro = normalise(clip, replace(plain, logos=()), folder / "intro.mp4", SETTINGS.film.intro_max_s)
        self.recipe: Recipe = replace(plain, intro=intro)
        self._logos = list(logos.values())

    def in_chunks(self) -> Path:
        """Our way: a worker renders chunk after chunk, the joiner adds them to the film as they come."""
        return asyncio.run(self._in_chunks())

    async def _in_chunks(self) -> Path:
        out = self._folder / "ours.mp4"
        pool, joiner = RenderPool(1), Joiner(out, self.recipe)
        intro = self.recipe.intro
        assert intro
        joiner.add(intro.path, intro.ticks)
        anchor_us = self._taken.start_us + chunk_us(LEAD)
        each = round(SETTINGS.film.chunk_s * RATE)
        for first in range(0, self.ticks, each):
            ticks = min(each, self.ticks - first)
            start_us = anchor_us + chunk_us(first)
            chunk = self._folder / f"chunk-{first}.mp4"
            await pool.run(render, ChunkJob(self.recipe, anchor_us, first, ticks,
                                            self._taken.between(start_us, start_us + chunk_us(ticks)), str(chunk),
                                            poster=str(self._folder / "poster.jpg") if first == 0 else None))
            joiner.add(chunk, ticks)
        joiner.close()
        await pool.close()
        return self._with_frames(out, self.ticks + intro.ticks)

    def one_command(self) -> Path:
        """One ffmpeg command: cut, stack, two logos, encode."""
        out = self._folder / "one.mp4"
        stack = self._stack("wide")
        self._run(*self._footage(), *self._pictures(), "-filter_complex",
                  f"{stack};{self._branding('wide', 2)}", "-map", "[film]", *self._encoder(), str(out))
        return self._with_frames(out, self.ticks)

    def three_passes(self) -> Path:
        """The way of old: stack and encode; draw the logos and encode again; the intro in front by stream copy."""
        stacked, branded, out = (self._folder / name for name in ("stacked.mp4", "branded.mp4", "three.mp4"))
        self._run(*self._footage(), "-filter_complex", self._stack("film"), "-map", "[film]", *self._encoder(),
                  str(stacked))
        self._run("-i", str(stacked), *self._pictures(), "-filter_complex", self._branding("0:v", 1), "-map", "[film]",
                  *self._encoder(), str(branded))
        intro = self.recipe.intro
        assert intro
        listing = self._folder / "concat.txt"
        listing.write_text(f"file '{intro.path}'\nfile '{branded}'\n", "utf-8")
        self._run("-f", "concat", "-safe", "0", "-i", str(listing), "-map", "0:v", "-c", "copy", str(out))
        return self._with_frames(out, self.ticks + intro.ticks)

    def _footage(self) -> list[str]:
        return [word for camera in ("left", "right") for word in ("-i", str(self._taken.whole[camera]))]

    def _pictures(self) -> list[str]:
        return [word for path in self._logos for word in ("-i", str(path))]

    def _stack(self, name: str) -> str:
        overlap = self.recipe.canvas.views[0].width - self.recipe.canvas.views[1].x
        ours = f"trim=start_frame={LEAD}:end_frame={LEAD + self.ticks},setpts=PTS-STARTPTS"
        return f"[0:v]{ours}[l];[1:v]{ours},crop=iw-{overlap}:ih:{overlap}:0[r];[l][r]hstack[{name}]"

    def _branding(self, source: str, first: int) -> str:
        """Both logos at the size and place they have in our film."""
        left, right = self.recipe.logos
        return (f"[{first}:v]scale={left.width}:-2[a];[{first + 1}:v]scale={right.width}:-2[b];"
                f"[{source}][a]overlay={left.margin}:{left.margin}[first];"
                f"[first][b]overlay=W-w-{right.margin}:{right.margin}[film]")

    def _encoder(self) -> list[str]:
        """The recipe's options, by ffmpeg's names."""
        encoder = self.recipe.encoder
        return ["-an", "-c:v", "libx264", "-preset", encoder.preset, "-crf", str(encoder.crf), "-maxrate",
                str(encoder.maxrate), "-bufsize", str(encoder.bufsize), "-g", str(encoder.keyint), "-bf",
                str(encoder.bframes), "-b-pyramid", "none", "-profile:v", "high", "-flags", "+cgop+bitexact",
                "-threads", str(encoder.threads), "-pix_fmt", "yuv420p", "-r", str(RATE)]

    def _run(self, *words: str) -> None:
        done = subprocess.run([self._ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y", *words], text=True,
                              capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"ffmpeg failed:\n{done.stderr[-2000:]}")

    def _with_frames(self, path: Path, ticks: int) -> Path:
        """The film, after a look whether it holds what was asked for: a comparison of unlike films is worth nothing."""
        with opened(path) as film:
            frames = sum(1 for packet in film.demux(film.streams.video[0]) if packet.size)
        if frames != ticks:
            raise SystemExit(f"{path.name} holds {frames} pictures in place of {ticks}")
        return path


def cpu_s(work: Callable[[], Any]) -> float:
    """CPU seconds that `work` takes in this process and in children that end before it returns."""
    def spent() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    before = spent()
    work()
    return spent() - before


def measure(plan: Plan, ffmpeg: str, say: Say) -> list[Row]:
    """The two rows on what film making costs."""
    folder = plan.folder / "film"
    shop = Workshop(folder, ffmpeg, plan.footage_s, say)
    ways = {"ours": shop.in_chunks, "one command": shop.one_command, "three passes": shop.three_passes}
    say("warming up")
    shop.one_command()
    costs: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(plan.rounds):
        for name, way in ways.items():
            say(f"round {number + 1} of {plan.rounds}: {name}")
            costs[name].append(cpu_s(way))
    files = zip(ways, ("ours.mp4", "one.mp4", "three.mp4"), strict=True)
    sizes = {name: (folder / file).stat().st_size for name, file in files}
    shutil.rmtree(folder)
    canvas, encoder = shop.recipe.canvas, shop.recipe.encoder
    against_one = [ours / other for ours, other in zip(costs["ours"], costs["one command"], strict=True)]
    against_three = [ours / other for ours, other in zip(costs["ours"], costs["three passes"], strict=True)]
    how = (f"{plan.footage_s} s of 2 x {SIZE[0]}x{SIZE[1]} at {RATE} fps to {canvas.width}x{canvas.height}, libx264 "
           f"{encoder.preset} crf {encoder.crf} threads {encoder.threads}, {plan.rounds} rounds in turn; "
           "CPU s per s of film: "
           + ", ".join(f"{name} {median(spent) / plan.footage_s:.2f}" for name, spent in costs.items()))
    numbers = {"cpu_s": costs, "film_bytes": sizes}
    return [
        Row("film making, CPU ÷ one ffmpeg command", "≤ 1.10, aim 1.05", spread(against_one),
            median(against_one) <= 1.10,
            how + f"; ours with a feather and {coded_width(canvas)} columns encoded, ffmpeg without",
            numbers | {"ratios": against_one}),
        Row("film making, CPU ÷ the three passes", "≤ 0.55", spread(against_three), median(against_three) <= 0.55,
            "the same runs; the passes: stack, logos, intro by stream copy", {"ratios": against_three}),
    ]
