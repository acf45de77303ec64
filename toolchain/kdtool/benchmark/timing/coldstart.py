"""Measure cold start and peak memory of each model in separate processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from kdtool.core.screen import Screen
from kdtool.results.bench import OwnProcess

PATIENCE = 600.0  # seconds to wait for one start; an emulated processor is slow


@dataclass(frozen=True)
class Started:
    """Result of the starts of one model.

    Attributes:
        measured: cold start and memory; None if no start succeeded.
        failure: number of failed starts with the first cause; empty if all succeeded.
    """

    measured: OwnProcess | None
    failure: str = ""


class _NotStartedError(Exception):
    """Cause of a start without a measurement."""


def in_own_processes(
    models: Sequence[tuple[str, Path, Sequence[int]]], threads: int, times: int, screen: Screen
) -> list[Started]:
    """Start each model `times` times, the models in turns.

    Args:
        models: runtime, file and input shape of each model.
    """
    causes: list[list[str]] = [[] for _ in models]
    series: list[list[dict[str, float]]] = [[] for _ in models]
    with screen.bar("cold start", times * len(models)) as bar:
        for _ in range(times):
            for samples, failed, model in zip(series, causes, models, strict=True):
                try:
                    samples.append(_start(*model, threads))
                except _NotStartedError as error:
                    failed.append(str(error))
                bar.advance()
    return [
        Started(
            _summary(samples) if samples else None,
            f"{len(failed)} of {times} starts failed: {failed[0]}" if failed else "",
        )
        for samples, failed in zip(series, causes, strict=True)
    ]


def _start(runtime: str, path: Path, shape: Sequence[int], threads: int) -> dict[str, float]:
    command = [sys.executable, "-P", "-m", "kdtool.benchmark.timing.probe"]
    arguments = [runtime, str(threads), str(path), "x".join(map(str, shape))]
    try:
        child = subprocess.run(  # noqa: S603 (this interpreter runs a module of kdtool)
            command + arguments, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        sample: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        raise _NotStartedError(_cause(error.returncode, error.stderr)) from error
    except subprocess.TimeoutExpired as error:
        raise _NotStartedError(f"no answer in {PATIENCE:g} seconds") from error
    except (ValueError, IndexError) as error:
        raise _NotStartedError("its output cannot be read") from error
    except OSError as error:
        raise _NotStartedError(str(error.strerror or error)) from error
    return sample


def _cause(code: int, stderr: str) -> str:
    """Say why a process failed: the signal that ended it, or the message of its last exception."""
    if code < 0:
        return f"ended by signal {-code}"
    lines = stderr.strip().splitlines()
    messages = [match[1] for line in lines if (match := re.match(r"[A-Za-z_][\w.]*: (.+)", line))]
    return (messages or lines or [f"exit code {code}"])[-1]


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
