"""Listings on terminals of several widths: nothing is cut, and an id stays in one piece."""

import io
from zoneinfo import ZoneInfo

import pytest
from rich.cells import cell_len
from rich.console import Console

from ezrec.cli import words
from ezrec.domain.clock import SECOND

ID = "2f1c6a9e-8f0b-4d65-9c1e-0a1b2c3d4e5f"
PATH = "/srv/ezrec/library/2026-11-20/2f1c6a9e-8f0b-4d65-9c1e-0a1b2c3d4e5f.mp4"
BERLIN = ZoneInfo("Europe/Berlin")
STARTS = 1795194000 * SECOND  # 2026-11-20 17:00 UTC


def printed(width: int) -> list[str]:
    listing = words.Listing("booking", "window (Europe/Berlin)", "stage", note="where")
    listing.add(ID, words.window_short(STARTS, STARTS + 3600 * SECOND, BERLIN), "done", note=PATH)
    listing.add("東京", "later", "[/x]\x1b[2J")
    out = io.StringIO()
    listing.print(Console(file=out, width=width, markup=False, emoji=False, highlight=False))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [200, 120, 80, 60, 41])
def test_no_line_is_wider_than_the_terminal_and_every_id_and_window_is_in_one_piece(width: int) -> None:
    lines = printed(width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert ID in text
    assert "2026-11-20 18:00–19:00" in text
    assert r"[/x]\x1b[2J" in text
    assert PATH in "".join(line.strip() for line in lines)


def test_a_listing_that_fits_has_a_line_for_each_row() -> None:
    assert [line.split("  ")[0] for line in printed(200)] == ["booking", ID, "東京"]


def test_what_does_not_fit_goes_on_below_and_a_path_has_its_own_line() -> None:
    assert PATH in [line.strip() for line in printed(80)]
    assert ID in printed(50)


@pytest.mark.parametrize(("starts", "seconds", "shown"), [
    (STARTS, 3600, "2026-11-20 18:00–19:00"),
    (STARTS, 3601, "2026-11-20 18:00:00–19:00:01"),
    (STARTS, 7 * 3600, "2026-11-20 18:00–2026-11-21 01:00"),
    (1806193800 * SECOND, 7200, "2027-03-28 01:30 CET–04:30 CEST"),
    (1824942600 * SECOND, 3600, "2027-10-31 02:30 CEST–02:30 CET"),
])
def test_a_window_says_which_of_two_times_it_means_only_where_the_clocks_change(
        starts: int, seconds: int, shown: str) -> None:
    assert words.window_short(starts, starts + seconds * SECOND, BERLIN) == shown
