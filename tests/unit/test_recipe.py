from __future__ import annotations

from pathlib import Path

import pytest

from kdtool.cli.job import TrainingOptions
from kdtool.core.errors import UsageError
from kdtool.core.preprocess import INTERPOLATIONS, Preprocess
from kdtool.data.scan import preprocess_of
from kdtool.recipe.choices import IMAGENET, SCRATCH
from kdtool.recipe.files import load_recipe, override_recipe, parse_recipe, shipped_recipes
from kdtool.recipe.settings import Recipe


def test_a_search_ignores_no_calibration_in_silence() -> None:
    changes = ["quantize.search=true", "quantize.calibration=entropy"]
    with pytest.raises(UsageError, match="calibration entropy would be ignored: leave it at minmax") as error:
        load_recipe("paper", changes)
    assert error.value.hint is not None
    assert "--set quantize.search=false" in error.value.hint
    with pytest.raises(UsageError, match=r"2 field\(s\) are wrong") as error:
        load_recipe("paper", [*changes, "student.epochs=0"])
    assert error.value.hint == "See all fields with their defaults: kdtool recipes --show paper"


def test_the_default_recipe_is_the_papers() -> None:
    """The paper's own figures, from its text."""
    recipe = load_recipe("paper")
    assert preprocess_of(recipe.data) == Preprocess(resize=224, size=224)
    assert (recipe.teacher.arch, recipe.teacher.weights, recipe.teacher.epochs) == (
        "resnet34",
        "imagenet",
        20,
    )
    assert recipe.teacher.label_smoothing == 0
    assert (recipe.student.arch, recipe.student.weights, recipe.student.epochs) == ("resnet18", "none", 60)
    assert recipe.student.patience == 10, "best at epoch 33, stopped at 43"
    assert recipe.student.loss.name == "kd"
    assert (recipe.bench.max_compute, recipe.bench.min_retention) == (0.50, 0.94)


def test_another_size_is_the_whole_picture_too() -> None:
    """The shortest side follows the crop, so that a smaller input does not see the middle alone."""
    assert preprocess_of(load_recipe("paper", ["data.size=96"]).data).resize == 96


def test_the_paper_is_what_the_defaults_say() -> None:
    defaults = Recipe(name="paper").to_json()
    written = load_recipe("paper").to_json()
    written["student"]["loss"].pop("temperature")
    assert {**written, "title": ""} == defaults


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_valid_and_has_a_title(name: str) -> None:
    assert load_recipe(name).title


def test_interpolations_are_those_of_the_preprocessing() -> None:
    for name in INTERPOLATIONS:
        assert load_recipe("paper", [f"data.interpolation={name}"]).data.interpolation == name


def test_overrides_are_typed() -> None:
    recipe = load_recipe(
        "paper",
        ["student.epochs=3", "student.arch=resnet10", "student.loss.temperature=2.5", "data.skip_bad=true"],
    )
    assert recipe.student.epochs == 3
    assert recipe.student.arch == "resnet10"
    assert recipe.student.loss.params == {"temperature": 2.5}
    assert recipe.data.skip_bad is True
    assert override_recipe(recipe, ["student.epochs=4"]).student.epochs == 4


def test_all_wrong_fields_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("paper", ["student.epochs=0", "teacher.lr=-1", "data.sise=3", "data.interpolation=cubic"])
    message = str(caught.value)
    assert "4 field(s) are wrong" in message
    for part in ("student.epochs", "teacher.lr", "data.sise: unknown; allowed here: size, resize", "'cubic'"):
        assert part in message


@pytest.mark.parametrize(
    "override, match",
    [
        ("student", "the form must be"),
        ("=3", "the form must be"),
        ("epochs=3", "the form must be"),
        ("student..epochs=3", "the form must be"),
        ("data.resize=100", "data.resize: allowed is 224"),
        ("data.size.x=1", "size is a value, not a section"),
        ("data.validation_fraction=0.9", "leave no images for training"),
        ("student.batch_size=1", "student.batch_size"),
    ],
)
def test_wrong_overrides(override: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        load_recipe("paper", [override])


@pytest.mark.parametrize("name, size", [("x" * 101, 101), ("é" * 51, 102)])
def test_a_name_that_no_folder_can_have(name: str, size: int) -> None:
    with pytest.raises(
        UsageError, match=rf"name: the name has {size} bytes, allowed are 100 \(given '{name}'\)"
    ):
        parse_recipe({"name": name}, "mine.toml")
    assert parse_recipe({"name": name[:50]}, "mine.toml").name == name[:50]


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(
        UsageError, match=r"--recipe papr: neither a recipe of kdtool \(.*paper.*\) nor a file"
    ):
        load_recipe("papr")


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("a = = 1")
    with pytest.raises(UsageError, match=r"mine\.toml: not valid TOML"):
        load_recipe(str(tmp_path / "mine.toml"))


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[student]\nepochs = 7\n")
    recipe = load_recipe(str(tmp_path / "mine.toml"))
    assert (recipe.name, recipe.student.epochs, recipe.teacher.arch) == ("mine", 7, "resnet34")


def test_a_file_is_recorded_by_its_absolute_path_and_a_word_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (IMAGENET, SCRATCH, "mine.pt"):
        (tmp_path / name).touch()
    for word in (IMAGENET, SCRATCH):
        assert load_recipe("paper", [f"teacher.weights={word}"]).teacher.weights == word
        assert load_recipe("paper", [f"teacher.trained={word}"]).teacher.trained == str(tmp_path / word)
    assert load_recipe("paper", ["student.weights=mine.pt"]).student.weights == str(tmp_path / "mine.pt")


def test_the_name_of_a_network_means_it_whatever_lies_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("resnet34", "mine"):
        (tmp_path / name).touch()

    def override(teacher: str) -> str:
        (given,) = TrainingOptions(
            None, None, None, (), None, teacher, None, skip_bad=False, allow_leaks=False, dry_run=False
        ).as_overrides()
        return given

    for network in ("resnet34", "resnet18"):
        assert override(network) == f"teacher.arch={network}"
    for file in ("mine", "./resnet34", "no.safetensors"):
        assert override(file) == f"teacher.trained={file}"
