"""Parts of a network that a training leaves alone."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def train_only(network: nn.Module, head: str) -> None:
    """Freeze all parameters but those of the module `head`; the optimizer skips them."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(f"{head}."))


def has_moving_statistics(network: nn.Module, freeze_norm: bool) -> bool:
    """True if training changes statistics of batch normalization."""
    if freeze_norm:
        return False
    norms = (module for module in network.modules() if isinstance(module, _BatchNorm))
    return any(all(value.requires_grad for value in norm.parameters()) for norm in norms)


def training_mode(network: nn.Module, freeze_norm: bool) -> None:
    """Switch to training mode, except for frozen modules and, with `freeze_norm`, batch normalization.

    Batch normalization in eval mode keeps its statistics; its scale and shift still train, unless they are
    frozen too.
    """
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        frozen = bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
        if frozen or (freeze_norm and isinstance(module, _BatchNorm)):
            module.eval()
