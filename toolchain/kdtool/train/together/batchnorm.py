"""Batch normalization over the batches of all processes.

    y = γ (x − μ) / √(σ² + ε) + β,    μ and σ² of the whole batch
    dx = γ / √(σ² + ε) · (dy − Σ dy / N − x̂ Σ dy x̂ / N),    sums over the whole batch

torch's SyncBatchNorm runs on GPUs alone and wants modules exchanged. Everything but the sums is torch's own
normalization with given statistics (of evaluation), which is one pass over the images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class SharedNormalization(torch.overrides.TorchFunctionMode):
    """Within the block `torch.nn.functional.batch_norm` in training sees the whole batch, whoever asks."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is F.batch_norm:
            return _batch_norm(function, *args, **kwargs or {})
        return function(*args, **kwargs or {})


def _batch_norm(
    original: Callable[..., Tensor],
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm`, in training over all processes."""
    if not training:
        return original(input, running_mean, running_var, weight, bias, training, momentum, eps)
    y, mean, var, number = _WholeBatch.apply(input, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * (number / (number - 1)), momentum)
    return y  # type: ignore[no-any-return]  # autograd functions are untyped


class _WholeBatch(torch.autograd.Function):
    """Normalize this process's part (B, C, …); also the mean (C), biased variance (C) and number N of all."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, var, number = joined_moments(x)
        y = F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, var, number)
        ctx.eps, ctx.has_bias = eps, bias is not None
        ctx.mark_non_differentiable(mean, var, number)
        return y, mean, var, number

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, var, number = ctx.saved_tensors
        affine = torch.ones_like(mean) if weight is None else weight
        dx, own_dweight, own_dbias = torch.ops.aten.native_batch_norm_backward(
            dy, x, affine, mean, var, None, None, False, ctx.eps, [True, True, True]
        )  # as if the statistics were constants: dx = γ dy / √(σ² + ε), Σ dy x̂ and Σ dy of this part
        sums = torch.stack([own_dweight, own_dbias])
        dist.all_reduce(sums)
        dweight, dbias = sums / number
        scale = affine * torch.rsqrt(var + ctx.eps)
        slope = scale * dweight * torch.rsqrt(var + ctx.eps)
        shape = (1, -1, *[1] * (x.ndim - 2))
        offset = scale * dbias - slope * mean
        through_statistics = torch.addcmul(offset.view(shape), x.to(slope.dtype), slope.view(shape))
        dx = (dx - through_statistics).to(x.dtype)
        # of γ and β this part's; the gradients of all parameters are summed at once
        return dx, None if weight is None else own_dweight, own_dbias if ctx.has_bias else None, None


def joined_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C), biased variance (C) and number of values of all processes, from this one's x (B, C, …).

    Combined as by Chan, Golub and LeVeque (1979), not as E[x²] − E[x]², which cancels.
    """
    own = x if x.dtype in (torch.float32, torch.float64) else x.float()
    var, mean = torch.var_mean(own, [0, *range(2, x.ndim)], correction=0)
    table = mean.new_zeros((dist.get_world_size(), 2 * len(mean) + 1))
    table[dist.get_rank()] = torch.cat([mean, var, mean.new_tensor([x.numel() / len(mean)])])
    dist.all_reduce(table)
    means, variances = table[:, :-1].chunk(2, dim=1)
    counts = table[:, -1:]
    number = counts.sum()
    whole = (counts * means).sum(0) / number
    spread = (counts * (variances + (means - whole).square())).sum(0) / number
    return whole, spread, number
