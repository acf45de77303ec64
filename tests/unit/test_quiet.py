"""Talkative libraries are silent inside the block and only there."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from kdtool.core.quiet import quietly


def test_nothing_gets_out_and_everything_is_put_back(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, disabled = list(root.handlers), root.manager.disable

    with warnings.catch_warnings(record=True) as caught, quietly():
        warnings.warn("warned", stacklevel=1)
        print("printed")  # noqa: T201 (what a library does)
        print("printed", file=sys.stderr)  # noqa: T201 (what a library does)
        logging.warning("logged")
        root.addHandler(logging.StreamHandler())

    assert capfd.readouterr() == ("", "")
    assert not caught
    assert root.handlers == handlers
    assert root.manager.disable == disabled


def test_errors_are_raised_as_ever() -> None:
    with pytest.raises(ValueError, match="loud"), quietly():
        raise ValueError("loud")
    assert sys.stdout is not None
    assert logging.getLogger().isEnabledFor(logging.WARNING)
