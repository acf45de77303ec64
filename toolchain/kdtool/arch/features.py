"""Feature stages of a network, and forward hooks that read their outputs without a change of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isqrt
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from kdtool.arch.trunk import Shapes, maps
from kdtool.core.errors import UsageError
from kdtool.core.featurestage import FeatureStage


def feature_stages(network: nn.Module, size: int) -> tuple[FeatureStage, ...]:
    """Find the feature stages of a network for inputs of `size` × `size`, in the order of the forward pass.

    The stages of a CNN are the last module at each resolution, up to the global pooling (for a ResNet the
    stem and "layer1" … "layer4"). The stages of a vision transformer are each block and the final norm.

    The function runs one forward pass of a blank image in eval mode. Weights, statistics, modes and random
    state stay unchanged.

    Raises:
        UsageError: the network has neither feature maps nor known patch tokens.
    """
    shapes = _output_shapes(network, size)
    transformer = _transformer(network)
    stages = _tokens(*transformer, shapes, size) if transformer else maps(network, shapes, size)
    if not stages:
        raise UsageError(
            f"student.features: {type(network).__name__} has no stage that kdtool knows; allowed: CNNs and "
            "vision transformers of torchvision and timm.",
            "Choose another network, or a recipe without student.features: kdtool recipes",
        )
    return tuple(stages)


class FeatureExtractor:
    """Forward hooks that keep the outputs of some stages in each forward pass of a network.

        with FeatureExtractor(network, stages) as extractor:
            logits = network(images)
            features = extractor.take()

    Features are in the order of `stages`: maps (B, C, H, W) or patch tokens (B, N, D), without class and
    distillation tokens. They carry gradients if the forward pass did. They are copies, because the next
    module may work in place. A copy of the network, such as an average of its weights, calls no hook.
    """

    def __init__(self, network: nn.Module, stages: Sequence[FeatureStage]) -> None:
        self._stages = tuple(stages)
        self._outputs: dict[str, Tensor] = {}
        self._handles = [
            module.register_forward_hook(self._hook(stage, module))
            for stage in {stage.name: stage for stage in self._stages}.values()
            for module in [network.get_submodule(stage.name)]
        ]

    def take(self) -> list[Tensor]:
        """Return the features of the last forward pass and forget them.

        Raises:
            RuntimeError: there was no forward pass since the last call.
        """
        if not self._outputs:
            raise RuntimeError("FeatureExtractor.take() was called before a forward pass of the network")
        features = [self._outputs[stage.name] for stage in self._stages]
        self._outputs.clear()
        return features

    def close(self) -> None:
        """Remove the hooks from the network."""
        for handle in self._handles:
            handle.remove()
        self._outputs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hook(self, stage: FeatureStage, hooked: nn.Module) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:  # noqa: ARG001 (a hook's arguments)
            if module is hooked:  # a deep copy of the network copies this hook too
                self._outputs[stage.name] = _feature(output, stage).clone()

        return keep


def _feature(output: Tensor, stage: FeatureStage) -> Tensor:
    if not stage.is_map:
        return output[:, stage.prefix_tokens :]
    return output.permute(0, 3, 1, 2) if stage.channels_last else output


def _transformer(network: Any) -> tuple[int, list[str]] | None:
    """Return the number of prefix tokens and the names of blocks and final norm; None for other networks."""
    if isinstance(network, VisionTransformer):
        blocks = [f"encoder.layers.{name}" for name, _ in network.encoder.layers.named_children()]
        return 1, [*blocks, "encoder.ln"]
    if hasattr(network, "num_prefix_tokens") and hasattr(network, "blocks"):  # timm's
        blocks = [f"blocks.{name}" for name, _ in network.blocks.named_children()]
        return network.num_prefix_tokens, [*blocks, "norm"]
    return None


def _tokens(prefix: int, names: list[str], shapes: Shapes, size: int) -> list[FeatureStage]:
    """Stages of patch tokens; some networks (CaiT, XCiT) add the class token after the blocks."""
    tokens = {name: shapes[name][1:] for name in names if len(shapes.get(name, ())) == 3}
    if not tokens:
        return []
    patches = [count for count, _ in tokens.values()][-1] - prefix
    return [
        FeatureStage(name, (patches, width), size // isqrt(patches), prefix_tokens=count - patches)
        for name, (count, width) in tokens.items()
        if count - patches in (0, prefix)
    ]


def _output_shapes(network: nn.Module, size: int) -> Shapes:
    """Shapes of the outputs of all modules for a blank image."""
    shapes: Shapes = {}

    def record(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001 (a hook's arguments)
            shapes.pop(name, None)  # a module that is used twice counts at its last use
            shapes[name] = tuple(output.shape) if isinstance(output, Tensor) else ()

        return keep

    handles = [module.register_forward_hook(record(name)) for name, module in network.named_modules()]
    parameter = next(network.parameters())
    try:
        with _evaluating(network), torch.no_grad():
            network(torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return shapes


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Switch to eval mode within the block; afterwards each module has its former mode again."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
