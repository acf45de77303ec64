"""Run sessions: processes that open all models anew and measure them in turns."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdtool.benchmark.timing.coldstart import cause_of_end
from kdtool.benchmark.timing.onesession import DONE, JOB, RESULT
from kdtool.core.errors import ModelFileError
from kdtool.runtime.signature import Tensor
from kdtool.runtime.turns import Plan, Timed


@dataclass(frozen=True)
class Job:
    """What a session measures.

    Attributes:
        models: runtime, file and input of each model.
        threads: numbers of threads, one after the other.
        latency, throughput: plans of both series; without a plan there are no batches.
        batch: images in a batch.
    """

    models: Sequence[tuple[str, Path, Tensor]]
    threads: Sequence[int]
    latency: Plan
    throughput: Plan | None
    batch: int

    @property
    def series(self) -> int:
        """Number of series of a session."""
        return len(self.threads) * (2 if self.throughput else 1)


@dataclass(frozen=True)
class Series:
    """Times of all models in one session, with one number of threads.

    Attributes:
        threads: number of threads of each model.
        latency, throughput: times of each model; `throughput` is empty if no batches were measured.
    """

    threads: tuple[int, ...]
    latency: tuple[Timed, ...]
    throughput: tuple[Timed, ...]


def run_session(job: Job, watch: Callable[[], None], done: Callable[[], None]) -> list[Series]:
    """Measure in a new process; one `Series` for each number of threads.

    Args:
        watch: called between some rounds, while the process waits.
        done: called after each series.

    Raises:
        ModelFileError: a model fails, or the process ended.
    """
    with tempfile.TemporaryDirectory(prefix="kdtool-") as place:
        folder = Path(place)
        _write(job, folder)
        command = [sys.executable, "-P", "-m", "kdtool.benchmark.timing.onesession", str(folder)]
        with (
            (folder / "errors").open("w+b") as errors,
            subprocess.Popen(  # noqa: S603 (this interpreter runs a module of kdtool)
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as child,
        ):
            try:
                _answer(child, watch, done)
            except BaseException:
                child.kill()
                raise
            code = child.wait()
            errors.seek(0)
            stderr = errors.read().decode("utf-8", "replace")
        return _read(job, folder, code, stderr)


def _write(job: Job, folder: Path) -> None:
    for number, (_, _, image) in enumerate(job.models):
        np.save(folder / f"{number}.npy", image)
    content = {
        "models": [(runtime, str(path.resolve())) for runtime, path, _ in job.models],
        "threads": list(job.threads),
        "latency": asdict(job.latency),
        "throughput": asdict(job.throughput) if job.throughput else None,
        "batch": job.batch,
    }
    (folder / JOB).write_text(json.dumps(content), "utf-8")


def _answer(child: subprocess.Popen[str], watch: Callable[[], None], done: Callable[[], None]) -> None:
    """Answer each line of the process, until it ends."""
    assert child.stdin is not None
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == DONE:
            done()
        watch()
        try:
            child.stdin.write("\n")
            child.stdin.flush()
        except BrokenPipeError:
            return


def _read(job: Job, folder: Path, code: int, stderr: str) -> list[Series]:
    try:
        result: dict[str, Any] = json.loads((folder / RESULT).read_text("utf-8"))
    except (OSError, ValueError):
        files = ", ".join(str(path) for _, path, _ in job.models)
        raise ModelFileError(
            f"The process that measured {files} gave no result ({cause_of_end(code, stderr)}).",
            "Measure one file at a time to find the one that fails: kdtool bench MODEL.onnx",
        ) from None
    if "error" in result:
        raise ModelFileError(*result["error"])
    return [
        Series(
            tuple(part["threads"]),
            *(
                tuple(
                    Timed(tuple(one["samples"]), tuple(one["warmup"]), one["steady"], one["joules"])
                    for one in part[kind]
                )
                for kind in ("latency", "throughput")
            ),
        )
        for part in result["series"]
    ]
