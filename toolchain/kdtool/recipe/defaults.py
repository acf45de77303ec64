"""Defaults of loss parameters for K classes and a teacher.

The defaults of a loss are those of its authors, tuned for 100 or 1000 classes and a teacher trained on hard
labels. `resolve` fills in a parameter only if this default fails, and never if the recipe gives one.

Defaults and advice need a formula for standardized logits. Sun, Ren, Li, Wang, Cao (2024), arXiv:2403.01427,
scale the logits of each sample to mean 0 and standard deviation 1. The largest logit of a one-hot row is then
√K above the others, so only K and T limit the highest probability of a teacher.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PUBLISHED_TEMPERATURE = 2.0
WANTED_PROBABILITY = 0.6  # highest probability at the published T = 2 and 100 classes
DKD_BETA, DKD_CLASSES = 8.0, 100  # published β, and the number of classes that it was tuned for
DIST_TEMPERATURE, DIST_CLASSES = 4.0, 10

Params = Mapping[str, Any]
Derived = tuple[str, float, str]  # parameter, value, reason


def highest_probability(classes: int, temperature: float) -> float:
    """1 / (1 + (K − 1) e^(−√K / T)): upper bound of the softmax of standardized logits at temperature T.

    Args:
        classes: K ≥ 2.
        temperature: T > 0.
    """
    return 1 / (1 + (classes - 1) * math.exp(-math.sqrt(classes) / temperature))


def standardized_temperature(classes: int) -> float:
    """min(2, √K / ln(1.5 (K − 1))), to three decimals: the T at which the highest probability is 0.6.

    The result is the published 2 for 2 classes and for 100 or more, and 1.215 for 10.

    Args:
        classes: K ≥ 2.
    """
    odds = WANTED_PROBABILITY / (1 - WANTED_PROBABILITY)
    return round(min(PUBLISHED_TEMPERATURE, math.sqrt(classes) / math.log(odds * (classes - 1))), 3)


@dataclass(frozen=True)
class Resolved:
    """Parameters of a loss, complete.

    Attributes:
        params: the parameters of the recipe, and those that were filled in.
        reasons: a sentence for each parameter that was filled in.
    """

    params: dict[str, Any]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class LossContext:
    """Facts that defaults and advice follow from.

    Attributes:
        params: parameters of the loss in the recipe.
        classes: K ≥ 2.
        smoothing: ε of the teacher's label smoothing.
    """

    params: Mapping[str, Any]
    classes: int
    smoothing: float


def resolve(name: str, params: Mapping[str, Any], classes: int, teacher_smoothing: float) -> Resolved:
    """Complete the parameters of the loss `name`; a parameter that is still missing keeps its default.

    Args:
        params: parameters of the recipe; they are not changed.
        classes: K ≥ 2.
        teacher_smoothing: ε of the targets that the teacher was trained on, 0 for hard labels.
    """
    context = LossContext(params, classes, teacher_smoothing)
    rules = DERIVED.get(name, ())
    derived = [default for rule in rules for default in rule(context) if default[0] not in params]
    reasons = tuple(f"{name}: {key} {value:g} {why}." for key, value, why in derived)
    return Resolved({**params, **{key: value for key, value, _ in derived}}, reasons)


def _kd_temperature(context: LossContext) -> Iterator[Derived]:
    """Temperature of a divergence of softened outputs.

    Standardized logits have a fixed scale, independent of the teacher's label smoothing, so their T follows
    from K only. For other logits, the outputs of a smoothed teacher are not softened further, since label
    smoothing removes the relations between classes (Müller et al. 2019, arXiv:1906.02629; Chandrasegaran et
    al. 2022, arXiv:2206.14532).
    """
    if context.params.get("standardize"):
        classes, temperature = context.classes, standardized_temperature(context.classes)
        highest = highest_probability(classes, temperature)
        reason = (
            f"for standardized logits of {classes} classes; the highest probability of a teacher is then "
            f"{highest:.2f}"
        )
        if temperature != PUBLISHED_TEMPERATURE:
            published = highest_probability(classes, PUBLISHED_TEMPERATURE)
            reason += f", at the published temperature 2 it is {published:.2f}"
        yield "temperature", temperature, reason
    elif context.smoothing:
        yield (
            "temperature",
            1.0,
            f"for a teacher trained with label smoothing {context.smoothing:g}, which removes the relations "
            "between classes that a higher temperature would show",
        )


def _dkd_beta(context: LossContext) -> Iterator[Derived]:
    """β = 8 (K − 1) / 99 below 100 classes.

    At a high temperature T² · KL ≈ Σ (Δz)² / (2 (K − 1)) over the K − 1 other classes. So β pulls each of
    their logits with the strength β / (K − 1); this rule keeps the strength that the authors tuned. With 2
    classes the term is 0, whatever β is.
    """
    if 2 < context.classes < DKD_CLASSES:
        beta = round(DKD_BETA * (context.classes - 1) / (DKD_CLASSES - 1), 3)
        yield (
            "beta",
            beta,
            f"= {DKD_BETA:g} · (K − 1) / {DKD_CLASSES - 1} for {context.classes} classes; "
            f"the authors tuned {DKD_BETA:g} for {DKD_CLASSES}",
        )


def _dist_temperature(context: LossContext) -> Iterator[Derived]:
    """T = 4 for 3 to 10 classes, as the authors advise: with few classes the outputs are nearly one-hot.

    With 2 classes T has no effect, since the relation within an image is only a sign. The outputs of a
    smoothed teacher are soft already.
    """
    if 2 < context.classes <= DIST_CLASSES and not context.smoothing:
        yield "temperature", DIST_TEMPERATURE, f"for {context.classes} classes, as its authors advise for few"


DERIVED: Mapping[str, tuple[Callable[[LossContext], Iterator[Derived]], ...]] = {
    "kd": (_kd_temperature,),
    "dkd": (_kd_temperature, _dkd_beta),
    "dist": (_dist_temperature,),
    "deit_soft": (_kd_temperature,),
}
