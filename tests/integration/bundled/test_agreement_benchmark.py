"""benchmarks/agreement.py: Python, Node and Chromium answer the golden images alike."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from kdtool.bundle.proof.golden import read_golden

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "agreement.py"
INT8 = "model.int8.onnx"
ONNX = {"model.onnx", INT8, "model.uint8.onnx"}


def test_three_platforms_compute_the_same(bundled: Path, tmp_path: Path) -> None:
    out = tmp_path / "agreement.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, bundled, "--out", out], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    result, golden = json.loads(out.read_text()), read_golden(bundled)
    assert json.loads(done.stdout) == result
    assert result["images"] == 9
    for platform, pixels, files in (
        ("python", 0, {*ONNX, "model.ort"}),
        ("node", 0, ONNX),  # the same decoder as Python's
        ("chromium", 1, ONNX),
    ):
        found = result[platform]
        assert found["pixels"] <= pixels, platform
        assert set(found["models"]) == files
        for file, model in found["models"].items():
            largest = max(abs(logit) for vector in golden.vectors for logit in vector.logits[file])
            step = golden.logit_tolerance[file] * max(1.0, largest)  # a processor may round a tie otherwise
            assert model["logit"] < (step if file == INT8 else 1e-4)
            assert model["top1_same"] == 9
        assert all(found["versions"].values())


@pytest.mark.parametrize("name", ["photo-1.png", "drawn-stripes.png"])
def test_a_difference_is_seen(bundled: Path, name: str) -> None:
    """What compares must be able to find something."""
    script = runpy.run_path(str(SCRIPT))
    golden = read_golden(bundled)
    platform = script["in_python"](bundled, golden)
    logits = platform.answers[name]["logits"]["model.onnx"]
    logits[logits.index(min(logits))] += 100
    platform.answers[name]["pixels"] = 7
    found = script["compare"](golden, platform)
    assert found["pixels"] == 7
    assert found["models"]["model.onnx"]["logit"] == pytest.approx(100, abs=0.1)
    assert found["models"]["model.onnx"]["top1_same"] == 8
    assert found["models"]["model.int8.onnx"]["logit"] < 1e-4
