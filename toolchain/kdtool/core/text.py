"""Text that kdtool did not write (paths, class names, messages of libraries), made safe for a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """Replace characters that move the cursor, colour the screen or change the direction of writing.

    Characters of the Unicode categories Cc, Cf, Cs, Co and Cn become \\x.., \\u.... escapes.
    """
    return "".join(ascii(char)[1:-1] if unicodedata.category(char)[0] == "C" else char for char in text)


def cause_of(error: Exception) -> str:
    """First line of the message of an exception, or the name of its class if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
