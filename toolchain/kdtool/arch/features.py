"""Features of a network: which stages it has, and their outputs in each forward, without editing it."""

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
    """The stages of a network for inputs of `size` × `size`, in the order of the forward.

    Of a CNN: the last module at each resolution, up to the global pooling ("layer1" … "layer4" of a
    ResNet, after its stem). Of a vision transformer: each block and the final norm.

    One forward of a blank image in eval mode; weights, statistics, modes and random state stay as they are.

    Raises:
        UsageError: the network has neither feature maps nor known patch tokens.
    """
    shapes = _output_shapes(network, size)
    transformer = _transformer(network)
    found = _tokens(*transformer, shapes, size) if transformer else maps(network, shapes, size)
    if not found:
        raise UsageError(
            f"student.features: {type(network).__name__} has no stage that kdtool knows; CNNs and vision "
            "transformers of torchvision and timm have.",
            "Choose another network, or a recipe without student.features: kdtool recipes",
        )
    return tuple(found)


class FeatureExtractor:
    """Keep what some stages put out in each forward of a network, by forward hooks.

        with FeatureExtractor(network, stages) as extractor:
            logits = network(images)
            features = extractor.take()

    Features are in the order of `stages`: maps (B, C, H, W) or patch tokens (B, N, D), without class
    and distillation tokens, in the graph if the forward was. Copies, because the next module may work
    in place. A copy of the network (an average of its weights) is not heard.
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
        """The features of the last forward; they are forgotten here.

        Raises:
            RuntimeError: there was no forward since the last call.
        """
        if not self._outputs:
            raise RuntimeError("FeatureExtractor.take() before a forward of the network")
        features = [self._outputs[stage.name] for stage in self._stages]
        self._outputs.clear()
        return features

    def close(self) -> None:
        """Take the hooks off the network."""
        for handle in self._handles:
            handle.remove()
        self._outputs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hook(self, stage: FeatureStage, own: nn.Module) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:  # noqa: ARG001 (a hook's arguments)
            if module is own:  # a deep copy of the network carries this hook along
                self._outputs[stage.name] = _feature(output, stage).clone()

        return keep


def _feature(output: Tensor, stage: FeatureStage) -> Tensor:
    if not stage.is_map:
        return output[:, stage.prefix_tokens :]
    return output.permute(0, 3, 1, 2) if stage.channels_last else output


def _transformer(network: Any) -> tuple[int, list[str]] | None:
    """The number of prefix tokens and the names of blocks and final norm, if it is a vision transformer."""
    if isinstance(network, VisionTransformer):
        blocks = [f"encoder.layers.{name}" for name, _ in network.encoder.layers.named_children()]
        return 1, [*blocks, "encoder.ln"]
    if hasattr(network, "num_prefix_tokens") and hasattr(network, "blocks"):  # timm's
        blocks = [f"blocks.{name}" for name, _ in network.blocks.named_children()]
        return network.num_prefix_tokens, [*blocks, "norm"]
    return None


def _tokens(prefix: int, names: list[str], shapes: Shapes, size: int) -> list[FeatureStage]:
    """Stages of patch tokens; in some networks (CaiT, XCiT) the class token joins them after the blocks."""
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
    """Shapes of what all modules put out for a blank image."""
    shapes: Shapes = {}

    def record(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001 (a hook's arguments)
            shapes.pop(name, None)  # a module used twice counts where it is used last
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
    """Eval mode; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
