"""Advice about settings that are known to fail, for training and doctor.

Each function returns sentences: the value in the recipe, the problem, and the setting that solves it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from kdtool.recipe.defaults import LossContext, Params, highest_probability, standardized_temperature

LOW_TEMPERATURE = 2.0
MAJORITY = 0.5
MANY_CLASSES = 100  # from here on the division by K in deit_soft is too strong for `weight` to balance
BETTER_TEACHER = (
    "Train the teacher longer (--set teacher.epochs=…) or from ImageNet weights (--teacher-weights imagenet)."
)


def advise(loss: str, params: Params, classes: int, teacher_smoothing: float) -> list[str]:
    """Advice against parameters of a loss that are known to fail; empty if there are none.

    Args:
        loss: name of the logit loss.
        params: parameters in the recipe; the others have their defaults, which need no advice.
        classes: K.
        teacher_smoothing: ε of the teacher's label smoothing.
    """
    if classes < 2:  # a record that kdtool did not write; training refuses it
        return []
    context = LossContext(params, classes, teacher_smoothing)
    return [advice for check in (*GENERAL, *BY_LOSS.get(loss, ())) if (advice := check(context))]


def worse_teacher(teacher: float, student: float, split: str) -> str | None:
    """Advice if the teacher is less accurate on `split` than its student, otherwise None."""
    if teacher >= student:
        return None
    return (
        f"The teacher is worse than its student ({100 * teacher:.1f} against {100 * student:.1f} % of the "
        f"{split} images): distillation can hardly help. {BETTER_TEACHER}"
    )


def advise_patience(section: str, schedule: str, patience: int, epochs: int) -> str | None:
    """Advice if early stopping can end a training before its learning rate has fallen, otherwise None.

    Args:
        section: section of the recipe, teacher or student, that has the settings `schedule`, `patience` and
            `epochs`.
    """
    if schedule == "constant" or not 0 < patience < epochs:
        return None
    return (
        f"{section}.patience is {patience} with the schedule {schedule}: training may stop before the "
        f"learning rate has fallen, but the best weights come at the end. To train every epoch: "
        f"--set {section}.patience=0"
    )


def advise_precision(section: str, precision: str, in_hardware: bool) -> str | None:
    """Advice if the precision is bfloat16 but the hardware has no bfloat16 arithmetic, otherwise None."""
    if precision != "bfloat16" or in_hardware:
        return None
    return (
        f"{section}.precision is bfloat16, but this processor has no bfloat16 arithmetic: training is slower "
        f"than with float32. Start a new run with: --out DIR --precision float32"
    )


def smoothed_teacher(label_smoothing: float, temperature: float, lower: float = 1.0) -> str | None:
    """Advice if the teacher was trained with label smoothing and the temperature is above 2, otherwise None.

    Label smoothing removes the relations between classes that a high temperature shows (Müller et al.
    2019, arXiv:1906.02629; Chandrasegaran et al. 2022, arXiv:2206.14532).

    Args:
        lower: temperature to try.
    """
    if not label_smoothing or temperature <= LOW_TEMPERATURE:
        return None
    return (
        f"The teacher was trained with label smoothing {label_smoothing:g} and the temperature is "
        f"{temperature:g}: label smoothing removes the relations between classes that a high temperature "
        f"shows. Try --set student.loss.temperature={lower:g}, or a teacher without label smoothing: "
        "--set teacher.label_smoothing=0"
    )


def _smoothed(context: LossContext) -> str | None:
    temperature = _temperature(context.params)
    if temperature is None:
        return None
    lower = standardized_temperature(context.classes) if context.params.get("standardize") else 1.0
    return smoothed_teacher(context.smoothing, temperature, lower)


def _temperature_too_high(context: LossContext) -> str | None:
    """Advice if no class of standardized logits can have a probability over 0.5 at the temperature."""
    temperature = _temperature(context.params)
    if not context.params.get("standardize") or temperature is None:
        return None
    classes = context.classes
    highest = highest_probability(classes, temperature)
    if highest >= MAJORITY:
        return None
    lower = standardized_temperature(classes)
    return (
        f"Standardized logits of {classes} classes at temperature {temperature:g}: the teacher's highest "
        f"probability cannot exceed {highest:.2f}, even if the teacher is certain. At {lower:g} it is "
        f"{highest_probability(classes, lower):.2f}: --set student.loss.temperature={lower:g}"
    )


def _standardized_with_two_classes(context: LossContext) -> str | None:
    if not context.params.get("standardize") or context.classes != 2:
        return None
    return (
        "Standardized logits of 2 classes are ±0.71 for every image: they contain the decision of the "
        "teacher, but not its certainty. Use logits without standardization: "
        "--set student.loss.standardize=false"
    )


def _dkd_with_two_classes(context: LossContext) -> str | None:
    if context.classes != 2:
        return None
    return (
        "dkd with 2 classes: there is only one other class, so NCKD is 0 for every beta, and dkd equals kd. "
        "Use kd, without alpha and beta: --set student.loss.name=kd"
    )


def _dist_with_two_classes(context: LossContext) -> str | None:
    if context.classes != 2:
        return None
    return (
        "dist with 2 classes: the relation between two classes within an image is only a sign, without a "
        "gradient; only the relation between images of a batch remains. Use kd: --set student.loss.name=kd"
    )


def _deit_soft_with_many_classes(context: LossContext) -> str | None:
    if context.classes < MANY_CLASSES:
        return None
    return (
        f"deit_soft with {context.classes} classes: the published loss is divided by their number, so the "
        f"teacher counts {context.classes} times less than with kd. Use kd: --set student.loss.name=kd"
    )


def _temperature(params: Params) -> float | None:
    """Temperature in the recipe; None if it is left out or not valid (training refuses it then)."""
    value = params.get("temperature")
    return value if isinstance(value, int | float) and 0 < value <= sys.float_info.max else None


Check = Callable[[LossContext], str | None]
GENERAL: tuple[Check, ...] = (_smoothed, _temperature_too_high, _standardized_with_two_classes)
BY_LOSS: Mapping[str, tuple[Check, ...]] = {
    "dkd": (_dkd_with_two_classes,),
    "dist": (_dist_with_two_classes,),
    "deit_soft": (_deit_soft_with_many_classes,),
}
