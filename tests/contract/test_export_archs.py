"""Networks of several families go through export, the parity gate, INT8 and the counters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fixtures.screens import Recorder
from kdtool.arch.network import build, parameter_count
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.exporters.compute.count import count_onnx
from kdtool.exporters.compute.thop import thop_macs
from kdtool.exporters.model import export_model
from kdtool.exporters.onnx import export_network
from kdtool.exporters.parity import parity_images
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.machine.cpu import int8_target
from kdtool.quant.images import CalibrationImages
from kdtool.quant.int8 import quantize_to_int8
from kdtool.quant.observe import observe, ranges_of
from kdtool.quant.target import QuantFormat, int8_scheme
from kdtool.recipe.choices import Calibration
from kdtool.recipe.settings import ExportSettings
from kdtool.runtime.onnxruntime import open_model

SIZE = 48
CLASSES = ("a", "b", "c")
PREPROCESS = Preprocess(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
ARCHS = (  # ResNet18 goes all the way in tests/integration/exported
    "mobilenet_v3_small",
    "timm/tf_efficientnet_lite0",
    "timm/convnext_atto",
    "timm/deit_tiny_distilled_patch16_224",
)
TRANSFORMERS = ("timm/deit_tiny_distilled_patch16_224",)


def network_of(arch: str, classes: int, size: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(arch, classes, size).eval()


def flops_by_torch(network: torch.nn.Module) -> int:
    """torch's own count of one image, attention in its plain form, whose products it sees."""
    with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        network(torch.zeros(1, 3, SIZE, SIZE))
    return int(flops.get_total_flops())


@pytest.mark.parametrize("arch", ARCHS)
def test_network_to_onnx_to_int8(arch: str, tmp_path: Path) -> None:
    network = network_of(arch, len(CLASSES), SIZE)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    pixels = np.random.default_rng(0).integers(0, 256, (12, SIZE, SIZE, 3), dtype=np.uint8)
    path, ear = tmp_path / "model.onnx", Recorder()
    info = ModelInfo("teacher", arch, CLASSES, PREPROCESS)
    facts = export_model(path, network, info, parity_images(pixels, PREPROCESS), ExportSettings(), ear)

    assert facts["simplified"]
    assert not ear.warned
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    after = network.state_dict()  # thop and the exporter leave nothing behind
    assert list(after) == list(state)
    assert all(torch.equal(after[name], value) for name, value in state.items())

    count = count_onnx(path)  # the simplified graph computes what the raw one did
    assert count.macs == facts["macs"]
    assert (count.attention_macs > 0) == (arch in TRANSFORMERS)
    assert count.macs - count.attention_macs == facts["thop_macs"]
    assert count.flops == flops_by_torch(network)
    assert sum(layer.params for layer in count.layers) + count.other_params == count.params

    with QUIET.bar("calibration", 8) as bar:
        images = CalibrationImages(pixels, np.arange(8), PREPROCESS)
        histograms = observe(path, images, False, bar)
    scheme = int8_scheme(int8_target())
    for form in QuantFormat:
        model = quantize_to_int8(
            path, ranges_of(histograms, Calibration.MINMAX), replace(scheme, quant_format=form)
        )
        small = tmp_path / f"model.{form}.onnx"
        small.write_bytes(onnx_bytes(model, info))
        assert small.stat().st_size < 0.35 * path.stat().st_size
        assert np.isfinite(open_model(small).run(PREPROCESS.normalize(pixels))).all()
        quantized = count_onnx(small)
        assert quantized.macs == count.macs, form
        assert abs(quantized.params - count.params) <= 0.01 * count.params, form
        assert quantized.other_params >= 0
        assert not quantized.uncounted, form


@pytest.mark.parametrize(
    ("arch", "macs", "params"),
    [("resnet18", 1_814_073_344, 11_689_512), ("resnet34", 3_663_761_408, 21_797_672)],
)
def test_the_published_figures_exactly(arch: str, macs: int, params: int) -> None:
    network = network_of(arch, 1000, 224)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        network(torch.zeros(1, 3, 224, 224))

    count = count_onnx(export_network(network, arch, 224, 18))

    assert count.macs == macs
    assert count.flops == flops.get_total_flops()
    assert thop_macs(network, 224) == macs
    assert parameter_count(network) == params
    assert params * 0.998 < count.params < params  # batch norms are folded into the convolutions
    assert not count.uncounted


def test_attention_as_one_operator_counts_as_in_parts() -> None:
    model = export_network(network_of(TRANSFORMERS[0], 3, 32), TRANSFORMERS[0], 32, 23)
    assert "Attention" in {node.op_type for node in model.graph.node}

    tokens, width, depth = 4 + 2, 192, 12  # patches, class and distillation tokens
    assert count_onnx(model).attention_macs == depth * 2 * tokens * tokens * width
