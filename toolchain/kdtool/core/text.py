"""Text that kdtool did not write (paths, class names, messages of libraries), made safe for a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """Replace characters that move the cursor, colour the screen or change the direction of writing.

    Characters of the Unicode categories Cc, Cf, Cs, Co and Cn become \\x.., \\u.... escapes.
    """
    return "".join(ascii(char)[1:-1] if unicodedata.category(char)[0] == "C" else char for char in text)


def innermost(error: BaseException) -> BaseException:
    """Return the exception that an exception was raised from, at the end of the chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def cause_of(error: BaseException) -> str:
    """First line of the message of an exception, or the name of its class if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
