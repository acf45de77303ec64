"""The recipe that is advised for photographs of one's own: what was measured best, within a budget of time.

models/README.md has the measurements: on few photographs, the initial weights of the student matter more than
any loss, so the student starts from ImageNet weights and from its linear probe, keeps the statistics of its
batch normalization, and sees views of the whole photograph. The budget of time decides about the size of the
input and the number of epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kdtool.recipe.settings import Recipe
from kdtool.recipe.students import STUDENTS, TEACHERS

TARGETS = {  # where the model will run → sides of the input, pixels, the best first
    "phone": (160, 128, 96, 64),
    "web": (128, 96, 64),
    "pi": (128, 96, 64),
    "server": (224, 160, 128, 96, 64),
}
MOST_EPOCHS, FEWEST_EPOCHS, SHORT_EPOCHS, LEAST_EPOCHS = 20, 6, 3, 2
SHORT_SIZE = 96  # pixels; four epochs at this size were measured: recipe quick
TEACHER_SIZE, TEACHER_IMAGES = 160, 18_000  # pixels; images that the teacher sees in training

# the loss for photographs without labels, of a frozen teacher, and of a trained one
OF_UNLABELLED = {"name": "kd", "temperature": 2.0, "weight": 1.0, "ce_weight": 0.5}
OF_FROZEN = {"name": "kd", "temperature": 1.0, "weight": 0.1, "ce_weight": 0.9}
OF_TRAINED = {"name": "kd", "temperature": 2.0, "weight": 1.0, "ce_weight": 0.3}


@dataclass(frozen=True)
class Costs:
    """Estimated seconds of a recipe on this machine: of one epoch of the student, and of all the rest."""

    epoch: float
    rest: float


@dataclass(frozen=True)
class Plan:
    """What the budget of time allows.

    Attributes:
        seconds: estimated time on this machine; None if it is not known.
        fits: False if even the smallest plan takes longer than the budget.
    """

    size: int
    epochs: int
    seconds: float | None = None
    fits: bool = True


def sizes_for(target: str, shortest_side: int) -> tuple[int, ...]:
    """Sides of the input for a target, without those that would only enlarge the photographs."""
    sizes = TARGETS[target]
    return tuple(size for size in sizes if size <= shortest_side) or sizes[-1:]


def plan(sizes: tuple[int, ...], budget: float, costs: Callable[[int, int], Costs] | None) -> Plan:
    """Choose the largest input with at least `FEWEST_EPOCHS` epochs in the budget, then as many as fit.

    If no input from `SHORT_SIZE` on allows so many, a few epochs without augmentation, which cost less, are
    better than a smaller input; and if not even these fit, the smallest input gets as many as fit.

    Args:
        budget: seconds.
        costs: side of the input, number of epochs → costs here; None if they cannot be measured.
    """
    if costs is None:
        return Plan(sizes[min(1, len(sizes) - 1)], MOST_EPOCHS)
    large = tuple(size for size in sizes if size >= SHORT_SIZE) or sizes
    small = tuple(size for size in sizes if size <= SHORT_SIZE) or sizes[-1:]
    for tried, least, most in ((large, FEWEST_EPOCHS, MOST_EPOCHS), (small, SHORT_EPOCHS, FEWEST_EPOCHS - 1)):
        for size in tried:
            cost = costs(size, least)
            epochs = min(most, int((budget - cost.rest) / cost.epoch))
            if epochs >= least:
                return Plan(size, epochs, cost.rest + epochs * cost.epoch)
    seconds = cost.rest + LEAST_EPOCHS * cost.epoch
    return Plan(size, LEAST_EPOCHS, seconds, fits=seconds <= budget)


def advised_fields(
    size: int, epochs: int, images: int, *, mirror: bool, unlabelled: str = ""
) -> dict[str, object]:
    """Fields of the advised recipe, as `section.key`.

    Args:
        images: number of photographs; the teacher gets more epochs of few ones.
        mirror: the mirrored photograph shows the same class.
        unlabelled: folder of photographs without labels, for which the teacher's answers count in full. The
            teacher is then frozen, as it was measured.
    """
    long, frozen = epochs >= FEWEST_EPOCHS, freezes_teacher(epochs, unlabelled)
    loss = OF_UNLABELLED if unlabelled else OF_FROZEN if frozen else OF_TRAINED
    fields: dict[str, object] = {"data.size": size}
    if unlabelled:
        fields["data.unlabelled"] = unlabelled
    fields |= {
        "teacher.arch": TEACHERS[0].arch,
        "teacher.weights": "imagenet",
        "teacher.size": max(TEACHER_SIZE, size),
    }
    if frozen:
        fields |= {"teacher.train": "head", "teacher.epochs": 1, "teacher.precision": "float32"}
    else:
        passes = min(MOST_EPOCHS, max(FEWEST_EPOCHS, -(-TEACHER_IMAGES // max(images, 1))))
        fields |= {"teacher.epochs": passes} | _fine_tuning("teacher", mirror=mirror)
    fields |= {
        "student.arch": STUDENTS[0].arch,
        "student.weights": "imagenet",
        "student.epochs": epochs,
        "student.patience": 0,
    }
    fields |= _fine_tuning("student", mirror=mirror, long=long)
    return fields | {f"student.loss.{key}": value for key, value in loss.items()}


def freezes_teacher(epochs: int, unlabelled: str) -> bool:
    """True if a frozen teacher is advised: for little time, or if most photographs have no label."""
    return bool(unlabelled) or epochs < FEWEST_EPOCHS


def _fine_tuning(section: str, *, mirror: bool, long: bool = True) -> dict[str, object]:
    """Fields of a training that starts from weights; a short one has no views and half of the rate."""
    fields: dict[str, object] = {
        "optimizer": "adamw",
        "lr": 1e-3 if long else 5e-4,
        "weight_decay": 0.02,
        "schedule": "cosine",
        "warmup_epochs": 1 if long else 0,
        "ema": 0.99 if long else 0.0,
        "freeze_norm": "auto",
        "selection": "last",
        "precision": "float32",
    }
    if long:
        fields |= {"augment.crop": 0.35, "augment.flip": mirror}
    return {f"{section}.{key}": value for key, value in fields.items()}


def advised_recipe(name: str, fields: dict[str, object]) -> Recipe:
    """Build the recipe of these fields."""
    content: dict[str, object] = {"name": name}
    for key, value in fields.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})  # type: ignore[assignment]  # a section is a dictionary
        place[last] = value
    return Recipe.model_validate(content)
