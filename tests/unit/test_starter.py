"""kdtool init: the recipe it writes is one, and its advice follows from the photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.commands import kdtool
from kdtool.core.errors import DataError
from kdtool.core.screen import QUIET
from kdtool.data.sources import load_listing
from kdtool.data.starter import recipe_text, survey
from kdtool.recipe.files import load_recipe


def test_the_recipe_is_valid_and_fits_the_photographs(photos: Callable[..., Path], tmp_path: Path) -> None:
    found = survey(load_listing(str(photos(side=100))), QUIET)
    assert (found.images, found.classes, found.sides) == (18, 3, (100, 100, 100))
    path = tmp_path / "mine.toml"
    path.write_text(recipe_text("mine", found))
    recipe = load_recipe(str(path))
    assert recipe.data.size == 96  # the largest that the photographs have
    assert recipe.student.augment.flip  # six images a class are few
    assert recipe.student.epochs == 100
    assert recipe.export.uint8  # what a bundle for apps holds
    assert recipe.export.ort
    assert "# Training images of each class: 4.\n" in path.read_text()


def test_many_images_need_no_augmentation(photos: Callable[..., Path], tmp_path: Path) -> None:
    found = survey(load_listing(str(photos(per_class=290, side=8))), QUIET)
    path = tmp_path / "mine.toml"
    path.write_text(recipe_text("mine", found))
    assert not load_recipe(str(path)).student.augment.active
    assert found.size == 32
    assert "most photographs are smaller" in path.read_text()


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
    path = tmp_path / "mine.toml"
    path.write_text(recipe_text('my "own"\n', found))
    assert load_recipe(str(path)).data.size == 32


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
    path = tmp_path / "mine.toml"
    path.write_text(recipe_text(name, found), "utf-8")
    assert load_recipe(str(path)).title == f"{name}: 2 classes, 12 photographs"


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
    assert "is there already" in capsys.readouterr().err
    assert kdtool("init", root, "--force") == 0
    assert kdtool("init", tmp_path / "nowhere") == 2
