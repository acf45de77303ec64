"""One model in a process of its own: `python -m kdtool.benchmark.timing.probe RUNTIME THREADS FILE SHAPE`.

Prints one line of JSON: milliseconds to load the model and to its first answer, and the peak of the
memory in use before and after.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path

RUNS = 3  # after the first, so that the peak of a run is in the peak


def main(runtime: str, threads: str, path: str, shape: str) -> None:
    import numpy as np

    from kdtool.runtime import load_runtime

    library = load_runtime(runtime)
    empty = peak_bytes()
    start = time.perf_counter()
    session = library.open_model(Path(path), int(threads))
    loaded = time.perf_counter()
    images = np.zeros([int(side) for side in shape.split("x")], session.input_format.type)
    asked = time.perf_counter()
    session.run(images)
    answered = time.perf_counter()
    for _ in range(RUNS):
        session.run(images)
    found = {
        "load_ms": 1000 * (loaded - start),
        "first_ms": 1000 * (answered - asked),
        "empty_bytes": empty,
        "peak_bytes": peak_bytes(),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def peak_bytes() -> int:
    """Of this process. The system's `ru_maxrss` would on Linux count the parent's memory as well."""
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
