"""Defaults that know K: what a recipe leaves open, where the published value suits other data.

A loss's own defaults are its authors', tuned for 100 or 1000 classes and a teacher trained on hard
labels. `resolve` fills a parameter only where that goes wrong, and never one that the recipe gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kdtool.recipe.standardized import (
    PUBLISHED_TEMPERATURE,
    highest_probability,
    standardized_temperature,
)

DKD_BETA, DKD_CLASSES = 8.0, 100  # as published, and what it was tuned for
DIST_TEMPERATURE, DIST_CLASSES = 4.0, 10

Derived = tuple[str, float, str]  # parameter, value, why


@dataclass(frozen=True)
class Resolved:
    """`params`: the given ones and those filled in. `reasons`: a sentence for each that was filled in."""

    params: dict[str, Any]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What defaults follow from: parameters of the recipe, K ≥ 2 classes, ε of the teacher's smoothing."""

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
    follows from K alone (`kdtool.recipe.standardized`). Otherwise a smoothed teacher, which has lost the
    relations between classes, is not softened further (Müller et al. 2019, arXiv:1906.02629;
    Chandrasegaran et al. 2022, arXiv:2206.14532).
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
