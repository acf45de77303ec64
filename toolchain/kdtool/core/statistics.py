"""What a test split of finite size allows to say. Pure functions of counts, numpy alone.

Teacher and student answer the same images, so their comparison is paired throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import UsageError

BoolArray = npt.NDArray[np.bool_]
Interval = tuple[float, float]
CONFIDENCE = 0.95
P90_SAMPLES = 64


@dataclass(frozen=True)
class Concordance:
    """The 2 × 2 table of two classifiers on the same images: how often both, one alone or none is right."""

    both: int
    student_only: int
    teacher_only: int
    neither: int

    @classmethod
    def of(cls, student_correct: BoolArray, teacher_correct: BoolArray) -> Concordance:
        """Raises ValueError where the arrays are not of the same images."""
        if student_correct.shape != teacher_correct.shape or student_correct.ndim != 1:
            raise ValueError(f"shapes {student_correct.shape} and {teacher_correct.shape} are not paired")
        student, teacher = student_correct.astype(bool), teacher_correct.astype(bool)
        pairs = (student & teacher, student & ~teacher, ~student & teacher, ~student & ~teacher)
        return cls(*(int(np.count_nonzero(pair)) for pair in pairs))

    @property
    def images(self) -> int:
        return self.both + self.student_only + self.teacher_only + self.neither

    @property
    def retention(self) -> float | None:
        """Student's accuracy / teacher's accuracy; None where the teacher is never right."""
        teacher = self.both + self.teacher_only
        return (self.both + self.student_only) / teacher if teacher else None


@dataclass(frozen=True)
class Thresholds:
    """The claim: retention at least, compute at most, at this confidence (two-sided)."""

    min_retention: float = 0.94
    max_compute: float = 0.50
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class Verdict:
    """Whether the claim holds.

    Attributes:
        retention, retention_ci: student's accuracy / teacher's, and its interval; None if not measured.
        compute_ratio: student's MACs / teacher's; None if not known.
        params_ratio: the same of parameters, for information.
        images_needed: test images that would decide it, where more images would; else None.
    """

    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    retention: float | None
    retention_ci: Interval | None
    compute_ratio: float | None
    params_ratio: float | None
    thresholds: Thresholds
    images_needed: int | None = None


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a proportion p̂ = successes / n.

    (p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n), z the (1 + confidence)/2 quantile of the
    normal distribution. Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.

    Raises:
        ValueError: not 0 ≤ successes ≤ n with n ≥ 1.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - spread) / scale  # exact at the ends, whatever rounding does
    high = 1.0 if successes == n else (centre + spread) / scale
    return low, high


def paired_bootstrap(
    student_correct: BoolArray,
    teacher_correct: BoolArray,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """Percentile interval of retention = student's accuracy / teacher's, over resampled images.

    Drawing n images with replacement and counting is drawing the 2 × 2 table of concordance from
    Multinomial(n, table / n): the same distribution, at a cost that does not grow with n. Each cell
    counts 0.5 more: a bare table without discordant images could never resample one, and ten images
    both get right would prove a retention of exactly 1. With it 95 % intervals cover 93–100 % in
    simulations of 30 to 1,000 images (tests/unit/test_statistics.py), most where few images are
    discordant; at 1,000 images it is not to be seen. Sources: B. Efron, Ann. Statist. 7
    (1979) 1; A. Agresti and Y. Min, Stat. Med. 24 (2005) 729 for the 0.5.

    Args:
        student_correct, teacher_correct: (N,) whether each answered image n rightly.

    Returns:
        (low, high), or None where the teacher is never right and there is no ratio.
    """
    table = Concordance.of(student_correct, teacher_correct)
    if table.retention is None:
        return None
    cells = np.array([table.both, table.student_only, table.teacher_only, table.neither]) + 0.5
    draws = np.random.default_rng(seed).multinomial(table.images, cells / cells.sum(), size=resamples)
    student, teacher = draws[:, 0] + draws[:, 1], draws[:, 0] + draws[:, 2]
    defined = teacher > 0  # a resample in which the teacher is never right has no ratio
    ratios = student[defined] / teacher[defined]
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided p of the exact McNemar test: are b and c discordant pairs a fair coin's?

    p = min(1, 2 Σ_{k ≤ min(b, c)} C(b + c, k) / 2^(b + c)). Source: Q. McNemar, Psychometrika 12
    (1947) 153, in its binomial form.

    Args:
        b, c: images that only the first, only the second, answers rightly.
    """
    n = b + c
    term, total = 1, 0
    for k in range(min(b, c) + 1):
        total += term
        term = term * (n - k) // (k + 1)
    return min(1.0, 2 * total / (1 << n))


