"""What suits K classes and this teacher: the defaults a recipe leaves open, and what is known to go wrong.

A loss's own defaults are its authors', tuned for 100 or 1000 classes and a teacher trained on hard labels.
`resolve` fills a parameter only where that goes wrong, and never one that the recipe gives. `advise` and its
neighbours say in words what speaks against a recipe, in training and by doctor: what was given, and the
setting that mends it.

Standardized logits are where both need arithmetic. Sun, Ren, Li, Wang, Cao (2024), arXiv:2403.01427, scale
each sample's logits to mean 0 and standard deviation 1. A one-hot row of K logits then has the gap √K between
its top and the rest, so how sure a teacher can still be depends on K and on T alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PUBLISHED_TEMPERATURE = 2.0
SURE = 0.6  # what the authors' T = 2 leaves at their 100 classes
DKD_BETA, DKD_CLASSES = 8.0, 100  # as published, and what it was tuned for
DIST_TEMPERATURE, DIST_CLASSES = 4.0, 10
LOW_TEMPERATURE = 2.0
MAJORITY = 0.5
MANY_CLASSES = 100  # where deit_soft's division by K is no longer a matter of weight
CHANCE_MARGIN = 1.1
BETTER_TEACHER = (
    "Teach it longer (--set teacher.epochs=…) or from ImageNet weights (--teacher-weights imagenet)."
)

Params = Mapping[str, Any]
Derived = tuple[str, float, str]  # parameter, value, why


def highest_probability(classes: int, temperature: float) -> float:
    """1 / (1 + (K − 1) e^(−√K / T)), which no softened answer from standardized logits exceeds.

    Args:
        classes: K ≥ 2.
        temperature: T > 0.
    """
    return 1 / (1 + (classes - 1) * math.exp(-math.sqrt(classes) / temperature))


def standardized_temperature(classes: int) -> float:
    """min(2, √K / ln(1.5 (K − 1))), to three decimals: the T at which the highest probability is 0.6.

    That is the published 2 for 2 classes, and for 100 and more; 1.215 for 10.

    Args:
        classes: K ≥ 2.
    """
    odds = SURE / (1 - SURE)
    return round(min(PUBLISHED_TEMPERATURE, math.sqrt(classes) / math.log(odds * (classes - 1))), 3)


@dataclass(frozen=True)
class Resolved:
    """`params`: the given ones and those filled in. `reasons`: a sentence for each that was filled in."""

    params: dict[str, Any]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What all of it follows from: parameters of the recipe, K ≥ 2 classes, ε of the teacher's smoothing."""

    params: Mapping[str, Any]
    classes: int
    smoothing: float


def resolve(name: str, params: Mapping[str, Any], classes: int, teacher_smoothing: float) -> Resolved:
    """The parameters of the loss `name`, completed; what is not in them keeps the loss's own default.

    Args:
        params: as the recipe gives them; they are kept.
        classes: K ≥ 2.
        teacher_smoothing: ε of the targets the teacher was trained on, 0 for hard labels.
    """
    setting = Setting(params, classes, teacher_smoothing)
    derived = [one for derive in DERIVED.get(name, ()) for one in derive(setting) if one[0] not in params]
    reasons = tuple(f"{name}: {key} {value:g} {why}." for key, value, why in derived)
    return Resolved({**params, **{key: value for key, value, _ in derived}}, reasons)


def _kd_temperature(setting: Setting) -> Iterator[Derived]:
    """Of a divergence of softened outputs.

    Standardized logits have a scale of their own, whatever the teacher's smoothing was, so their T
    follows from K alone. Otherwise a smoothed teacher, which has lost the relations between classes, is
    not softened further (Müller et al. 2019, arXiv:1906.02629; Chandrasegaran et al. 2022,
    arXiv:2206.14532).
    """
    if setting.params.get("standardize"):
        classes, temperature = setting.classes, standardized_temperature(setting.classes)
        reached = f"a teacher's highest probability is then {highest_probability(classes, temperature):.2f}"
        published = highest_probability(classes, PUBLISHED_TEMPERATURE)
        instead = (
            "" if temperature == PUBLISHED_TEMPERATURE else f", at the published 2 it is {published:.2f}"
        )
        yield "temperature", temperature, f"for standardized logits of {classes} classes; {reached}{instead}"
    elif setting.smoothing:
        yield (
            "temperature",
            1.0,
            f"for a teacher trained with label smoothing {setting.smoothing:g}; "
            "a higher one looks for relations between classes that smoothing has erased",
        )


