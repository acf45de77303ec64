"""Measure all models in turns in this process: `python -m kdtool.benchmark.timing.onesession FOLDER`.

FOLDER has `job.json` and the input of each model; the result is written to its `result.json`. Between some
rounds the process writes a line and waits for one, so that the parent can look at the machine while nothing
is timed.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kdtool.core.errors import ModelFileError
from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import QUIET
from kdtool.machine.energy import open_meter
from kdtool.runtime import load_runtime
from kdtool.runtime.turns import Plan, Timed, measure

JOB, RESULT = "job.json", "result.json"
LOOK, DONE = "look", "done"  # lines to the parent: between rounds; a series is measured


def main(folder: Path) -> None:
    """Measure latency, and throughput if batches are wanted, for each number of threads of the job."""
    job = json.loads((folder / JOB).read_text("utf-8"))
    images = [np.load(folder / f"{number}.npy") for number in range(len(job["models"]))]
    result: dict[str, Any] = {}
    try:
        result["series"] = [_with_threads(job, images, threads) for threads in job["threads"]]
    except ModelFileError as error:
        result["error"] = [error.message, error.hint]
    (folder / RESULT).write_text(json.dumps(result), "utf-8")


def _with_threads(job: dict[str, Any], images: Sequence[FloatArray], threads: int) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        sessions = []
        for runtime, path in job["models"]:
            sessions.append(load_runtime(runtime).open_model(Path(path), threads))
            stack.callback(sessions[-1].close)
        latency = measure(sessions, images, Plan(**job["latency"]), QUIET, _ask)
        _ask(DONE)
        throughput: list[Timed] = []
        if job["throughput"]:
            batches = [np.repeat(image, job["batch"], axis=0) for image in images]
            plan = Plan(**job["throughput"])
            throughput = measure(sessions, batches, plan, QUIET, _ask, meter=open_meter())
            _ask(DONE)
        return {
            "threads": [session.threads for session in sessions],
            "latency": [asdict(timed) for timed in latency],
            "throughput": [asdict(timed) for timed in throughput],
        }


def _ask(line: str = LOOK) -> None:
    """Write a line and wait for the answer; end if the parent is gone."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    if not sys.stdin.readline():
        sys.exit("the parent ended")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
