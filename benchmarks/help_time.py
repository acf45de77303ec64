"""Measure the time of `kdtool --help` against that of `python -c pass`, in pairs, with one interpreter.

python benchmarks/help_time.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from kdtool.machine.cpu import processor_name
from kdtool.machine.packages import versions_of

PAIRS = 31


def seconds(*arguments: str) -> float:
    """Run Python with `arguments`; return how long it took."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    ratios = []
    for _ in range(PAIRS + 1):
        empty = seconds("-c", "pass")
        ratios.append(seconds("-m", "kdtool", "--help") / empty)
    counted = ratios[1:]  # the first pair warms the file cache
    result = {
        "ratio_median": round(statistics.median(counted), 2),
        "ratio_min": round(min(counted), 2),
        "ratio_max": round(max(counted), 2),
        "pairs": PAIRS,
        "processor": processor_name(),
        "versions": versions_of(("click",)),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