def judge(
    student_correct: BoolArray | None,
    teacher_correct: BoolArray | None,
    student_cost: tuple[int, int] | None,
    teacher_cost: tuple[int, int] | None,
    thresholds: Thresholds,
    resamples: int = 10_000,
    seed: int = 0,
) -> Verdict:
    """The verdict on "this much of the accuracy at that much of the compute".

    PASS: the lower bound of retention is at least `min_retention` and compute at most `max_compute`.
    FAIL: the upper bound is below `min_retention`, or compute over `max_compute`. Else INCONCLUSIVE.
    Compute has no interval: MACs are integers and are compared as fractions.

    Args:
        student_correct, teacher_correct: (N,) over the same test images; None if not measured.
        student_cost, teacher_cost: (params, MACs) of the float networks; None, or 0, where not known.
    """
    params_ratio, compute_ratio = (_ratio(student_cost, teacher_cost, index) for index in (0, 1))
    retention, interval, images = None, None, 0
    if student_correct is not None and teacher_correct is not None and len(teacher_correct):
        table = Concordance.of(student_correct, teacher_correct)
        retention, images = table.retention, table.images
        interval = paired_bootstrap(student_correct, teacher_correct, resamples, seed, thresholds.confidence)
    affordable = None if compute_ratio is None else compute_ratio <= Fraction(str(thresholds.max_compute))
    low, high = interval or (-math.inf, math.inf)
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"] = "INCONCLUSIVE"
    if affordable is False or high < thresholds.min_retention:
        verdict = "FAIL"
    elif affordable and low >= thresholds.min_retention:
        verdict = "PASS"
    undecided = retention is not None and low < thresholds.min_retention <= high and affordable is not False
    return Verdict(
        verdict=verdict,
        retention=retention,
        retention_ci=interval,
        compute_ratio=None if compute_ratio is None else float(compute_ratio),
        params_ratio=None if params_ratio is None else float(params_ratio),
        thresholds=thresholds,
        images_needed=images_needed(retention, interval, thresholds.min_retention, images)
        if undecided
        else None,
    )


def images_needed(
    retention: float | None, interval: Interval | None, min_retention: float, images: int
) -> int | None:
    """Images at which the bound between the estimate and the threshold would just reach the threshold.

    A bound's distance from the estimate shrinks as 1/√n: n' = n (distance / gap)². It supposes that the
    estimate stays where it is. None where it lies on the threshold: no number of images decides that.
    """
    if retention is None or interval is None or retention == min_retention:
        return None
    bound = interval[0] if retention > min_retention else interval[1]
    return max(images + 1, math.ceil(images * ((bound - retention) / (retention - min_retention)) ** 2))


def p50(samples: npt.ArrayLike) -> float:
    """The median. Raises UsageError where there is no sample."""
    return _percentile(samples, 50, 1)


def p90(samples: npt.ArrayLike) -> float:
    """The 90th percentile, linear between samples.

    Raises:
        UsageError: fewer than 64 samples, which say nothing about a tenth of them (MLPerf's rule).
    """
    return _percentile(samples, 90, P90_SAMPLES)


def _percentile(samples: npt.ArrayLike, rank: int, least: int) -> float:
    values = np.asarray(samples, np.float64)
    if values.size < least:
        raise UsageError(
            f"p{rank} of {values.size} samples: at least {least} are needed.",
            f"Measure with --runs {P90_SAMPLES}.",
        )
    return float(np.percentile(values, rank))


def _ratio(student: tuple[int, int] | None, teacher: tuple[int, int] | None, index: int) -> Fraction | None:
    if student is None or teacher is None or student[index] <= 0 or teacher[index] <= 0:
        return None
    return Fraction(student[index], teacher[index])
