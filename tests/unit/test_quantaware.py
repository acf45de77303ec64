"""Simulated INT8: its grid, its gradient, and a student that is fine-tuned with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from onnx import TensorProto
from onnxruntime.quantization.quant_utils import quantize_data
from torch import nn

from kdtool.arch.network import load_exactly, read_weights, save_network
from kdtool.calibration.histogram import Histogram, MinMax
from kdtool.calibration.ranges import METHODS
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.recipe.choices import Calibration
from kdtool.recipe.settings import StudentSettings
from kdtool.recipe.terms import LossSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.int8 import quantaware
from kdtool.train.int8.fakequant import Int8, fake_activation, fake_weight, input_ranges, simulate
from kdtool.train.int8.quantaware import ObservedImages
from kdtool.train.loop.criterion import CrossEntropy, TeacherLogits
from kdtool.train.loop.evaluate import evaluate
from kdtool.train.teaching.shards import ViewLogits
from kdtool.train.teaching.softlabels import SPLITS, SoftLabels
from kdtool.train.views.batch import plain_examples
from kdtool.train.views.batches import InOrder

INT8 = Int8(reduce_range=False, per_channel=True, signed_weights=True)
VALUES = torch.linspace(-1, 3, 4001)


def tiny(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )


def test_activations_lie_on_the_grid_and_zero_is_on_it() -> None:
    faked = fake_activation(VALUES, (-1.0, 3.0))
    assert len(faked.unique()) == pytest.approx(256, abs=1)
    assert faked.max().item() == pytest.approx(3.0, abs=4 / 255)
    assert (faked - VALUES).abs().max().item() <= 4 / 255
    assert fake_activation(torch.zeros(1), (-1.0, 3.0)).item() == 0


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT8])
def test_activations_are_those_that_onnxruntime_makes(kind: int) -> None:
    values = 3 * torch.rand(4000, generator=torch.Generator().manual_seed(1)) - 0.7
    faked = fake_activation(values, (values.min().item(), values.max().item()))
    zero, scale, quantized = quantize_data(values.numpy(), kind, symmetric=False)[:3]
    expected = (quantized.astype(np.float32) - np.float32(zero)) * scale
    np.testing.assert_allclose(faked.numpy(), expected, atol=1e-5)


def test_what_is_clipped_has_no_slope_and_the_rest_has_that_of_x() -> None:
    x = torch.tensor([-2.0, -0.5, 1.0, 5.0], requires_grad=True)
    fake_activation(x, (-1.0, 3.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("reduce_range", "largest"), [(False, 127), (True, 64)])
def test_each_channel_of_a_weight_has_its_own_grid(reduce_range: bool, largest: int) -> None:
    weight = torch.randn(4, 3, 3, 3) * torch.tensor([1.0, 10, 100, 0]).view(-1, 1, 1, 1)
    faked = fake_weight(weight, Int8(reduce_range, True, True))
    for channel in range(3):
        step = weight[channel].abs().max() / largest
        multiples = faked[channel] / step
        torch.testing.assert_close(multiples, multiples.round(), atol=1e-3, rtol=0)
        assert (faked[channel] - weight[channel]).abs().max() <= step / 2 + 1e-6
    assert faked[3].abs().max() == 0
    whole = fake_weight(weight, Int8(reduce_range, False, True))
    assert (whole[0] - weight[0]).abs().max() > (faked[0] - weight[0]).abs().max()


@pytest.mark.parametrize(("reduce_range", "levels"), [(False, 255), (True, 127)])
def test_unsigned_weights_span_from_their_smallest_to_their_largest(reduce_range: bool, levels: int) -> None:
    weight = torch.linspace(-0.2, 1.0, 401).repeat(2, 1) * torch.tensor([[1.0], [-10.0]])
    faked = fake_weight(weight, Int8(reduce_range, True, signed_weights=False))
    for channel, span in enumerate((1.2, 12.0)):
        step = span / levels
        multiples = faked[channel] / step
        torch.testing.assert_close(multiples, multiples.round(), atol=1e-3, rtol=0)
        assert (faked[channel] - weight[channel]).abs().max() <= step + 1e-6  # the ends: zero is on the grid
        assert len(faked[channel].unique()) == pytest.approx(levels + 1, abs=1)


def test_unsigned_weights_are_those_that_onnxruntime_makes() -> None:
    weight = torch.randn(4, 30, generator=torch.Generator().manual_seed(1)) + 0.3
    faked = fake_weight(weight, Int8(False, False, signed_weights=False))
    zero, scale, quantized = quantize_data(weight.numpy(), TensorProto.UINT8, symmetric=False)[:3]
    expected = (quantized.astype(np.float32) - np.float32(zero)) * scale
    np.testing.assert_allclose(faked.numpy(), expected, atol=1e-5)


def test_simulation_changes_the_outputs_and_not_the_parameters() -> None:
    network, images = tiny().eval(), torch.randn(8, 3, 32, 32)
    names = list(network.state_dict())
    exact = network(images).detach()
    ranges = input_ranges(network, [images[:4], images[4:]], Calibration.MINMAX)
    assert set(ranges) == {"0", "3", "7"}
    assert ranges["0"] == (images.min().item(), images.max().item())
    assert ranges["3"][0] == 0
    simulate(network, ranges, INT8)
    outputs = network(images).detach()

    assert list(network.state_dict()) == names
    assert 0 < (outputs - exact).abs().max() < 0.05 * exact.abs().max()


def test_ranges_are_those_that_the_method_of_calibration_chooses() -> None:
    """The ranges equal those of the ONNX file: the same histogram of the same values."""
    network, images = tiny().eval(), torch.randn(8, 3, 32, 32)
    images[0, 0, 0, 0] = 40
    for method in Calibration:
        observer = MinMax()
        observer.add(images.numpy())
        histogram = Histogram.empty(observer)
        histogram.add(images.numpy())
        ranges = input_ranges(network, [images[:4], images[4:]], method)
        assert ranges["0"] == METHODS[method](histogram)
        assert (ranges["0"][1] < 39) == (method != Calibration.MINMAX)
        assert not network.training
        assert not network[0]._forward_pre_hooks


@pytest.mark.train
def test_finetuning_learns_on_the_simulated_network(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    info = ModelInfo("student", "resnet18", prepared.classes, prepared.preprocess)
    run.role("student").mkdir(parents=True)
    save_network(run.weights("student"), tiny().state_dict(), info)
    right = {s: 6 * np.eye(3, dtype=np.float32)[prepared.split(s).labels][:, None] for s in SPLITS}
    views = {s: (ViewLogits((logits,)),) for s, logits in right.items()}
    asked = []

    def teacher_logits_of(*given: object) -> dict[str, TeacherLogits]:
        asked.append(given)
        return {split: SoftLabels(views).of(split) for split in SPLITS}

    monkeypatch.setattr(quantaware, "open_teacher", lambda *_: SimpleNamespace(info=info, digest="its own"))
    monkeypatch.setattr(quantaware, "teacher_logits_of", teacher_logits_of)
    monkeypatch.setattr("kdtool.train.stage.build", lambda *_: tiny())
    settings = StudentSettings(loss=LossSettings(name="kd", temperature=2.0), batch_size=8)

    def loss_of(weights: Path) -> float:
        network = tiny()
        load_exactly(network, read_weights(weights)[0], str(weights))
        ranges = input_ranges(network, ObservedImages(prepared, prepared.preprocess), Calibration.MINMAX)
        simulate(network, ranges, INT8)
        examples = plain_examples(prepared, "train")
        return evaluate(network, InOrder(examples), CrossEntropy(), torch.device("cpu")).loss

    def finetune() -> Path:
        return quantaware.finetune(run, prepared, settings, 6, 1e-2, INT8, Calibration.MINMAX, 0, QUIET)

    before = loss_of(run.weights("student"))
    weights = finetune()
    assert weights == run.finetuned / "model.safetensors"
    assert loss_of(weights) < 0.9 * before
    assert len(asked) == 1
    content = weights.read_bytes()
    assert finetune().read_bytes() == content  # complete, skipped
