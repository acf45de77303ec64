"""Measure how equal the times of equal models are: several sessions of the same file, in turns.

    python benchmarks/turns.py [--copies 5] [--rounds 200] [--repeats 3]

All orders of `kdtool.runtime.turns` are compared with one order and its mirror image (A B C | C B A). With
the latter, the first and the last model follow themselves in half of the rounds, and the others never do. A
ratio is a copy's median divided by the mean of all medians; each repeat opens new sessions. The differences
that remain with all orders are differences between sessions: no interval over the rounds of one process
contains them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from kdtool.arch.network import build
from kdtool.core.screen import QUIET
from kdtool.exporters.onnx import export_network
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.machine.cpu import processor_name
from kdtool.machine.packages import versions_of
from kdtool.machine.threads import usable_threads
from kdtool.runtime import turns
from kdtool.runtime.onnxruntime import open_model

NETWORKS, SIZE, WARMUP = ("timm/mobilenetv2_100", "resnet18"), 96, 10


def model(folder: Path, arch: str) -> Path:
    """Write an ONNX file of the network with random weights, since time does not depend on their values."""
    torch.manual_seed(0)
    path = folder / f"{arch.replace('/', '-')}.onnx"
    path.write_bytes(onnx_bytes(export_network(build(arch, 10, SIZE).eval(), arch, SIZE, 18)))
    return path


def mirrored(models: int) -> list[list[int]]:
    """Return one order and its mirror image."""
    return [list(range(models)), list(range(models))[::-1]]


def ratios(path: Path, copies: int, rounds: int) -> list[float]:
    """Return the median of each copy, divided by the mean of all medians."""
    image = np.zeros((1, 3, SIZE, SIZE), np.float32)
    with ExitStack() as stack:
        sessions = [open_model(path) for _ in range(copies)]
        for session in sessions:
            stack.callback(session.close)
        timed = turns.measure(sessions, [image] * copies, turns.Plan(WARMUP, rounds), QUIET)
    medians = np.array([np.median(series.samples) for series in timed])
    return [round(float(ratio), 4) for ratio in medians / medians.mean()]


def measured(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure both kinds of rounds in turns, so that both see the same state of the machine."""
    repeats: dict[str, list[list[float]]] = {"all orders": [], "mirrored": []}
    for _ in range(options.repeats):
        repeats["all orders"].append(ratios(path, options.copies, options.rounds))
        with patch.object(turns, "orders", mirrored):
            repeats["mirrored"].append(ratios(path, options.copies, options.rounds))
    return {
        name: {
            "ratios": rows,
            "mean_by_place": [round(float(mean), 4) for mean in np.mean(rows, axis=0)],
            "largest_difference": round(max(max(row) - min(row) for row in rows), 4),
        }
        for name, rows in repeats.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--copies", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        networks = {arch: measured(model(Path(folder), arch), options) for arch in NETWORKS}
    result = {
        "size": SIZE,
        "rounds": options.rounds,
        "warmup_at_least": WARMUP,
        "copies": options.copies,
        "repeats": options.repeats,
        "networks": networks,
        "processor": processor_name(),
        "threads": usable_threads(),
        "versions": versions_of(("numpy", "onnxruntime")),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
