"""Times that were measured in several sessions, and their intervals.

A session is a process that opens the models anew. Where its memory lies and what else the machine does shift
all times of a session together, by more than the times within it differ. So a session counts as one
observation and gives one value. What changes from one bench to the next, such as the clock of a machine that
others share, no bench can see; measured values for it are part of the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from kdtool.core.errors import UsageError
from kdtool.results.statistics.estimate import CONFIDENCE, Estimate
from kdtool.results.statistics.times import require_samples

SESSIONS = "sessions"
# Allowance for what changes from bench to bench, relative. Beyond what sessions showed, medians with one
# thread deviated by 3.5 and 5.5 % in two series of ten benches, ratios by nothing: decision 0052.
OF_TIMES, OF_RATIOS = 0.04, 0.005
NORMAL = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
Sessions = Sequence[Sequence[float]]  # ms of each run, by session


def over_sessions(values: Sequence[float], between: float = 0.0, *, further: bool = False) -> Estimate:
    """Geometric mean of one positive value for each session, with a 95 % interval.

    exp(m ± √((t s)² (f + 1 / S) + (z b)²)), m and s the mean and the standard deviation of the S logarithms,
    t the quantile of Student's distribution with S − 1 degrees of freedom, z that of the normal distribution,
    b the deviation from bench to bench. It is the interval of the mean (f = 0), or of the value of one
    further session (f = 1). One session has no interval. Source: G. J. Hahn and W. Q. Meeker, Statistical
    Intervals (1991), 4.2 and 4.7, for b = 0.

    Args:
        between: b, relative.
        further: True for f = 1.

    Raises:
        UsageError: there is no session.
    """
    if not values:
        raise UsageError("There are no latencies.", "Measure with: kdtool bench")
    logarithms = np.log(np.asarray(values, np.float64))
    count, centre = len(values), float(logarithms.mean())
    if count == 1:
        return Estimate(float(values[0]), None, 1, SESSIONS)
    spread = float(logarithms.std(ddof=1))
    half = math.hypot(student_t(count - 1) * spread * math.sqrt(further + 1 / count), NORMAL * between)
    fixed = NORMAL * math.hypot(spread * further, between)
    value = math.exp(centre)
    interval = (math.exp(centre - half), math.exp(centre + half))
    return Estimate(value, interval, count, SESSIONS, fixed * value)


def quantile_of_sessions(sessions: Sessions, share: float) -> Estimate:
    """Quantile of the times of a session: the mean over sessions, and the interval of one further session.

    The limit of a claim is kept if a further session keeps it: a program that is started anew is one.

    A session has few times, so its quantile is the one whose rank is right in the mean: value k of n sorted
    times has the rank k / (n + 1). R. J. Hyndman and Y. Fan, Am. Stat. 50 (1996) 361, definition 6. With the
    usual rank (k − 1) / (n − 1), the p90 of 20 times would be too small.

    Raises:
        UsageError: all sessions together have too few times: a p90 needs 64 and a p99 needs 662.
    """
    require_samples(sum(map(len, sessions)), share)
    values = [float(np.quantile(times, share, method="weibull")) for times in sessions]
    return over_sessions(values, OF_TIMES, further=True)


def ratio_of_sessions(times: Sessions, reference: Sessions) -> Estimate:
    """median(times) / median(reference) in each session, and the mean over sessions by `over_sessions`.

    Below 1 if the model is faster than the reference. What slows a whole session slows both models, and
    cancels.

    Args:
        times, reference: session n of both was the same process.

    Raises:
        ValueError: the numbers of sessions differ.
    """
    pairs = zip(times, reference, strict=True)
    return over_sessions([float(np.median(own) / np.median(other)) for own, other in pairs], OF_RATIOS)


def speedup_of_sessions(times: Sessions, reference: Sessions) -> Estimate:
    """median(reference) / median(times): above 1 if the model is faster; see `ratio_of_sessions`."""
    return ratio_of_sessions(reference, times)


def student_t(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t with P(|T| ≤ t) = confidence for Student's T with `freedom` ≥ 1 degrees of freedom.

    P(|T| ≤ t) is a finite sum in θ = arctan(t / √freedom); θ is found by bisection.
    Source: M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _within(angle: float, freedom: int) -> float:
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(1 + odd, freedom, 2):
        total += term
        term *= cosine * cosine * power / (power + 1)
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total
