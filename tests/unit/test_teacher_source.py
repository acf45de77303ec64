"""The teacher's logits are stored, or computed in each step, whichever costs less time."""

from __future__ import annotations

import pytest

from kdtool.recipe.settings import AugmentSettings, StudentSettings
from kdtool.train.teaching.source import Costs, why_online

FLIPPED = {"augment": AugmentSettings(flip=True)}


def reason(cost: Costs | None = None, shared: bool = False, stored: bool = False, **given: object) -> str:
    """Reason to compute the logits in each step, empty if they are stored. No `cost`: none is measured."""

    def costs() -> Costs:
        assert cost is not None, "costs are measured though they do not matter"
        return cost

    settings = StudentSettings(**{"epochs": 4, "views": 2, **FLIPPED, **given})
    return why_online(settings, shared, lambda: stored, costs) or ""


# 4 epochs of 2 ms against 2 views of 2 ms and the time that a view takes
@pytest.mark.parametrize(("view", "online"), [(0.0019, False), (0.002, False), (0.0021, True)])
def test_the_way_that_costs_less(view: float, online: bool) -> None:
    said = reason(Costs(0.002, view))
    assert bool(said) is online
    assert not online or "4 epochs of it cost less than 2 stored views (2.0 ms per image" in said


def test_views_that_are_seen_once_are_not_stored() -> None:
    assert reason(epochs=2) == reason(epochs=2, views=0) == "since each view is seen once"


@pytest.mark.parametrize(
    "given",
    [{"shared": True}, {"stored": True}, {"augment": AugmentSettings()}, {"answers": "float16"}],
    ids=lambda given: next(iter(given)),
)
def test_logits_that_are_wanted_again_are_stored_whatever_they_cost(given: dict[str, object]) -> None:
    assert reason(**{"epochs": 2, **given}) == ""
