"""What a plan counts: the pictures of each view, made for the teacher and again in training."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtool import plan
from kdtool.core.recipe import AugmentSettings, Recipe
from kdtool.core.run import RunFolder
from kdtool.core.screen import QUIET
from kdtool.pipeline import Job
from kdtool.train import estimate

NETWORK = {"arch": "timm/test_resnet", "weights": "none"}
AUGMENT = AugmentSettings(randaugment=2, flip=True)
IMAGES = {"train": 100, "validation": 20, "test": 30}


def steps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, views: int = 0, cache: str = "disk"
) -> dict[str, plan.Step]:
    """By name, on a machine that needs 1 s for an augmented picture and nothing else."""
    monkeypatch.setattr(plan, "load_listing", lambda _: type("Listing", (), {"classes": ("a", "b")}))
    monkeypatch.setattr(plan, "planned_counts", lambda *_: IMAGES)
    monkeypatch.setattr(plan, "seconds_per_image", lambda *_, **__: 0.0)
    monkeypatch.setattr(plan, "seconds_per_view", lambda augment, *_: float(augment.active))
    recipe = Recipe(
        name="tiny",
        data={"size": 32, "cache": cache},
        teacher={**NETWORK, "epochs": 2},
        student={**NETWORK, "epochs": 6, "views": views, "augment": AUGMENT.model_dump()},
    )
    job = Job(RunFolder(tmp_path), recipe, 0, "photographs", QUIET)
    return {step.name: step for step in plan.make_plan(job, ("teach", "distill"), baseline=True)}


@pytest.mark.parametrize("views, answered", [(0, 6), (4, 4), (100, 6)])
def test_views_are_counted_where_they_are_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, views: int, answered: int
) -> None:
    found = steps(monkeypatch, tmp_path, views)
    assert found["teacher"].seconds == 0.0
    assert found["label"].seconds == answered * IMAGES["train"]
    assert found["student"].seconds == found["baseline"].seconds == 6 * IMAGES["train"]


def test_what_is_not_kept_decoded_takes_time_instead_of_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept, anew = (steps(monkeypatch, tmp_path, cache=cache) for cache in ("disk", "none"))
    assert kept["prepare"].size - anew["prepare"].size == IMAGES["train"] * 32 * 32 * 3
    decoding = 2 * IMAGES["train"] * plan.DECODE_SECONDS
    assert anew["teacher"].seconds - kept["teacher"].seconds == pytest.approx(decoding)


def test_augmentation_is_timed_by_doing_it() -> None:
    plain = estimate.seconds_per_view(AugmentSettings(), 10, 64)
    assert 0 < plain < estimate.seconds_per_view(AUGMENT, 10, 64)
