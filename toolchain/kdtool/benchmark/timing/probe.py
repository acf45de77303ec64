"""Measure one model in this process: `python -m kdtool.benchmark.timing.probe RUNTIME THREADS FILE SHAPE`.

The process prints one line of JSON: milliseconds to load the model and to run it for the first time, and the
peak of the memory before and after.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path

RUNS = 3  # further runs, since the first run may not reach the peak of memory


def main(runtime: str, threads: str, path: str, shape: str) -> None:
    """Measure and print; the arguments are those of the command line, `shape` such as 1x3x224x224."""
    import numpy as np

    from kdtool.runtime import load_runtime

    library = load_runtime(runtime)
    empty = peak_bytes()
    start = time.perf_counter()
    session = library.open_model(Path(path), int(threads))
    loaded = time.perf_counter()
    images = np.zeros([int(side) for side in shape.split("x")], session.input_format.type)
    begin = time.perf_counter()
    session.run(images)
    end = time.perf_counter()
    for _ in range(RUNS):
        session.run(images)
    figures = {
        "load_ms": 1000 * (loaded - start),
        "first_ms": 1000 * (end - begin),
        "empty_bytes": empty,
        "peak_bytes": peak_bytes(),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def peak_bytes() -> int:
    """Return the peak memory of this process; on Linux `ru_maxrss` would include memory of the parent."""
    try:
        match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    except OSError:
        match = None
    if match:
        return int(match[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main(*sys.argv[1:])
