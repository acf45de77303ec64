"""Text from outside (paths, class names) on its way to a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """`text` with what moves the cursor, colours the screen or turns the direction of writing spelt out.

    Unicode categories Cc, Cf, Cs, Co and Cn become \\x.., \\u.... escapes.
    """
    return "".join(ascii(char)[1:-1] if unicodedata.category(char)[0] == "C" else char for char in text)


def cause_of(error: Exception) -> str:
    """The first line of a library's message; the name of its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
