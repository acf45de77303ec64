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

from kdtool.core.screen import Bar
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


class ColdStarts:
    """Starts of models in processes of their own.

    Args:
        models: runtime, file and input shape of each model.
    """

    def __init__(self, models: Sequence[tuple[str, Path, Sequence[int]]], threads: int) -> None:
        self._models, self._threads = models, threads
        self._causes: list[list[str]] = [[] for _ in models]
        self._series: list[list[dict[str, float]]] = [[] for _ in models]

    def once(self, bar: Bar) -> None:
        """Start each model once, one after the other."""
        for samples, failed, model in zip(self._series, self._causes, self._models, strict=True):
            try:
                samples.append(_start(*model, self._threads))
            except _NotStartedError as error:
                failed.append(str(error))
            bar.advance()

    def results(self) -> list[Started]:
        """Summary of the starts of each model."""
        return [
            Started(
                _summary(samples) if samples else None,
                f"{len(failed)} of {len(samples) + len(failed)} starts failed: {failed[0]}" if failed else "",
            )
            for samples, failed in zip(self._series, self._causes, strict=True)
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
        raise _NotStartedError(cause_of_end(error.returncode, error.stderr)) from error
    except subprocess.TimeoutExpired as error:
        raise _NotStartedError(f"no answer in {PATIENCE:g} seconds") from error
    except (ValueError, IndexError) as error:
        raise _NotStartedError("its output cannot be read") from error
    except OSError as error:
        raise _NotStartedError(str(error.strerror or error)) from error
    return sample


def cause_of_end(code: int, stderr: str) -> str:
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
