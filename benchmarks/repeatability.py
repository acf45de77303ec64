"""Does a claim about time get the same verdict from several benches of the same files on the same machine?

Usage: python benchmarks/repeatability.py BENCH.json ...              judges benches that were made
       python benchmarks/repeatability.py --make 10 MODEL.onnx ...    makes them first, in build/repeatability

For each model, number of threads and measure, all benches are judged at every threshold at which a verdict
may change. Two benches contradict each other if one says PASS and the other FAIL at the same threshold.
Beside it stands how many pairs of benches would do so if the interval were Student's for the mean of the
sessions alone, and how much benches differ (`deviation`) where their sessions let expect `expected`.
Exits 1 if any contradict each other.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from kdtool.results.bench import BenchResult, read_bench
from kdtool.results.claim import Bound, judge
from kdtool.results.measures import MEASURES, Resampling, Side
from kdtool.results.statistics.estimate import Estimate
from kdtool.results.statistics.sessions import over_sessions

PLACE = Path("build/repeatability")
LATENCY = ("p50_ms", "p90_ms", "latency")
EDGE = 1e-6  # relative; thresholds beside the ends of an interval


def make(count: int, models: Sequence[str]) -> list[Path]:
    """Run `kdtool bench` on the files `count` times, one after the other."""
    PLACE.mkdir(parents=True, exist_ok=True)
    paths = [PLACE / f"bench-{number}.json" for number in range(1, count + 1)]
    names = ["--judge", models[-1], "--against", models[0]]
    for path in paths:
        with path.open("wb") as file:
            command = [sys.executable, "-m", "kdtool", "bench", *models, *names, "--json"]
            subprocess.run(command, stdout=file, check=True)
    return paths


def sides(result: BenchResult, name: str, reference: str, threads: int) -> tuple[Side, Side] | None:
    """Times of a model and of the reference with a number of threads, as a claim sees them."""
    both = [result.model(name), result.model(reference)]
    found = []
    for model in both:
        latency = _with_threads(model.latencies if model else (), threads)
        if latency is None:
            return None
        throughput = _with_threads(model.throughputs if model else (), threads)
        batches = throughput.by_session if throughput else ()
        found.append(Side(latencies=latency.by_session, batches=batches))
    return found[0], found[1]


def _with_threads(series: Sequence[Any], threads: int) -> Any:
    return next((one for one in series if one.threads == threads), None)


def series_of(results: Sequence[BenchResult]) -> Iterator[tuple[str, int, str, list[tuple[Side, Side]]]]:
    """Model, threads, measure, and the times of each bench."""
    first = results[0]
    reference = first.models[0].name
    for model in first.models:
        for latency in model.latencies:
            pairs = [sides(result, model.name, reference, latency.threads) for result in results]
            known = [pair for pair in pairs if pair is not None]
            for measure in (*LATENCY, *(["throughput"] if known and known[0][0].batches else [])):
                if model.name != reference or not MEASURES[measure].noun.endswith("{possessive}"):
                    yield model.name, latency.threads, measure, known


def contradiction(measure: str, pairs: Sequence[tuple[Side, Side]]) -> tuple[int, float | None]:
    """Number of thresholds that were tried, and the first at which benches say both PASS and FAIL."""
    how = Resampling()
    found = [MEASURES[measure].estimate(*pair, how) for pair in pairs]
    estimates = [one for one in found if isinstance(one, Estimate)]
    ends = {one.value for one in estimates} | {end for one in estimates for end in one.interval or ()}
    thresholds = sorted(end * (1 + side) for end in ends for side in (-EDGE, EDGE))
    for threshold in thresholds:
        verdicts = {judge([Bound(measure, False, threshold)], *pair, how).verdict for pair in pairs}
        if {"PASS", "FAIL"} <= verdicts:
            return len(thresholds), threshold
    return len(thresholds), None


def by_mean(measure: str, pairs: Sequence[tuple[Side, Side]]) -> dict[str, Any]:
    """Compare benches by Student's interval of the mean alone; empty for benches of one session."""
    share = 0.9 if measure == "p90_ms" else 0.5
    series = [
        [side.batches if measure == "throughput" else side.latencies for side in pair] for pair in pairs
    ]
    values = [
        [np.quantile(times, share, method="weibull") for times in own]
        if measure.endswith("_ms")
        else [np.median(first) / np.median(second) for first, second in zip(own, other, strict=True)]
        for own, other in series
    ]
    if min(map(len, values)) < 2:
        return {}
    intervals = [interval for one in values if (interval := over_sessions(one).interval)]
    apart = sum(max(a[0], b[0]) > min(a[1], b[1]) for a, b in combinations(intervals, 2))
    logarithms = [np.log(one) for one in values]
    expected = np.sqrt(np.mean([one.var(ddof=1) / len(one) for one in logarithms]))
    return {
        "deviation": round(float(np.std([one.mean() for one in logarithms], ddof=1)), 4),
        "expected": round(float(expected), 4),
        "pairs_contradicted_by_mean": apart,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", help="bench.json files, or ONNX files to make them of")
    parser.add_argument("--make", type=int, default=0, help="number of benches to make")
    options = parser.parse_args()
    paths = make(options.make, options.files) if options.make else [Path(name) for name in options.files]
    results = [read_bench(path) for path in paths]
    rows, broken = [], False
    for name, threads, measure, pairs in series_of(results):
        values = [MEASURES[measure].estimate(*pair, Resampling()) for pair in pairs]
        estimates = [one for one in values if isinstance(one, Estimate)]
        tried, threshold = contradiction(measure, pairs)
        halves = [(one.interval[1] - one.interval[0]) / 2 / one.value for one in estimates if one.interval]
        lowest, highest = min(one.value for one in estimates), max(one.value for one in estimates)
        rows.append(
            {
                "model": name, "threads": threads, "measure": measure, "benches": len(estimates),
                "sessions": estimates[0].n, "lowest": round(lowest, 4), "highest": round(highest, 4),
                "range": round(highest / lowest - 1, 4),
                "half_width": round(sum(halves) / len(halves), 4) if halves else None,
                "thresholds": tried, "contradicted_at": threshold,
            } | by_mean(measure, pairs)
        )  # fmt: skip
        broken |= threshold is not None
    print(json.dumps({"host": str(results[0].host), "figures": rows}, indent=1, ensure_ascii=False))
    raise SystemExit(broken)


if __name__ == "__main__":
    main()
