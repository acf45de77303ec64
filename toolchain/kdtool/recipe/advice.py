"""What is known to go wrong together, in words; said in training and by doctor.

Each piece of advice names what was given and the setting that mends it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from kdtool.recipe.standardized import highest_probability, standardized_temperature

LOW_TEMPERATURE = 2.0
MAJORITY = 0.5
MANY_CLASSES = 100  # where deit_soft's division by K is no longer a matter of weight
CHANCE_MARGIN = 1.1
BETTER_TEACHER = (
    "Teach it longer (--set teacher.epochs=…) or from ImageNet weights (--teacher-weights imagenet)."
)

Params = Mapping[str, Any]


def advise(loss: str, params: Params, classes: int, teacher_smoothing: float) -> list[str]:
    """What speaks against a loss with these parameters; empty where nothing does.

    Args:
        loss: name of the logit loss.
        params: its parameters; what is not among them was left to the defaults, which go well.
        classes: K.
        teacher_smoothing: ε of the teacher's label smoothing.
    """
    if classes < 2:  # a foreign record; training refuses it
        return []
    every = (*GENERAL, *OF_LOSS.get(loss, ()))
    return [said for check in every if (said := check(params, classes, teacher_smoothing))]


def advise_accuracies(teacher: float, student: float | None, classes: int) -> list[str]:
    """What speaks against a teacher, by its validation accuracy and its student's, where that is known.

    Args:
        teacher, student: fractions in [0, 1].
        classes: K ≥ 1.
    """
    if teacher <= CHANCE_MARGIN / classes:
        return [
            f"The teacher is right on {teacher:.1%} of the validation images, guessing among {classes} "
            f"classes on {1 / classes:.1%}: it has nothing to teach. {BETTER_TEACHER}"
        ]
    worse = worse_teacher(teacher, student, "validation") if student is not None else None
    return [worse] if worse else []


def worse_teacher(teacher: float, student: float, split: str) -> str | None:
    """Advice where the teacher's accuracy on `split` is below its student's, else None."""
    if teacher >= student:
        return None
    return (
        f"The teacher is worse than its student ({100 * teacher:.1f} against {100 * student:.1f} % of the "
        f"{split} images): distillation has little to give. {BETTER_TEACHER}"
    )


def advise_patience(section: str, schedule: str, patience: int, epochs: int) -> str | None:
    """Advice where early stopping can end a training before its learning rate has fallen, else None.

    Args:
        section: of the recipe, teacher or student; the others are its settings.
    """
    if schedule == "constant" or not 0 < patience < epochs:
        return None
    return (
        f"{section}.patience is {patience} with the schedule {schedule}: training may stop before the "
        f"learning rate has fallen, where the best weights come. Train every epoch: "
        f"--set {section}.patience=0"
    )


def advise_precision(section: str, precision: str, in_hardware: bool) -> str | None:
    """Advice where bfloat16 is asked of hardware that has to imitate it, else None."""
    if precision != "bfloat16" or in_hardware:
        return None
    return (
        f"{section}.precision is bfloat16, which this processor has no arithmetic for: it is slower than "
        f"float32. In a new --out: --precision float32"
    )


def smoothed_teacher(label_smoothing: float, temperature: float, lower: float = 1.0) -> str | None:
    """Advice where a teacher trained with label smoothing meets a temperature above 2, else None.

    Smoothing erases the relations between classes that a high temperature brings out (Müller et al.
    2019, arXiv:1906.02629; Chandrasegaran et al. 2022, arXiv:2206.14532).

    Args:
        lower: the temperature to try instead.
    """
    if not label_smoothing or temperature <= LOW_TEMPERATURE:
        return None
    return (
        f"The teacher was trained with label smoothing {label_smoothing:g} and the temperature is "
        f"{temperature:g}: a smoothed teacher has lost the relations between classes that a high temperature "
        f"looks for. Try --set student.loss.temperature={lower:g}, or a teacher without: "
        "--set teacher.label_smoothing=0"
    )


def _smoothed(params: Params, classes: int, smoothing: float) -> str | None:
    temperature = _temperature(params)
    if temperature is None:
        return None
    lower = standardized_temperature(classes) if params.get("standardize") else 1.0
    return smoothed_teacher(smoothing, temperature, lower)


def _softened_away(params: Params, classes: int, _: float) -> str | None:
    """Standardized logits at a temperature that leaves a sure teacher without a majority."""
    temperature = _temperature(params)
    if not params.get("standardize") or temperature is None:
        return None
    highest = highest_probability(classes, temperature)
    if highest >= MAJORITY:
        return None
    lower = standardized_temperature(classes)
    return (
        f"Standardized logits of {classes} classes at temperature {temperature:g}: the teacher's highest "
        f"probability cannot exceed {highest:.2f}, however sure it is. At {lower:g} it is "
        f"{highest_probability(classes, lower):.2f}: --set student.loss.temperature={lower:g}"
    )


def _sign_alone(params: Params, classes: int, _: float) -> str | None:
    if not params.get("standardize") or classes != 2:
        return None
    return (
        "Standardized logits of 2 classes are ±0.71 for every image: the teacher's decision is left, but not "
        "how sure it is. Take the logits as they are: --set student.loss.standardize=false"
    )


def _two_way(_: Params, classes: int, __: float) -> str | None:
    if classes != 2:
        return None
    return (
        "dkd with 2 classes: there is one other class, so NCKD is 0 whatever beta is, and what remains is "
        "kd. Take that, without alpha and beta: --set student.loss.name=kd"
    )


def _two_related(_: Params, classes: int, __: float) -> str | None:
    if classes != 2:
        return None
    return (
        "dist with 2 classes: the relation of the two within an image is a sign, without a gradient, and "
        "only that between the images of a batch is left. Take kd: --set student.loss.name=kd"
    )


def _vanishing(_: Params, classes: int, __: float) -> str | None:
    if classes < MANY_CLASSES:
        return None
    return (
        f"deit_soft with {classes} classes: as published it is divided by their number, so the teacher "
        f"counts {classes} times less than with kd. Take kd: --set student.loss.name=kd"
    )


def _temperature(params: Params) -> float | None:
    """None where it is left out, or is not one; training refuses the latter."""
    value = params.get("temperature")
    return value if isinstance(value, int | float) and 0 < value <= sys.float_info.max else None


Check = Callable[[Params, int, float], str | None]
GENERAL: tuple[Check, ...] = (_smoothed, _softened_away, _sign_alone)
OF_LOSS: Mapping[str, tuple[Check, ...]] = {
    "dkd": (_two_way,),
    "dist": (_two_related,),
    "deit_soft": (_vanishing,),
}
