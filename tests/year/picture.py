"""Seven plots of a year, one below the other, as an SVG."""

from collections.abc import Sequence

from tests.year.play import Sample

PLOTS = (("rss_kb", "memory of the process", 1024, "MiB"), ("descriptors", "open files", 1, ""),
         ("threads", "threads", 1, ""), ("tasks", "tasks of the event loop", 1, ""),
         ("store_kb", "database: what is written in its pages", 1024, "MiB"),
         ("disk_kb", "data folder without database and films", 1024, "MiB"),
         ("waiting", "films not done with", 1, ""))
"""What is drawn: a sample's field, its title, what a unit of it holds, the unit."""

WIDTH, HEIGHT, LEFT, TOP = 900, 110, 60, 24


def picture(samples: Sequence[Sample], away: Sequence[tuple[float, float]]) -> str:
    """The plots; `away`: the days from and to which no network was there."""
    last = max(sample.day for sample in samples) or 1
    across = (WIDTH - LEFT - 20) / last
    parts = [_plot(samples, away, across, number * HEIGHT, *plot) for number, plot in enumerate(PLOTS)]
    height = len(PLOTS) * HEIGHT + 24
    days = "".join(f'<text x="{LEFT + day * across:.0f}" y="{height - 8}" text-anchor="middle">day {day}</text>'
                   for day in range(0, int(last) + 1, max(1, round(last / 8))))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
            f' font-size="11"><rect width="{WIDTH}" height="{height}" fill="white"/>{"".join(parts)}{days}</svg>\n')


def _plot(samples: Sequence[Sample], away: Sequence[tuple[float, float]], across: float, top: float, field: str,
          title: str, unit: int, words: str) -> str:
    values = [getattr(sample, field) / unit for sample in samples]
    most = max([*values, 1]) * 1.15
    floor, room = top + HEIGHT - 8, HEIGHT - TOP - 8
    grey = "".join(f'<rect x="{LEFT + begin * across:.1f}" y="{top + TOP}" width="{max(1, (end - begin) * across):.1f}"'
                   f' height="{room}" fill="#f6e3e3"/>' for begin, end in away)
    points = " ".join(f"{LEFT + sample.day * across:.1f},{floor - value / most * room:.1f}"
                      for sample, value in zip(samples, values, strict=True))
    lines = "".join(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                    f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
                    for value in (0.0, max(values)) for y in [floor - value / most * room])
    unit_words = f", {words}" if words else ""
    return (f'{grey}{lines}<text x="{LEFT}" y="{top + 16}">{title}{unit_words}</text>'
            f'<polyline points="{points}" fill="none" stroke="#1f5fa8"/>')
