"""kdtool init: the recipe it writes is one, and its advice follows from the photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.commands import kdtool
from kdtool.core.errors import DataError
from kdtool.core.screen import QUIET
from kdtool.data.sources import load_listing
from kdtool.data.starter import Survey, not_mirrored, recipe_text, survey
from kdtool.recipe.advised import Costs, Plan, plan, sizes_for
from kdtool.recipe.files import load_recipe

CHOSEN = Plan(96, 12)


def written(folder: Path, surveyed: Survey, name: str = "mine", chosen: Plan = CHOSEN) -> Path:
    path = folder / "mine.toml"
    path.write_text(recipe_text(name, surveyed, "phone", chosen), "utf-8")
    return path


def test_the_recipe_is_valid_and_fits_the_photographs(photos: Callable[..., Path], tmp_path: Path) -> None:
    found = survey(load_listing(str(photos(side=100))), QUIET)
    assert (found.images, found.classes, found.sides) == (18, 3, (100, 100, 100))
    path = written(tmp_path, found)
    recipe = load_recipe(str(path))
    assert (recipe.data.size, recipe.student.epochs) == (96, 12)
    assert recipe.student.weights == "imagenet" and recipe.student.freezes_norm
    assert (recipe.teacher.train, recipe.teacher.size, recipe.teacher.epochs) == ("all", 160, 20)
    assert recipe.student.augment.flip and recipe.teacher.augment == recipe.student.augment
    assert recipe.data.balance == "none"
    assert recipe.export.uint8  # what a bundle for apps holds
    assert recipe.export.ort
    assert "# Training images of each class: 4.\n" in path.read_text()
    assert "epochs = 12  # as many as the time allows" in path.read_text()


def test_few_epochs_change_nothing_but_the_last_layers_much(
    photos: Callable[..., Path], tmp_path: Path
) -> None:
    found = survey(load_listing(str(photos(side=100))), QUIET)
    recipe = load_recipe(str(written(tmp_path, found, chosen=Plan(96, 3))))
    student = recipe.student
    assert recipe.teacher.train == "head"
    assert (student.lr, student.warmup_epochs, student.ema, student.augment.active) == (5e-4, 0, 0.0, False)


def test_unequal_classes_are_balanced(photos: Callable[..., Path], tmp_path: Path) -> None:
    root = photos(splits={"train": 12, "validation": 2, "test": 2})
    for path in sorted((root / "train" / "rings").iterdir())[2:]:
        path.unlink()
    found = survey(load_listing(str(root)), QUIET)
    assert found.imbalanced
    recipe = load_recipe(str(written(tmp_path, found)))
    assert (recipe.data.balance, recipe.student.selection) == ("sample", "balanced_accuracy")
    assert "draw every class alike" in (tmp_path / "mine.toml").read_text()
    assert any("draws every class alike" in line for line in found.advice)


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        (("0", "1", "2"), "digits"),
        (("one", "two", "three"), "digits"),
        (("A", "B", "C"), "letters"),
        (("arrow_left", "arrow-right"), "'arrow_left'"),
        (("Links", "Rechts"), "'Links'"),
        (("boots", "hats"), ""),
        (("leftover", "bright"), ""),
    ],
)
def test_names_decide_about_mirroring(classes: tuple[str, ...], why: str) -> None:
    found = not_mirrored(classes)
    assert bool(found) == bool(why)
    assert why.replace("'", '"') in found


def costs(size: int, _: int) -> Costs:
    """An epoch of 96 pixels takes 30 s, and all the rest 2 minutes."""
    return Costs(30 * (size / 96) ** 2, 120)


@pytest.mark.parametrize(
    ("budget", "size", "epochs"),
    [(3600, 160, 20), (600, 128, 9), (400, 96, 9), (300, 96, 6), (130, 64, 2)],
)
def test_the_time_decides_about_size_and_epochs(budget: float, size: int, epochs: int) -> None:
    found = plan(sizes_for("phone", 500), budget, costs)
    assert (found.size, found.epochs) == (size, epochs)
    assert found.fits == (found.seconds is not None and found.seconds <= budget)


def test_small_photographs_are_not_enlarged() -> None:
    assert sizes_for("server", 100) == (96, 64)
    assert sizes_for("phone", 20) == (64,)
    assert plan((128, 96, 64), 60.0, None) == Plan(96, 20)


def test_advice_names_classes_and_figures(photos: Callable[..., Path]) -> None:
    root = photos(per_class=40)
    for path in sorted((root / "rings").iterdir())[3:]:
        path.unlink()
    (root / "rings" / "000.png").write_bytes(b"no image")
    said = "\n".join(survey(load_listing(str(root)), QUIET).advice)
    assert "class 'rings' has" in said
    assert "class 'stripes' has 28" in said  # 40 without 6 for validation and 6 for the test
    assert "1 file(s) cannot be read" in said
    assert "test images" in said


def test_hostile_names_stay_inside_the_comment(photos: Callable[..., Path], tmp_path: Path) -> None:
    found = survey(load_listing(str(photos(classes=('a\n[data]\nsize = "x"', "b")))), QUIET)
    assert load_recipe(str(written(tmp_path, found, 'my "own"\n'))).data.size == 96


def test_training_images_are_counted_without_what_is_carved(photos: Callable[..., Path]) -> None:
    flat = survey(load_listing(str(photos(per_class=40))), QUIET)
    assert {count for count, _ in flat.per_class} == {28}
    assert any("28 training images" in line for line in flat.advice)
    split = photos(splits={"train": 40, "validation": 6, "test": 6}, name="split")
    assert {count for count, _ in survey(load_listing(str(split)), QUIET).per_class} == {40}


@pytest.mark.parametrize("name", ["🐈 cats", "del\x7f"], ids=["emoji", "del"])
def test_any_name_of_a_folder_makes_a_recipe_that_loads(
    name: str, photos: Callable[..., Path], tmp_path: Path
) -> None:
    found = survey(load_listing(str(photos(classes=(name, "b"), name=name))), QUIET)
    path = written(tmp_path, found, name)
    assert load_recipe(str(path)).title == f"{name}: 2 classes, 12 photographs, for a phone"


def test_one_class_is_no_classifier(photos: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="class"):
        survey(load_listing(str(photos(classes=("only",)))), QUIET)


def test_init_writes_once_and_says_what_to_do_next(
    photos: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = photos()
    monkeypatch.chdir(tmp_path)
    assert kdtool("init", root) == 0
    said = capsys.readouterr().out
    assert f"Next: kdtool run {root} --recipe photos.toml --dry-run" in said
    load_recipe(str(tmp_path / "photos.toml"))
    assert kdtool("init", root) == 2
    assert "exists already" in capsys.readouterr().err
    assert kdtool("init", root, "--force") == 0
    assert kdtool("init", tmp_path / "nowhere") == 2


def test_photographs_without_labels_are_taught_by_the_teacher_in_full(
    photos: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, more = photos(), photos(name="more")
    monkeypatch.chdir(tmp_path)
    assert kdtool("init", root, "--unlabelled", "nowhere") == 3
    assert "nowhere is not a folder; --unlabelled takes a folder" in capsys.readouterr().err
    assert not (tmp_path / "photos.toml").exists()
    assert kdtool("init", root, "--unlabelled", more) == 0
    recipe = load_recipe(str(tmp_path / "photos.toml"))
    assert recipe.data.unlabelled == str(more)
    assert (recipe.student.loss.weight, recipe.student.loss.ce_weight) == (1.0, 0.5)
    assert recipe.teacher.train == "head"
