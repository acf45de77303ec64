"""Entries of a comparison: recipes with common photographs and a common teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_json
from kdtool.core.screen import Screen
from kdtool.recipe.files import load_recipe
from kdtool.recipe.settings import Recipe, StudentSettings
from kdtool.recipe.terms import FeatureSettings, LossSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.check import check_student
from kdtool.train.loop.precision import with_precision
from kdtool.train.settings import settings_inputs, weights_input
from kdtool.train.student import without_soft_labels

HASHED = 8  # hexadecimal digits of a hash in a folder's name


@dataclass(frozen=True)
class Entry:
    """Recipe of a comparison; data and teacher are the same for all entries."""

    recipe: Recipe

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.recipe.name

    @property
    def student(self) -> StudentSettings:
        """Settings of the student."""
        return self.recipe.student

    @property
    def baseline_student(self) -> StudentSettings:
        """Settings of the baseline: the student without losses and soft labels, on the same budget."""
        without_losses = {"loss": LossSettings(), "features": FeatureSettings()}
        return without_soft_labels(self.student).model_copy(update=without_losses)

    @property
    def baseline(self) -> str:
        """Name of the baseline; recipes with equal students and budgets share it.

        With a constant learning rate the name ends with the number of epochs: `<hash>-<epochs>`.
        """
        settings = self.baseline_student
        inputs = settings_inputs(settings)
        if settings.schedule != "constant":
            return _short({"settings": inputs})
        inputs.pop("epochs", None)  # missing if it is the default
        return f"{_short({'settings': inputs})}-{settings.epochs}"

    @property
    def shorter_baselines(self) -> list[str]:
        """Names of the same baseline with fewer epochs, the longest first; this baseline can start from them.

        The list is empty if the learning rate falls towards the last epoch.
        """
        settings = self.baseline_student
        if settings.schedule != "constant":
            return []
        stem = self.baseline.removesuffix(f"-{settings.epochs}")
        return [f"{stem}-{epochs}" for epochs in range(settings.epochs - 1, 0, -1)]

    @property
    def probe(self) -> str:
        """Name of the student's linear probe; recipes with the same network and initial weights share it."""
        return _short({"arch": self.student.arch, "weights": weights_input(self.student.weights)})

    @property
    def soft_labels(self) -> str:
        """Name of the soft labels; recipes with the same augmentation share them, also with fewer views."""
        augment, stored_as = self.student.augment, self.student.answers
        suffix = "" if stored_as == "float32" else f"-{stored_as}"
        if not augment.active:
            return f"plain{suffix}"
        return _short({"augment": augment.model_dump(mode="json", exclude_defaults=True)}) + suffix

    @property
    def views(self) -> int:
        """Number of views of each image for which the teacher's logits are stored."""
        return self.student.seen_views

    @property
    def is_plain_kd(self) -> bool:
        """True if the recipe uses only Hinton's distillation."""
        loss = self.student.loss
        plain = not loss.params.get("standardize") and not self.student.features.name
        return loss.name == "kd" and loss.weight > 0 and plain


def baselines_of(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Find the baselines: name → first recipe with this baseline."""
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.baseline, entry)
    return first


def plain_kd_of(entry: Entry, entries: Sequence[Entry]) -> Entry | None:
    """Find the first plain KD with the same student, augmentation and budget; it may be `entry` itself."""
    return next((kd for kd in entries if kd.is_plain_kd and kd.baseline == entry.baseline), None)


def load_entries(
    first: Recipe, names: Sequence[str], overrides: Iterable[str], screen: Screen
) -> tuple[Entry, ...]:
    """Load the recipes `names` and give all of them the data and the teacher of the first one.

    Args:
        first: the first recipe, already loaded and with its overrides.
        overrides: overrides for each of the other recipes.

    Raises:
        UsageError: a recipe does not exist, a field is wrong, or two recipes have the same name.
    """
    recipes = [first, *(with_precision(load_recipe(name, overrides), like=first) for name in names[1:])]
    counts = Counter(recipe.name for recipe in recipes)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise UsageError(
            f"--recipes: more than one recipe has the name {', '.join(repeated)}; a name must be unique, "
            "because it names a row and a folder.",
            'Leave the second one out, or give a changed copy another name in its file: name = "…"',
        )
    for recipe in recipes[1:]:
        ignored = [section for section in ("data", "teacher") if _differs(recipe, first, section)]
        if ignored:
            screen.say(
                f"{recipe.name}: its {' and '.join(ignored)} settings are ignored; all recipes are compared "
                f"with those of {first.name}."
            )
    for number, recipe in enumerate(recipes):
        same = [earlier.name for earlier in recipes[:number] if earlier.student == recipe.student]
        if same:
            screen.warn(
                f"{recipe.name}: its student has the same settings as the student of {same[0]}; with one "
                "teacher both give equal results."
            )
    shared = {"data": first.data, "teacher": first.teacher}
    return tuple(Entry(recipe.model_copy(update=shared)) for recipe in recipes)


def check_entries(run: RunFolder, entries: Sequence[Entry], download: bool = True) -> None:
    """Check students and losses before any photograph is decoded.

    Args:
        download: False does not download weights.

    Raises:
        UsageError: a setting is wrong; the message names the recipe.
        ModelFileError, SetupError: see `kdtool.train.check.check_student`.
    """
    for entry in entries:
        try:
            check_student(run, entry.recipe, download)
        except UsageError as error:
            raise UsageError(f"{entry.name}: {error.message}", error.hint) from error


def _differs(recipe: Recipe, first: Recipe, section: str) -> bool:
    settings, common = getattr(recipe, section), getattr(first, section)
    if section == "teacher" and common.trained:  # a trained teacher is not trained again: its file counts
        return bool(settings.trained != common.trained)
    return bool(settings != common)


def _short(value: Any) -> str:
    return sha256_json(value)[:HASHED]
