"""Text files as editors write them."""

import codecs

import pytest

from ezrec.domain.encodings import decode, guess_in_words

TEXT = 'timezone = "Europe/Berlin"  # Büro, 18–19 Uhr\r\n'


@pytest.mark.parametrize("data", [
    TEXT.encode(), codecs.BOM_UTF8 + TEXT.encode(), codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), TEXT.encode("cp1252")],
    ids=["utf-8", "utf-8-bom", "utf-16-le", "utf-16-be", "cp1252"])
def test_whatever_an_editor_calls_text_is_read(data: bytes) -> None:
    assert decode(data) == TEXT


@pytest.mark.parametrize("data", [b"\x81\xff", b"\xff\xfea", b"\xfe\xff\xd8\x00"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        decode(data)


def test_a_guess_is_said() -> None:
    assert guess_in_words("Bü".encode("cp1252")) == " (read as Windows text, because byte 1 is not UTF-8)"
    assert guess_in_words("Bü".encode()) == guess_in_words(codecs.BOM_UTF16_LE) == ""
