"""A network translated by torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kdtool.core.errors import SetupError


def compiled(network: nn.Module) -> Callable[[Tensor], Any]:
    """`network` as torch.compile translates it, for each size of batch alike whichever came first.

    Raises:
        SetupError: on the first call, where it cannot be translated here.
    """
    from torch._dynamo.exc import TorchDynamoException  # not on the way of those who do not compile
    from torch._inductor.exc import InductorError

    translated = torch.compile(network, dynamic=False)

    def forward(images: Tensor) -> Any:
        try:
            return translated(images)
        except (TorchDynamoException, InductorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise SetupError(
                f"torch.compile cannot translate the network here: {reason}",
                "It needs a C++ compiler (Debian: apt-get install g++). Or train without --compile "
                "(--set teacher.compile=false --set student.compile=false).",
            ) from error

    return forward
