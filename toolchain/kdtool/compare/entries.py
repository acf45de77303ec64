"""What is compared: recipes, brought onto one set of photographs and one teacher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_json
from kdtool.core.screen import Screen
from kdtool.recipe.files import load_recipe
from kdtool.recipe.settings import FeatureSettings, LossSettings, Recipe, StudentSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.check import check_student
from kdtool.train.loop.precision import with_precision
from kdtool.train.stage import own_settings
from kdtool.train.student import alone

HASHED = 8  # hexadecimal digits of a hash in a folder's name


@dataclass(frozen=True)
class Entry:
    """A recipe of the comparison; its data and teacher are those that all share."""

    recipe: Recipe

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def student(self) -> StudentSettings:
        return self.recipe.student

    @property
    def alone(self) -> StudentSettings:
        """The student without a teacher, on the same budget; a teacher's views are no part of it."""
        nothing = {"loss": LossSettings(), "features": FeatureSettings()}
        return alone(self.student).model_copy(update=nothing)

    @property
    def baseline(self) -> str:
        """Names `alone`: recipes with equal students and budgets share their baseline.

        At a constant learning rate the epochs stand apart, `<hash>-<epochs>`.
        """
        own = own_settings(self.alone)
        if self.alone.schedule != "constant":
            return _short({"settings": own})
        own.pop("epochs", None)  # a default is left out
        return f"{_short({'settings': own})}-{self.alone.epochs}"

    @property
    def shorter_baselines(self) -> list[str]:
        """Names of the same baseline with fewer epochs, the longest first; this one begins as each of them.

        There are none where the learning rate falls towards the last epoch.
        """
        if self.alone.schedule != "constant":
            return []
        settings = self.baseline.removesuffix(f"-{self.alone.epochs}")
        return [f"{settings}-{epochs}" for epochs in range(self.alone.epochs - 1, 0, -1)]

    @property
    def soft_labels(self) -> str:
        """Names the soft labels: recipes of one augmentation share them, as far as views go."""
        augment, kind = self.student.augment, self.student.answers
        stored = "" if kind == "float32" else f"-{kind}"
        if not augment.active:
            return f"plain{stored}"
        return _short({"augment": augment.model_dump(mode="json", exclude_defaults=True)}) + stored

    @property
    def views(self) -> int:
        """Of how many views of each picture the teacher's logits are stored."""
        return self.student.seen_views

    @property
    def is_plain_kd(self) -> bool:
        """Hinton's distillation and nothing else."""
        loss = self.student.loss
        alone = not loss.params.get("standardize") and not self.student.features.name
        return loss.name == "kd" and loss.weight > 0 and alone


def baselines_of(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Name of each baseline → the first recipe it belongs to."""
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.baseline, entry)
    return first


def plain_kd_of(entry: Entry, entries: Sequence[Entry]) -> Entry | None:
    """The first plain KD of the same student, augmentation and budget; it may be `entry` itself."""
    return next((one for one in entries if one.is_plain_kd and one.baseline == entry.baseline), None)


def load_entries(
    first: Recipe, names: Sequence[str], overrides: Iterable[str], screen: Screen
) -> tuple[Entry, ...]:
    """The recipes `names`, on the photographs and the teacher of `first`, the first of them.

    Args:
        overrides: applied to each of them, as they were to `first`.

    Raises:
        UsageError: no such recipe, wrong fields, or two of one name.
    """
    recipes = [first, *(with_precision(load_recipe(name, overrides), like=first) for name in names[1:])]
    found = [recipe.name for recipe in recipes]
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise UsageError(
            f"--recipes: {', '.join(twice)} named more than once; a name is that of a row and a folder.",
            'Leave it out, or give a changed copy another name in its file: name = "…"',
        )
    for recipe in recipes[1:]:
        aside = [section for section in ("data", "teacher") if _differs(recipe, first, section)]
        if aside:
            screen.say(
                f"{recipe.name}: its own {' and '.join(aside)} settings are left aside; all recipes are "
                f"compared on those of {first.name}."
            )
    for number, recipe in enumerate(recipes):
        same = [other.name for other in recipes[:number] if other.student == recipe.student]
        if same:
            screen.warn(f"{recipe.name}: its student is that of {same[0]}; with one teacher they are equal.")
    shared = {"data": first.data, "teacher": first.teacher}
    return tuple(Entry(recipe.model_copy(update=shared)) for recipe in recipes)


def check_entries(run: RunFolder, entries: Sequence[Entry]) -> None:
    """Find out what is wrong with students and losses before any photograph is decoded.

    Raises:
        UsageError, ModelFileError, SetupError: names the recipe.
    """
    for entry in entries:
        try:
            check_student(run, entry.recipe)
        except UsageError as error:
            raise UsageError(f"{entry.name}: {error.message}", error.hint) from error


def _differs(recipe: Recipe, first: Recipe, section: str) -> bool:
    ours, theirs = getattr(recipe, section), getattr(first, section)
    if section == "teacher" and theirs.trained:  # how it would have been trained has no part in it
        return bool(ours.trained != theirs.trained)
    return bool(ours != theirs)


def _short(value: Any) -> str:
    return sha256_json(value)[:HASHED]
