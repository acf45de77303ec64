"""Whether the teacher's logits are stored or asked for in each step: whichever costs less."""

from __future__ import annotations

import pytest

from kdtool.recipe.settings import AugmentSettings, StudentSettings
from kdtool.train.teaching.source import Costs, why_online

FLIPPED = {"augment": AugmentSettings(flip=True)}


def reason(cost: Costs | None = None, shared: bool = False, stored: bool = False, **given: object) -> str:
    """Why the teacher is asked; empty where its logits are stored. Without a `cost` none may be measured."""

    def costs() -> Costs:
        assert cost is not None, "costs are measured though they do not matter"
        return cost

    settings = StudentSettings(**{"epochs": 4, "views": 2, **FLIPPED, **given})
    return why_online(settings, shared, lambda: stored, costs) or ""


# 4 epochs of 2 ms against 2 views of 2 ms and the time that a view takes
@pytest.mark.parametrize(("view", "asks"), [(0.0019, False), (0.002, False), (0.0021, True)])
def test_the_way_that_costs_less(view: float, asks: bool) -> None:
    said = reason(Costs(0.002, view))
    assert bool(said) is asks
    assert not asks or "2 stored views (2.0 ms per image for the teacher, 2.1 ms to make a view)" in said


def test_views_that_are_seen_once_are_not_stored() -> None:
    assert reason(epochs=2) == reason(epochs=2, views=0) == "since each view is seen once"


@pytest.mark.parametrize(
    "given",
    [{"shared": True}, {"stored": True}, {"augment": AugmentSettings()}, {"answers": "float16"}],
    ids=lambda given: next(iter(given)),
)
def test_logits_that_are_wanted_again_are_stored_whatever_they_cost(given: dict[str, object]) -> None:
    assert reason(**{"epochs": 2, **given}) == ""
