"""Compile a network with torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kdtool.core.errors import SetupError
from kdtool.core.spelling import assigned


def compiled(network: nn.Module) -> Callable[[Tensor], Any]:
    """Compile `network` for each batch size separately, so that the order of batch sizes has no effect.

    Raises:
        SetupError: at the first call, if torch.compile cannot compile the network on this machine.
    """
    from torch._dynamo.exc import TorchDynamoException  # imported only if a network is compiled
    from torch._inductor.exc import InductorError

    compiled_network = torch.compile(network, dynamic=False)

    def forward(images: Tensor) -> Any:
        try:
            return compiled_network(images)
        except (TorchDynamoException, InductorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise SetupError(
                f"torch.compile cannot compile the network on this machine: {reason}",
                "Install a C++ compiler (Debian: apt-get install g++), or train without torch.compile: "
                f"{assigned({'teacher.compile': False, 'student.compile': False})}",
            ) from error

    return forward
