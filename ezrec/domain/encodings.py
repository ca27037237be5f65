"""Text files as people's editors write them."""

import codecs

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decode(data: bytes) -> str:
    """The text of a file: UTF-8 with or without a byte order mark, UTF-16 with one, else the "ANSI" of western Windows
    (code page 1252).

    Raises:
        UnicodeDecodeError: it is none of these.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark):].decode(name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        try:
            return data.decode("cp1252")
        except UnicodeDecodeError:
            raise error from None


def guess_in_words(data: bytes) -> str:
    """Where `decode` had to guess, in words that end a sentence; empty: it had not."""
    if data.startswith(tuple(mark for mark, _ in _MARKS)):
        return ""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f" (read as Windows text, because byte {error.start} is not UTF-8)"
    return ""