def _dkd_beta(setting: Setting) -> Iterator[Derived]:
    """8 (K − 1) / 99 below 100 classes.

    At a high temperature T² · KL ≈ Σ (Δz)² / (2 (K − 1)) over the K − 1 others, so β pulls each of
    their logits with β / (K − 1), which this keeps as the authors tuned it. With 2 classes the term is
    0 and β has no part.
    """
    if 2 < setting.classes < DKD_CLASSES:
        beta = round(DKD_BETA * (setting.classes - 1) / (DKD_CLASSES - 1), 3)
        yield (
            "beta",
            beta,
            f"= {DKD_BETA:g} · (K − 1) / {DKD_CLASSES - 1} for {setting.classes} classes; "
            f"the authors tuned {DKD_BETA:g} for {DKD_CLASSES}",
        )


def _dist_temperature(setting: Setting) -> Iterator[Derived]:
    """4 with few classes, which a teacher learns until its answers are all but one-hot (the authors' advice).

    Few are 3 to 10: with 2 the relation within an image is a sign, whatever T is. Not with a smoothed
    teacher, whose answers are soft already.
    """
    if 2 < setting.classes <= DIST_CLASSES and not setting.smoothing:
        yield "temperature", DIST_TEMPERATURE, f"for {setting.classes} classes, as its authors advise for few"


DERIVED: Mapping[str, tuple[Callable[[Setting], Iterator[Derived]], ...]] = {
    "kd": (_kd_temperature,),
    "dkd": (_kd_temperature, _dkd_beta),
    "dist": (_dist_temperature,),
    "deit_soft": (_kd_temperature,),
}


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
    setting = Setting(params, classes, teacher_smoothing)
    return [said for check in (*GENERAL, *OF_LOSS.get(loss, ())) if (said := check(setting))]


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


def _smoothed(setting: Setting) -> str | None:
    temperature = _temperature(setting.params)
    if temperature is None:
        return None
    lower = standardized_temperature(setting.classes) if setting.params.get("standardize") else 1.0
    return smoothed_teacher(setting.smoothing, temperature, lower)


def _softened_away(setting: Setting) -> str | None:
    """Standardized logits at a temperature that leaves a sure teacher without a majority."""
    temperature = _temperature(setting.params)
    if not setting.params.get("standardize") or temperature is None:
        return None
    classes = setting.classes
    highest = highest_probability(classes, temperature)
    if highest >= MAJORITY:
        return None
    lower = standardized_temperature(classes)
    return (
        f"Standardized logits of {classes} classes at temperature {temperature:g}: the teacher's highest "
        f"probability cannot exceed {highest:.2f}, however sure it is. At {lower:g} it is "
        f"{highest_probability(classes, lower):.2f}: --set student.loss.temperature={lower:g}"
    )


def _sign_alone(setting: Setting) -> str | None:
    if not setting.params.get("standardize") or setting.classes != 2:
        return None
    return (
        "Standardized logits of 2 classes are ±0.71 for every image: the teacher's decision is left, but not "
        "how sure it is. Take the logits as they are: --set student.loss.standardize=false"
    )


def _two_way(setting: Setting) -> str | None:
    if setting.classes != 2:
        return None
    return (
        "dkd with 2 classes: there is one other class, so NCKD is 0 whatever beta is, and what remains is "
        "kd. Take that, without alpha and beta: --set student.loss.name=kd"
    )


def _two_related(setting: Setting) -> str | None:
    if setting.classes != 2:
        return None
    return (
        "dist with 2 classes: the relation of the two within an image is a sign, without a gradient, and "
        "only that between the images of a batch is left. Take kd: --set student.loss.name=kd"
    )


def _vanishing(setting: Setting) -> str | None:
    if setting.classes < MANY_CLASSES:
        return None
    return (
        f"deit_soft with {setting.classes} classes: as published it is divided by their number, so the "
        f"teacher counts {setting.classes} times less than with kd. Take kd: --set student.loss.name=kd"
    )


def _temperature(params: Params) -> float | None:
    """None where it is left out, or is not one; training refuses the latter."""
    value = params.get("temperature")
    return value if isinstance(value, int | float) and 0 < value <= sys.float_info.max else None


Check = Callable[[Setting], str | None]
GENERAL: tuple[Check, ...] = (_smoothed, _softened_away, _sign_alone)
OF_LOSS: Mapping[str, tuple[Check, ...]] = {
    "dkd": (_two_way,),
    "dist": (_two_related,),
    "deit_soft": (_vanishing,),
}
