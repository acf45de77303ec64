"""What a plan counts: the pictures of each view, made for the teacher and again in training."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.commands import kdtool
from kdtool import plan
from kdtool.core.screen import QUIET
from kdtool.recipe.settings import AugmentSettings, Recipe
from kdtool.runs.folder import RunFolder
from kdtool.runs.record import Job
from kdtool.train import estimate

NETWORK = {"arch": "timm/test_resnet", "weights": "none"}
AUGMENT = AugmentSettings(randaugment=2, flip=True)
STAGES = ("teach", "distill", "export")
IMAGES = {"train": 100, "validation": 20, "test": 30}


def steps(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    views: int = 0,
    cache: str = "disk",
    answer: float = 0.0,
    shared: bool = False,
    export: bool = False,
) -> dict[str, plan.Step]:
    """By name, on a machine that needs 1 s for an augmented picture and `answer` for a forward pass."""
    monkeypatch.setattr(plan, "load_listing", lambda _: type("Listing", (), {"classes": ("a", "b")}))
    monkeypatch.setattr(plan, "planned_counts", lambda *_: IMAGES)
    monkeypatch.setattr(plan, "seconds_per_image", lambda *_, training, **__: 0.0 if training else answer)
    monkeypatch.setattr(plan, "seconds_per_view", lambda examples: float(examples.augment is not None))
    recipe = Recipe(
        name="tiny",
        data={"size": 32, "cache": cache},
        teacher={**NETWORK, "epochs": 2},
        student={**NETWORK, "epochs": 6, "views": views, "augment": AUGMENT.model_dump()},
        export={"uint8": export, "ort": export},
    )
    job = Job(RunFolder(tmp_path), recipe, 0, "photographs", QUIET)
    return {step.name: step for step in plan.make_plan(job, STAGES, True, shared)}


def test_views_are_counted_where_they_are_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = steps(monkeypatch, tmp_path, views=2, answer=1.0)
    validation = 6 * IMAGES["validation"]  # a forward pass each, as the teacher's
    assert found["teacher"].seconds == 2 * IMAGES["validation"]
    assert found["label"].seconds == 2 * IMAGES["train"] * 2 + IMAGES["validation"]
    assert found["student"].seconds == found["baseline"].seconds == 6 * IMAGES["train"] + validation


@pytest.mark.parametrize("views, answer", [(0, 1.0), (100, 1.0), (4, 1.0), (2, 0.4)])
def test_where_asking_costs_less_than_storing_the_teacher_is_in_the_plan_of_the_student(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, views: int, answer: float
) -> None:
    found = steps(monkeypatch, tmp_path, views, answer=answer)
    assert "label" not in found
    assert found["student"].what.endswith(", with the teacher")
    asked = answer * (6 * IMAGES["train"] + IMAGES["validation"])
    assert found["student"].seconds - found["baseline"].seconds == pytest.approx(asked)


def test_answers_that_students_share_are_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "label" in steps(monkeypatch, tmp_path, shared=True)


def test_what_is_not_kept_decoded_takes_time_instead_of_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept, anew = (steps(monkeypatch, tmp_path, cache=cache) for cache in ("disk", "none"))
    assert kept["prepare"].size - anew["prepare"].size == IMAGES["train"] * 32 * 32 * 3
    decoding = 2 * IMAGES["train"] * plan.DECODE_SECONDS
    assert anew["teacher"].seconds - kept["teacher"].seconds == pytest.approx(decoding)


def test_each_form_of_an_export_takes_its_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, three = (steps(monkeypatch, tmp_path, export=export)["export"].size for export in (False, True))
    assert three == 3 * one > 0


def test_augmentation_is_timed_by_doing_it() -> None:
    plain, augmented = (estimate.noise_examples(augment, 10, 64) for augment in (AugmentSettings(), AUGMENT))
    assert 0 < estimate.seconds_per_view(plain) < estimate.seconds_per_view(augmented)


def test_a_data_set_by_name_is_not_downloaded_for_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KDTOOL_CACHE", str(tmp_path / "cache"))
    fields = ("--set", "teacher.weights=none", "--out", tmp_path / "run", "--dry-run")
    assert kdtool("run", "imagenette", *fields) == 0
    printed = capsys.readouterr()
    assert "download data" in printed.out and str(tmp_path / "cache")[:20] in printed.out.replace("\n", "")
    assert "once the data set is downloaded" in printed.err
    assert kdtool("compare", "imagenette", "--recipes", "paper", *fields) == 0
    assert "download data" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists() and not (tmp_path / "run").exists()
