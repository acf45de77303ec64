"""What unit tests share."""

from __future__ import annotations

import pytest

from fixtures.clocks import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of `kdtool.runtime.turns`."""
    clock = Clock()
    monkeypatch.setattr("kdtool.runtime.turns.time", clock)
    return clock
