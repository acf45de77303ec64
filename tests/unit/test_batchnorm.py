"""Batch normalization over all processes, here with one process; tests/integration has two."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kdtool.train.together.batchnorm import SharedNormalization


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: None)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 1)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)


def normalized(
    x: torch.Tensor, affine: bool, shared: bool
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Output, gradients and running statistics of one forward and backward pass."""
    generator = torch.Generator().manual_seed(1)
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    statistics = torch.promote_types(x.dtype, torch.float32)
    channels = x.shape[1]
    weight = torch.rand(channels, generator=generator, dtype=statistics).requires_grad_()
    bias = torch.rand(channels, generator=generator, dtype=statistics).requires_grad_()
    running = [torch.zeros(channels, dtype=statistics), torch.ones(channels, dtype=statistics)]
    given = (weight, bias) if affine else (None, None)
    if shared:
        with SharedNormalization():
            y = F.batch_norm(x, *running, *given, True, 0.3, 1e-3)
    else:
        y = F.batch_norm(x, *running, *given, True, 0.3, 1e-3)
    weights = torch.randn(y.shape, generator=generator, dtype=statistics)
    leaves = [x, weight, bias] if affine else [x]
    gradients = torch.autograd.grad((y * weights).square().sum(), leaves)
    return y.detach(), list(gradients), running


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (7, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_alone_it_is_that_of_torch(affine: bool, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = (3 + 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(dtype)
    if x.ndim == 4:
        x = x.to(memory_format=torch.channels_last)
    tolerance = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 6e-2}[dtype]
    torch.testing.assert_close(
        normalized(x, affine, shared=True),
        normalized(x, affine, shared=False),
        rtol=tolerance,
        atol=tolerance,
    )


def test_in_evaluation_nothing_changes() -> None:
    x, mean, var = torch.randn(2, 3, 4, 4), torch.randn(3), torch.rand(3)
    with SharedNormalization():
        assert torch.equal(F.batch_norm(x, mean, var), F.batch_norm(x, mean.clone(), var.clone()))
