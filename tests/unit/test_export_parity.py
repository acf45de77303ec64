"""What passes the parity gate and what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kdtool.core.errors import GateError
from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.exporters.parity import BATCHES, check_parity, parity_images, worst

NAME = Path("run/onnx/teacher.onnx")
PREPROCESS = Preprocess(8, 8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3)).eval()


@pytest.fixture
def images() -> FloatArray:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    return parity_images(pixels, PREPROCESS)


def torch_run(network: nn.Module, images: FloatArray) -> FloatArray:
    with torch.inference_mode():
        return np.array(network(torch.from_numpy(images)).numpy())


def test_the_same_logits_pass_for_each_batch(network: nn.Module, images: FloatArray) -> None:
    seen: list[FloatArray] = []

    def run(batch: FloatArray) -> FloatArray:
        seen.append(batch)
        return torch_run(network, batch) + np.float32(1e-6)

    parity = check_parity(network, run, images, 1e-4, NAME)

    assert [result.batch for result in parity] == [1, 2, 7]
    assert 0 < worst(parity) < 1e-5
    assert len({image.tobytes() for batch in seen for image in batch}) == sum(BATCHES)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_difference_in_any_batch_fails_and_is_named(
    network: nn.Module, images: FloatArray, batch: int
) -> None:
    def run(part: FloatArray) -> FloatArray:
        return torch_run(network, part) + np.float32(0.01 if len(part) == batch else 0)

    with pytest.raises(GateError) as caught:
        check_parity(network, run, images, 1e-4, NAME)
    assert caught.value.exit_code == 6
    for part in ("teacher.onnx", f"batch of {batch},", "0.01", "allowed is 0.0001"):
        assert part in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_fails(network: nn.Module, images: FloatArray, value: float) -> None:
    with pytest.raises(GateError, match="Δlogit"):
        check_parity(network, lambda part: torch_run(network, part) * np.float32(value), images, 1e9, NAME)


def test_another_shape_fails(network: nn.Module, images: FloatArray) -> None:
    with pytest.raises(GateError, match=r"batch of 1, torch gives \(1, 3\), ONNX Runtime \(1, 2\)"):
        check_parity(network, lambda part: torch_run(network, part)[:, :2], images, 1e-4, NAME)


@pytest.mark.parametrize(
    ("logit", "difference", "passes"),
    [
        (1.0, 0.9e-4, True),
        (100.0, 0.9e-4, True),
        (100.0, 1.3e-4, False),  # the tolerance is absolute up to here
        (350.0, 2.8e-4, True),  # the rounding of float32 beyond
        (350.0, 4.5e-4, False),
    ],
)
def test_only_logits_that_float32_cannot_hold_to_the_tolerance_have_a_wider_one(
    images: FloatArray, logit: float, difference: float, passes: bool
) -> None:
    def run(part: FloatArray) -> FloatArray:
        return np.tile(np.array([logit + difference, 0.0], np.float32), (len(part), 1))

    if passes:
        check_parity(Constant([logit, 0.0]), run, images, 1e-4, NAME)
    else:
        with pytest.raises(GateError, match=r"allowed is 0\.0001|allowed is 0\.00035"):
            check_parity(Constant([logit, 0.0]), run, images, 1e-4, NAME)


def test_an_infinite_logit_of_torch_does_not_widen_the_tolerance(images: FloatArray) -> None:
    with pytest.raises(GateError, match="Δlogit"):
        check_parity(
            Constant([float("inf"), 0.0]),
            lambda part: np.ones((len(part), 2), np.float32),
            images,
            1e-4,
            NAME,
        )


class Constant(nn.Module):
    """Answers the same logits to every image."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.get_buffer("logits")
        return logits.expand(len(images), len(logits))


@pytest.mark.parametrize(("gap", "passes"), [(0.0, True), (5e-7, True), (2e-5, False)])
def test_another_top1_passes_only_where_torch_itself_is_undecided(
    images: FloatArray, gap: float, passes: bool
) -> None:
    network = Constant([0.0, gap, -1.0])

    def run(part: FloatArray) -> FloatArray:
        return np.tile(np.array([3e-5, 0.0, -1.0], np.float32), (len(part), 1))

    if passes:
        check_parity(network, run, images, 1e-4, NAME)
    else:
        with pytest.raises(GateError, match=r"different classes for 1 image\(s\)"):
            check_parity(network, run, images, 1e-4, NAME)


def test_fewer_images_than_the_batches_want_are_used_again() -> None:
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    assert parity_images(pixels, PREPROCESS).shape == (sum(BATCHES), 3, 8, 8)
