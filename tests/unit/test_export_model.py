"""What an exported file states of its compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fixtures.screens import Recorder
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.exporters import model
from kdtool.exporters.compute.count import Count, count_onnx
from kdtool.exporters.parity import parity_images
from kdtool.recipe.settings import ExportSettings
from kdtool.runtime.onnxbytes.declared import onnx_info

SIZE = 8


@pytest.mark.slow
def test_a_file_states_no_compute_that_is_only_a_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims are judged on what a file states."""

    def partly(given: onnx.ModelProto) -> Count:
        return replace(count_onnx(given), uncounted=("Einsum",))

    monkeypatch.setattr(model, "count_onnx", partly)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    preprocess, ear = Preprocess(SIZE, SIZE), Recorder()
    pixels = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8)
    path = tmp_path / "student.onnx"
    info = ModelInfo("student", "tiny", ("a", "b", "c"), preprocess)

    facts = model.export_model(path, network, info, parity_images(pixels, preprocess), ExportSettings(), ear)

    stated = onnx_info(path)
    assert stated is not None
    assert (stated.macs, facts["macs"]) == (0, 0)
    assert any("the compute of Einsum is not counted" in line for line in ear.warned)
