"""Foreign text in a terminal: nothing in it is obeyed, and what a machine reads stays what it was."""

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.showing import visible, visible_json, visible_lines

TEXTS = st.text(st.characters(exclude_categories=()))


def obeyed(sign: str) -> bool:
    """Whether a terminal does something for this character instead of showing it."""
    return unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or \
        unicodedata.bidirectional(sign) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@given(TEXTS)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not any(map(obeyed, visible(text)))
    assert not any(obeyed(sign) and sign not in "\n\t" for sign in visible_lines(text))
    visible(text).encode("utf-8")


@given(TEXTS)
def test_json_that_is_made_harmless_reads_as_before(text: str) -> None:
    line = visible_json(json.dumps({"key": text}, ensure_ascii=False))
    assert not any(map(obeyed, line))
    assert json.loads(line) == {"key": text}


def test_what_people_write_is_shown_as_it_is_and_the_rest_as_python_writes_it() -> None:
    plain = "Pádel – Büro №5 [/x] :smile: 東京 {a} \U0001f3be"
    assert visible(plain) == plain
    assert visible("a\x1b[31m\n\x9b\x7f\u202e\ud800") == r"a\x1b[31m\n\x9b\x7f\u202e\ud800"
    assert visible_lines("a\n\tb\r") == "a\n\tb\\r"
