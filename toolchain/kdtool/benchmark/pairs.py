"""Compare every two models on the same test images: the difference and whether chance may explain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from kdtool.results.bench import Gain, ModelDifference
from kdtool.results.statistics.accuracy import (
    Concordance,
    difference_bootstrap,
    holm,
    mcnemar_exact,
    paired_bootstrap,
)
from kdtool.results.statistics.estimate import BoolArray


def differences_of(
    correct: Mapping[str, BoolArray], resamples: int, seed: int
) -> tuple[ModelDifference, ...]:
    """Compare every pair of models, the later model with the earlier one.

    Args:
        correct: model → (N,) True for each test image with the right prediction; all models have the same
            images.
    """
    pairs = [
        _difference(name, against, correct, resamples, seed) for against, name in combinations(correct, 2)
    ]
    corrected = holm([pair.p for pair in pairs])
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True))


def gain_of(correct: Mapping[str, BoolArray]) -> Gain | None:
    """Compute what the teacher added: student against baseline; None without one of the two."""
    if "student" not in correct or "baseline" not in correct:
        return None
    table = Concordance.of(correct["student"], correct["baseline"])
    b, c = table.first_only, table.second_only
    return Gain(100 * table.difference, b, c, mcnemar_exact(b, c))


def _difference(
    name: str, against: str, correct: Mapping[str, BoolArray], resamples: int, seed: int
) -> ModelDifference:
    hits, against_hits = correct[name], correct[against]
    table = Concordance.of(hits, against_hits)
    b, c = table.first_only, table.second_only
    low, high = difference_bootstrap(hits, against_hits, resamples, seed)
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
        retention_ci=paired_bootstrap(hits, against_hits, resamples, seed),
        p=p,
        p_holm=p,
    )
