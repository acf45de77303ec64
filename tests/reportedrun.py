"""A complete run made by hand, as a report is written of: histories, answers, measurements, pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import COLUMNS as SAMPLE_COLUMNS
from kdtool.data.reader import SAMPLES_FILE, pixels_file
from kdtool.recipe.files import load_recipe
from kdtool.results.history import COLUMNS
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Stage

MODELS = ("teacher", "student", "baseline", "teacher-int8", "student-int8")
PLAIN = ("cat", "dog", "fox")
HOSTILE = (
    "<script>alert(1)</script>",
    "\" onmouseover='x' &amp;",
    "line\nbreak\u202eltr",
    "שלום",
    "{{ 7*7 }}",
)


def make_run(folder: Path, classes: Sequence[str] = PLAIN, source: str = "/photographs") -> RunFolder:
    """A complete run: 12 test images a class, every fifth answer wrong."""
    run = RunFolder(folder)
    recipe = load_recipe("paper", ["student.epochs=3"]).to_json()
    versions = {"python": "3.11.7", "torch": "2.10.0"}
    run.write_record(
        {
            "recipe": recipe,
            "seed": 3,
            "source": source,
            "classes": list(classes),
            "data": "ab12",
            "versions": versions,
        }
    )
    for role in ("teacher", "student", "baseline"):
        run.role(role).mkdir()
        rows = [f"{e},{2 / e},{0.5 + e / 20},{2.2 / e},{0.5 + e / 25},0.001,300,4" for e in (1, 2, 3)]
        (run.role(role) / "history.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    labels = [name for name in classes for _ in range(12)]
    paths = [f"test/{index}-{label}.png" for index, label in enumerate(labels)]
    make_predictions(run, classes, labels, paths)
    make_bench(run, len(labels))
    make_data(run, classes, labels, paths)
    return run


def make_predictions(
    run: RunFolder, classes: Sequence[str], labels: Sequence[str], paths: Sequence[str]
) -> None:
    wrong = {name: classes[(index + 1) % len(classes)] for index, name in enumerate(classes)}
    with run.predictions.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", *(column for m in MODELS for column in (m, f"{m}_probability"))])
        for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
            answer = wrong[label] if row % 5 == 0 else label
            writer.writerow([path, label, *(answer, 0.5 + row / 1000) * len(MODELS)])


def make_bench(run: RunFolder, n_images: int, **claim: Any) -> None:
    models = [
        {
            "name": name, "role": name.split("-")[0], "precision": "int8" if "int8" in name else "fp32",
            "accuracy": 0.9 - number / 50, "accuracy_ci": [0.8, 0.95], "n_images": n_images,
            "retention": 1 - number / 50, "retention_ci": [0.9, 1.02], "params": 11_200_000,
            "macs": 1_814_100_000, "flops": 3_628_200_000, "size_bytes": 44_700_000,
            "latency_ms": {
                "p50": 12.5 + number, "p90": 13.5, "samples": [12.5] * 64, "warmup": [20.0], "threads": 2,
            },
            "file": f"{name}.onnx", "sha256": "0" * 64,
        }
        for number, name in enumerate(MODELS)
    ]  # fmt: skip
    verdict = {
        "verdict": "INCONCLUSIVE", "retention": 0.95, "retention_ci": [0.91, 0.99], "compute_ratio": 0.495,
        "params_ratio": 0.536, "thresholds": {"min_retention": 0.94, "max_compute": 0.5},
        "images_needed": 810,
    }  # fmt: skip
    host = {
        "processor": "A & B", "machine": "x86_64", "flags": [], "cores": 2, "usable": 2, "memory_bytes": None,
        "governor": None, "frequency_mhz": None, "temperature_c": None, "throttling": None, "load": 0.5,
        "os": "Linux", "versions": {"onnxruntime": "1.32.0"},
    }  # fmt: skip
    content = {"schema": 1, "host": host, "models": models, "claim": verdict | claim}
    gain = {"points": 4.5, "student_only": 20, "baseline_only": 4, "p": 0.01}
    content |= {"gain": gain, "notes": ["The test split is <small>."]}
    run.bench.write_text(json.dumps(content))


def make_data(run: RunFolder, classes: Sequence[str], labels: Sequence[str], paths: Sequence[str]) -> None:
    run.data.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
    np.save(run.data / pixels_file("test"), pixels)
    with (run.data / SAMPLES_FILE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(SAMPLE_COLUMNS)
        for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
            writer.writerow(["test", row, path, label, "0" * 64])
    content = {
        "schema": 1, "classes": list(classes), "preprocess": Preprocess(8, 8).to_json(), "digest": "ab12",
        "counts": {"test": len(labels)},
    }  # fmt: skip
    (run.data / "data.json").write_text(json.dumps(content))
    Stage("prepare", run.data, {}).seal([pixels_file("test"), SAMPLES_FILE, "data.json"], {}, {})
