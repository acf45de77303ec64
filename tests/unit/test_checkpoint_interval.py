"""How often a training saves: often, but never for more than its share of the time."""

from __future__ import annotations

import pytest

from kdtool.train.loop import fit


@pytest.mark.parametrize("seconds, interval", [(0.0, 60.0), (0.5, 60.0), (0.6, 60.0), (3.0, 300.0)])
def test_a_slow_disk_is_asked_more_rarely(seconds: float, interval: float) -> None:
    assert fit.checkpoint_interval(seconds) == pytest.approx(interval)


def test_without_an_interval_every_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)
    assert fit.checkpoint_interval(9.0) == 0.0
