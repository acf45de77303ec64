"""The table of tests/README.md is what the imports say now, and every module has tests."""

from __future__ import annotations

from table import README, modules, with_table


def test_the_table_of_tests_is_up_to_date() -> None:
    readme = README.read_text("utf-8")
    assert readme == with_table(readme), "write it with: make docs"


def test_every_module_has_tests() -> None:
    assert len(modules()) > 200
    assert "| none |" not in README.read_text("utf-8")
