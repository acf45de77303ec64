"""Two real processes give the same training as one."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fixtures.screens import Recorder
from kdtool.core.files import sha256_file
from kdtool.data.reader import open_prepared
from kdtool.train.student import train_baseline

SCRIPT = Path(__file__).with_name("together.py")
TOGETHER = runpy.run_path(str(SCRIPT))
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
]  # fmt: skip


def launch(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*command], capture_output=True, text=True, env=environment, timeout=300)


def figures(folder: Path) -> list[list[float]]:
    """Losses, accuracies and learning rate of each epoch; not the times."""
    with (folder / "history.csv").open() as stream:
        return [[float(value) for value in row[1:6]] for row in list(csv.reader(stream))[1:]]


def test_two_processes_give_the_result_of_one(
    tmp_path: Path, photos: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """27 images in batches of 9 make unequal shares; the loss of DIST is not a mean over images."""
    source = photos(splits={"train": 9, "validation": 4, "test": 4})
    one, two = tmp_path / "one", tmp_path / "two"
    TOGETHER["train"](source, one)
    alone = capfd.readouterr().out
    done = launch(*TORCHRUN, str(SCRIPT), str(source), str(two), "train")
    assert done.returncode == 0, done.stderr
    for folder in (one, two):
        stopped, whole = (sha256_file(folder / name / "model.safetensors") for name in ("baseline", "whole"))
        assert stopped == whole, "to the bit, in as many processes"
    for role in ("teacher", "student", "hints", "baseline"):
        weights = [load_file(folder / role / "model.safetensors") for folder in (one, two)]
        assert weights[0].keys() == weights[1].keys()
        for name, value in weights[0].items():
            near = 1e-3 if "running" in name else 1e-4  # statistics add up the differences of layers below
            torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=near, msg=f"{role} {name}")
        torch.testing.assert_close(
            torch.tensor(figures(two / role)), torch.tensor(figures(one / role)), rtol=1e-2, atol=1e-4
        )
    for said in (alone, done.stdout):
        assert said.count("left with 143") == (1 if said is alone else 2), "one got it, all stop"
        assert "baseline: resuming in epoch 1, step 3" in said
    assert done.stderr.count("teacher epoch 1/2") == 1, "the first alone speaks"
    assert sorted(path.name for path in two.rglob("*.partial")) == []

    shutil.copytree(one / "data", tmp_path / "three" / "data")
    stopped = launch(*TORCHRUN, str(SCRIPT), str(source), str(tmp_path / "three"), "stop")
    assert stopped.stdout.count("left with 143") == 2
    screen, prepared = Recorder(), open_prepared(tmp_path / "three" / "data")
    train_baseline(tmp_path / "three" / "baseline", prepared, TOGETHER["ALONE"], 0, screen)
    assert "baseline: resuming in epoch 1, step 3." in screen.said, "in one process what two began"
    weights = [load_file(folder / "baseline" / "model.safetensors") for folder in (one, tmp_path / "three")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_whole_run_is_started_by_accelerate(tmp_path: Path, source: Path) -> None:
    fields = [field for field in TOGETHER["FIELDS"] if field != "data.cache=none"] + [
        f"bench.{field}"
        for field in ("seconds=0", "runs=64", "cold_starts=0", "batch=0", "single_thread=false")
    ]
    command = [
        *ACCELERATE, "-m", "kdtool", "run", str(source), "--out", str(tmp_path / "run"), "--set",
        "quantize.max_drop=100", *(part for one in fields for part in ("--set", one)),
    ]  # fmt: skip
    done = launch(*command)
    assert done.returncode == 0, done.stderr
    bench = json.loads((tmp_path / "run" / "bench.json").read_text())
    assert {"teacher.onnx", "student.onnx", "student.int8.onnx"} <= {
        Path(m["file"]).name for m in bench["models"]
    }
    assert (tmp_path / "run" / "report.html").is_file()
    assert done.stderr.count("student epoch 2/2") == 1, "the first alone speaks"
    again = launch(*command)
    assert again.returncode == 0, again.stderr
    assert "student: complete, skipped" in again.stderr
    assert "started as one of 2 processes" in launch(*ACCELERATE, "-m", "kdtool", "doctor").stderr


def test_what_several_processes_cannot_do_is_refused(tmp_path: Path) -> None:
    environment = os.environ | {"WORLD_SIZE": "2", "RANK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "kdtool", "compare", "--recipes", "paper"],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 5
    assert "kdtool compare was started as one of 2 processes; allowed is one" in done.stderr
    assert "Commands that several processes can run together: run, teach, distill" in done.stderr
