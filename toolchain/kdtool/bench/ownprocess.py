"""Cold start and peak memory of each model, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from kdtool.core.benchresult import OwnProcess
from kdtool.core.screen import Screen

PATIENCE = 600.0  # seconds; an emulated processor takes its time


def in_own_processes(
    models: Sequence[tuple[str, Path, Sequence[int]]], threads: int, times: int, screen: Screen
) -> list[OwnProcess | None]:
    """Start each model `times` times, models in turns.

    Args:
        models: runtime, file and the shape of its input.

    Returns:
        For each model what was found, or None where it could not be started.
    """
    found: list[list[dict[str, float]]] = [[] for _ in models]
    with screen.bar("cold start", times * len(models)) as bar:
        for _ in range(times):
            for samples, model in zip(found, models, strict=True):
                sample = _start(*model, threads)
                if sample is not None:
                    samples.append(sample)
                bar.advance()
    return [_summary(samples) if samples else None for samples in found]


def _start(runtime: str, path: Path, shape: Sequence[int], threads: int) -> dict[str, float] | None:
    command = [sys.executable, "-P", "-m", "kdtool.bench.probe"]
    arguments = [runtime, str(threads), str(path), "x".join(map(str, shape))]
    try:
        child = subprocess.run(  # noqa: S603 (this interpreter on our own module)
            command + arguments, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        sample: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None
    return sample


def _summary(samples: Sequence[dict[str, float]]) -> OwnProcess:
    loads = tuple(sample["load_ms"] for sample in samples)
    firsts = tuple(sample["first_ms"] for sample in samples)
    return OwnProcess(
        cold_start_ms=median(load + first for load, first in zip(loads, firsts, strict=True)),
        load_ms=loads,
        first_ms=firsts,
        peak_bytes=int(max(sample["peak_bytes"] for sample in samples)),
        empty_bytes=int(max(sample["empty_bytes"] for sample in samples)),
    )
