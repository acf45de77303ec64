"""Text that is safe to print."""

from __future__ import annotations

from kdtool.core.text import printable


def test_printable_spells_out_what_a_terminal_would_obey() -> None:
    assert printable("a\x1b[2J\u202eb\n🐈 é") == "a\\x1b[2J\\u202eb\\n🐈 é"
