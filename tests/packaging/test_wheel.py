"""The wheel: what it holds, and that a device can work with it in an empty environment without torch."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from kdtool.cli import main
from kdtool.core.files import sha256_file
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.recipe.files import load_recipe
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Stage

ROOT = Path(__file__).parents[2]
SIZE = 8
SIDE = 32  # of the pictures of a real network
ARCH = "timm/test_resnet"
MODELS = ["teacher", "student", "teacher-int8", "student-int8"]
CLASSES = ("dark", "light")
FORBIDDEN = ("torch", "torchvision", "timm", "accelerate", "onnx", "matplotlib", "sklearn")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("kdtool-*.whl")
    return path


@pytest.fixture(scope="session")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    install = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--quiet",
        wheel,
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bin"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny exported student: logits from the mean of the pixels, so that it knows dark from light."""
    kernel = np.array([[-1.0] * 3, [1.0] * 3], np.float32)[:, :, None, None]
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Conv", ["pooled", "kernel"], ["mapped"]),
        helper.make_node("Flatten", ["mapped"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "student",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(CLASSES)])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    info = ModelInfo(
        role="student",
        arch="tiny",
        classes=CLASSES,
        preprocess=Preprocess(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        params=kernel.size,
        macs=kernel.size,
    )
    helper.set_model_props(content, info.to_metadata())
    path = tmp_path_factory.mktemp("model") / "student.onnx"
    onnx.save(content, path)
    return path


@pytest.fixture(scope="session")
def workshop_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose models the workshop's own commands exported, quantized and measured; weights untrained."""
    import torch

    from kdtool.arch.network import build, parameter_count, save_network

    folder = tmp_path_factory.mktemp("workshop")
    for split, photographs in (("train", 6), ("validation", 4), ("test", 5)):
        for index, name in enumerate(CLASSES):
            (folder / "photos" / split / name).mkdir(parents=True)
            for number in range(photographs):
                noise = np.random.default_rng([index, number, photographs]).integers(0, 90, (SIDE, SIDE, 3))
                picture = Image.fromarray((noise + 160 * index).astype(np.uint8))
                picture.save(folder / "photos" / split / name / f"{number}.png")
    run = RunFolder(folder / "run")
    changes = [f"data.size={SIDE}", "quantize.max_drop=100", "quantize.calibration_images=8", "bench.runs=64"]
    changes += ["bench.seconds=0", "bench.cold_starts=0", "bench.batch=0"]
    recipe = load_recipe("digits", [*changes, *(f"{role}.arch={ARCH}" for role in ("teacher", "student"))])
    prepared, _ = prepare(str(folder / "photos"), recipe.data, 0, run.data, QUIET)
    for seed, role in enumerate(("teacher", "student")):
        torch.manual_seed(seed)
        network = build(ARCH, len(CLASSES), SIDE)
        info = ModelInfo(role, ARCH, CLASSES, prepared.preprocess, params=parameter_count(network))
        save_network(run.weights(role), network.state_dict(), info)
        taught_by = {"teacher": sha256_file(run.weights("teacher"))} if role == "student" else {}
        Stage("train", run.role(role), taught_by).seal([run.weights(role).name], {}, {})
    source = str(folder / "photos")
    run.write_record({"recipe": recipe.to_json(), "seed": 0, "source": source, "classes": list(CLASSES)})
    for command in (("export", "--onnx"), ("quantize",), ("bench",)):
        with pytest.raises(SystemExit) as stop:
            main([*command, str(run.path)])
        assert not stop.value.code, command
    return run.path


def kdtool(
    device: Path, *arguments: str | Path, cwd: Path, code: int = 0
) -> subprocess.CompletedProcess[str]:
    outside = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [device / "kdtool", *arguments], capture_output=True, text=True, timeout=120, cwd=cwd, env=outside
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"kdtool"}
    for needed in ("kdtool/py.typed", "kdtool/report/template.html.jinja", "kdtool/report/style.css"):
        assert needed in names
    shipped = {
        Path(name).name for name in names if name.startswith("kdtool/models/") and name.endswith(".toml")
    }
    assert shipped == {path.name for path in (ROOT / "models").glob("*.toml")}
    assert not [name for name in names if "test" in Path(name).name or "__pycache__" in name]
    assert {name for name in names if name.endswith("/licenses/LICENSE")}
    modules = {path.relative_to(ROOT / "toolchain").as_posix() for path in (ROOT / "toolchain").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_the_device_has_no_torch(device: Path, tmp_path: Path) -> None:
    code = f"import importlib.util as u; print([m for m in {FORBIDDEN!r} if u.find_spec(m)])"
    done = subprocess.run(
        [device / "python", "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"


def test_help_recipes_and_doctor_work_on_the_device(device: Path, tmp_path: Path) -> None:
    assert "Commands:" in kdtool(device, "--help", cwd=tmp_path).stdout
    listed = kdtool(device, "recipes", cwd=tmp_path).stdout
    for recipe in (ROOT / "models").glob("*.toml"):
        assert recipe.stem in listed
    assert "onnxruntime" in kdtool(device, "doctor", cwd=tmp_path).stdout


def test_bench_measures_a_model_on_the_device(device: Path, model: Path, tmp_path: Path) -> None:
    assert "student" in kdtool(device, "bench", model, "--quick", cwd=tmp_path).stdout
    measured = json.loads(kdtool(device, "bench", model, "--json", cwd=tmp_path).stdout)
    (row,) = measured["models"]
    assert (row["role"], row["precision"]) == ("student", "fp32")
    assert row["latency_ms"]["p50"] > 0
    assert row["own_process"]["peak_bytes"] > 10**7  # the child process finds the installed package
    assert len(row["latency_ms"]["samples"]) >= 64


def test_predict_classifies_photographs_on_the_device(device: Path, model: Path, tmp_path: Path) -> None:
    for name, grey in (("night.png", 10), ("day.png", 240)):
        Image.new("RGB", (12, 10), (grey,) * 3).save(tmp_path / name)
    said = kdtool(device, "predict", "--model", model, "night.png", "day.png", cwd=tmp_path).stdout
    for name, label in (("night.png", "dark"), ("day.png", "light")):
        assert any(name in line and label in line for line in said.splitlines()), said


def test_report_is_written_on_the_device(device: Path, model: Path, tmp_path: Path) -> None:
    """A run as it comes to a device: its record and its models."""
    run = tmp_path / "artifacts" / "copied"
    (run / "onnx").mkdir(parents=True)
    (run / "onnx" / "student.onnx").write_bytes(model.read_bytes())
    record = {"schema": 1, "recipe": load_recipe("paper").to_json(), "seed": 0, "source": "/photographs"}
    (run / "run.json").write_text(json.dumps(record | {"classes": CLASSES, "data": "", "versions": {}}))
    kdtool(device, "bench", run, "--quick", cwd=tmp_path)
    said = kdtool(device, "report", run, cwd=tmp_path).stdout
    assert "report.html" in said
    page = (run / "report.html").read_text("utf-8")
    assert "Student, distilled" in page
    assert "This folder has no training history" in page


def test_a_real_export_works_on_the_device(device: Path, workshop_run: Path, tmp_path: Path) -> None:
    """What is copied to a device (run.json, data, onnx) gives there the answers of the workshop."""
    run = RunFolder(tmp_path / "run")
    shutil.copytree(workshop_run / "onnx", run.onnx)
    shutil.copytree(workshop_run / "data", run.data)
    shutil.copy(workshop_run / "run.json", run.record)
    measured = json.loads(kdtool(device, "bench", run.path, "--json", "--quick", cwd=tmp_path).stdout)
    assert [model["name"] for model in measured["models"]] == MODELS
    assert {model["n_images"] for model in measured["models"]} == {10}
    assert all(model["macs"] > 0 and model["accuracy_ci"] for model in measured["models"])
    assert run.predictions.read_bytes() == (workshop_run / "predictions.csv").read_bytes()
    assert "torch" not in measured["host"]["versions"]

    assert "report.html" in kdtool(device, "report", run.path, cwd=tmp_path).stdout
    assert "10 test images" in run.report.read_text("utf-8")
    assert "broken" not in kdtool(device, "doctor", run.path, cwd=tmp_path).stdout

    with run.predictions.open(encoding="utf-8", newline="") as stream:
        answers = {row["path"]: row["student-int8"] for row in csv.DictReader(stream)}
    photographs = workshop_run.parent / "photos"
    model = run.onnx_model("student", "int8")
    said = kdtool(
        device, "predict", "--model", model, *(photographs / path for path in answers), cwd=tmp_path
    )
    assert [line.split("\t")[1] for line in said.stdout.splitlines()] == [*answers.values()]


@pytest.mark.parametrize(
    "command", [["run"], ["teach"], ["distill"], ["export", "--onnx"], ["quantize"]], ids=lambda c: c[0]
)
def test_the_workshop_names_its_extra(device: Path, command: list[str], tmp_path: Path) -> None:
    done = kdtool(device, *command, cwd=tmp_path, code=5)
    assert 'pip install "kdtool[train]"' in done.stderr
