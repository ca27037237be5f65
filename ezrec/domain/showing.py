"""Foreign text as a terminal or a log line may show it: text is text, whatever it holds.

A row, a file's name or a service's answer may hold characters that a terminal obeys instead of showing them: escape
sequences, line ends, characters that turn the order of what follows round (Unicode TR 36). They are shown as Python
writes them.
"""

import json
import re

_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    r"\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # no width; lines; reading order
    r"\ud800-\udfff\U000e0000-\U000e007f"  # half characters, tags
)
_HIDDEN = re.compile(f"[{_UNSEEN}]")
_HIDDEN_INLINE = re.compile(f"(?![\n\t])[{_UNSEEN}]")


def visible(text: str) -> str:
    """`text` on one line, with nothing in it that a terminal would obey."""
    return _HIDDEN.sub(_as_python, text)


def visible_lines(text: str) -> str:
    """The same of a text of several lines: line ends and tabs stay what they are."""
    return _HIDDEN_INLINE.sub(_as_python, text)


def visible_json(line: str) -> str:
    """A JSON document that reads as before, and holds nothing that a terminal would obey."""
    return _HIDDEN_INLINE.sub(lambda found: json.dumps(found[0])[1:-1], line)


def _as_python(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
