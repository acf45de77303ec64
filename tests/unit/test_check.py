"""A teacher whose options contradict each other is refused before any photograph."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtool.core.errors import UsageError
from kdtool.recipe.files import override_recipe
from kdtool.recipe.settings import Recipe
from kdtool.runs.folder import RunFolder
from kdtool.train.check import check_teacher

TINY = Recipe(name="tiny", data={"size": 32}, teacher={"arch": "timm/test_resnet", "weights": "none"})


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["teacher.warmup_epochs=20"], r"teacher\.warmup_epochs is 20, teacher\.epochs is 20: .* 0 to 19\."),
        (["teacher.epochs=1", "teacher.warmup_epochs=1"], r"0 to 0\.\n--set teacher\.warmup_epochs=0, or"),
        (["teacher.augment.magnitude=5"], r"teacher\.augment\.magnitude is 5 without .* allowed: 9"),
    ],
)
def test_contradictory_options_are_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_teacher(RunFolder(tmp_path), override_recipe(TINY, overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ["teacher.warmup_epochs=19"],
        ["teacher.augment.magnitude=9"],
        ["teacher.augment.magnitude=5", "teacher.augment.randaugment=1"],
    ],
)
def test_these_go_together(tmp_path: Path, overrides: list[str]) -> None:
    recipe = override_recipe(TINY, overrides)
    assert check_teacher(RunFolder(tmp_path), recipe) == recipe
