"""Batch normalization over the batches of all processes.

    y = γ (x − μ) / √(σ² + ε) + β,    μ and σ² of the whole batch
    dx = γ / √(σ² + ε) · (dy − Σ dy / N − x̂ Σ dy x̂ / N),    sums over the whole batch

torch's SyncBatchNorm runs only on GPUs and needs other modules in the network. Here only the sums are
computed by hand; the rest is torch's normalization with given statistics (as in evaluation), which reads the
images once.
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
    """Make `torch.nn.functional.batch_norm` use the whole batch in training, for all callers in the block."""

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
    """Compute `torch.nn.functional.batch_norm`, in training with the statistics of all processes."""
    if not training:
        return original(input, running_mean, running_var, weight, bias, training, momentum, eps)
    y, mean, var, number = _WholeBatch.apply(input, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * (number / (number - 1)), momentum)
    return y  # type: ignore[no-any-return]  # autograd functions are untyped


class _WholeBatch(torch.autograd.Function):
    """Normalize the part (B, C, …) of this process; also return mean (C), biased variance (C), N of all."""

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
        dx, part_dweight, part_dbias = torch.ops.aten.native_batch_norm_backward(
            dy, x, affine, mean, var, None, None, False, ctx.eps, [True, True, True]
        )  # with constant statistics: dx = γ dy / √(σ² + ε); Σ dy x̂ and Σ dy over this part
        sums = torch.stack([part_dweight, part_dbias])
        dist.all_reduce(sums)
        dweight, dbias = sums / number
        scale = affine * torch.rsqrt(var + ctx.eps)
        slope = scale * dweight * torch.rsqrt(var + ctx.eps)
        shape = (1, -1, *[1] * (x.ndim - 2))
        offset = scale * dbias - slope * mean
        through_statistics = torch.addcmul(offset.view(shape), x.to(slope.dtype), slope.view(shape))
        dx = (dx - through_statistics).to(x.dtype)
        # Gradients of γ and β for this part only; `Processes.sum_gradients` sums those of all parameters.
        return dx, None if weight is None else part_dweight, part_dbias if ctx.has_bias else None, None


def joined_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C), biased variance (C) and number of values over all processes; x (B, C, …) is this one's part.

    The parts are combined by the formula of Chan, Golub and LeVeque (1979), because E[x²] − E[x]² loses
    digits by cancellation.
    """
    precise = x if x.dtype in (torch.float32, torch.float64) else x.float()
    var, mean = torch.var_mean(precise, [0, *range(2, x.ndim)], correction=0)
    table = mean.new_zeros((dist.get_world_size(), 2 * len(mean) + 1))
    table[dist.get_rank()] = torch.cat([mean, var, mean.new_tensor([x.numel() / len(mean)])])
    dist.all_reduce(table)
    means, variances = table[:, :-1].chunk(2, dim=1)
    counts = table[:, -1:]
    number = counts.sum()
    whole = (counts * means).sum(0) / number
    spread = (counts * (variances + (means - whole).square())).sum(0) / number
    return whole, spread, number
