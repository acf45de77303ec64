"""A run of small trained networks, and what tests of export and quantization ask of it."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from kdtool.arch.network import build, save_network
from kdtool.core import files
from kdtool.core.files import sha256_file
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import Prepared, pixels_file
from kdtool.recipe.settings import BenchSettings, ExportSettings, QuantizeSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.models import sealed_models
from kdtool.runs.stage import Stage
from kdtool.runtime.onnxruntime import open_model

SIZE = 40  # the last feature map is 2 × 2, so that the global pool is not empty work


CLASSES = ("größe", "b", "c")


PREPROCESS = Preprocess(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


COUNTS = {"train": 30, "validation": 24, "test": 3}


EXPORTED = [
    *(f"export.{role}.manifest.json" for role in ("student", "teacher")),
    "student.onnx",
    "teacher.onnx",
]


EXPORT = ExportSettings()


BENCH = BenchSettings(runs=64, warmup=1, threads=1, resamples=1000)


QUANTIZE = QuantizeSettings(calibration_images=12, float_layers=0)  # those: test_quantize_options.py


def pictures(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Noise around one colour a class: (N, S, S, 3) uint8 and labels."""
    rng = np.random.default_rng(len(split))
    labels = np.arange(COUNTS[split]) % len(CLASSES)
    colours = np.eye(3)[labels] * 120 + 60
    return np.clip(colours[:, None, None] + rng.normal(0, 25, (len(labels), SIZE, SIZE, 3)), 0, 255).astype(
        np.uint8
    ), labels


def prepare(folder: Path) -> Prepared:
    folder.mkdir(parents=True)
    with (folder / "samples.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("split", "index", "path", "label", "sha256"))
        for split in COUNTS:
            pixels, labels = pictures(split)
            np.save(folder / pixels_file(split), pixels)
            for index, label in enumerate(labels):
                writer.writerow((split, index, f"{split}/{index}.png", CLASSES[label], ""))
    return Prepared(folder, CLASSES, PREPROCESS, hashlib.sha256(b"tiny").hexdigest(), COUNTS)


def train(run: RunFolder, role: str, seed: int) -> None:
    """A random ResNet18 whose head is solved by least squares: it classifies, without training."""
    torch.manual_seed(seed)
    network = build("resnet18", len(CLASSES), SIZE).eval()
    pixels, labels = pictures("train")
    images = torch.from_numpy(PREPROCESS.normalize(pixels))
    head = network.get_submodule("fc")
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        features = torch.nn.Sequential(*list(network.children())[:-1])(images).flatten(1)
        wanted = 4 * torch.eye(len(CLASSES))[torch.from_numpy(labels)]
        centre = features.mean(0)
        solution = torch.linalg.pinv(features - centre, rtol=1e-2) @ (wanted - wanted.mean(0))
        head.weight.copy_(solution.T)
        head.bias.copy_(wanted.mean(0) - centre @ solution)
    weights = run.weights(role)
    weights.parent.mkdir(parents=True)
    save_network(weights, network.state_dict(), ModelInfo(role, "resnet18", CLASSES, PREPROCESS))
    teacher = {"teacher": sha256_file(run.weights("teacher"))} if role == "student" else {}
    Stage("train", weights.parent, {"seed": seed, **teacher}).seal([weights.name], {}, {})


def head_of(network: torch.nn.Module) -> bytes:
    return network.get_submodule("fc").get_parameter("weight").detach().numpy().tobytes()


def names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.onnx.iterdir()) if run.onnx.is_dir() else []


def without_test(prepared: Prepared) -> Prepared:
    """The same data, with the test split out of reach."""
    (prepared.folder / pixels_file("test")).unlink(missing_ok=True)
    return prepared


def replace_teacher(run: RunFolder) -> None:
    """A teacher taught anew beside a student and exports of the old one."""
    shutil.rmtree(run.role("teacher"))
    train(run, "teacher", 2)


class Kill(BaseException):
    """What no handler of errors catches."""


def killed_and_done_again(
    run: RunFolder, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, str]]:
    """What lies in the folder after `work` was killed at its first, second, … fsync and then done again."""
    before = run.path.with_name("before")
    run.onnx.mkdir(exist_ok=True)
    shutil.copytree(run.onnx, before)
    ends: list[dict[str, str]] = []
    while True:
        shutil.rmtree(run.onnx)
        shutil.copytree(before, run.onnx)
        granted = iter(range(len(ends)))

        def fsync(_: Path, granted: Iterator[int] = granted) -> None:
            if next(granted, None) is None:
                raise Kill

        with monkeypatch.context() as patch:
            patch.setattr(files, "_fsync", fsync)
            try:
                work()
            except Kill:
                pass
            else:
                return ends
        for model in sealed_models(run):  # what a bench would take now is whole
            assert open_model(run.onnx_model(*model)).info is not None
        work()
        ends.append(contents(run))


def contents(run: RunFolder) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(run.onnx.iterdir())}
