"""Every two models on the same test images: how far apart they are, and whether chance may have done it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from kdtool.results.bench import Gain, ModelDifference
from kdtool.results.statistics import (
    BoolArray,
    Concordance,
    difference_bootstrap,
    holm,
    mcnemar_exact,
    paired_bootstrap,
)


def differences_of(
    correct: Mapping[str, BoolArray], resamples: int, seed: int
) -> tuple[ModelDifference, ...]:
    """Every pair, the later model against the earlier one.

    Args:
        correct: model → (N,) whether it answers each test image rightly, the same images for all.
    """
    pairs = [
        _difference(name, against, correct, resamples, seed) for against, name in combinations(correct, 2)
    ]
    corrected = holm([pair.p for pair in pairs])
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True))


def gain_of(correct: Mapping[str, BoolArray]) -> Gain | None:
    """What the teacher was good for; None without a student or a baseline."""
    if "student" not in correct or "baseline" not in correct:
        return None
    table = Concordance.of(correct["student"], correct["baseline"])
    b, c = table.first_only, table.second_only
    return Gain(100 * table.difference, b, c, mcnemar_exact(b, c))


def _difference(
    name: str, against: str, correct: Mapping[str, BoolArray], resamples: int, seed: int
) -> ModelDifference:
    own, other = correct[name], correct[against]
    table = Concordance.of(own, other)
    b, c = table.first_only, table.second_only
    low, high = difference_bootstrap(own, other, resamples, seed)
    p = mcnemar_exact(b, c)
    return ModelDifference(
        model=name,
        against=against,
        n_images=table.images,
        model_only=b,
        against_only=c,
        points=100 * table.difference,
        points_ci=(100 * low, 100 * high),
        retention=table.retention,
        retention_ci=paired_bootstrap(own, other, resamples, seed),
        p=p,
        p_holm=p,
    )
