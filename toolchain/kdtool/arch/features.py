"""Feature stages of a network, and forward hooks that read their outputs without a change of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from math import isqrt
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from kdtool.arch import FAMILIES
from kdtool.arch.trunk import Shapes, maps
from kdtool.core.errors import UsageError
from kdtool.core.featurestage import FeatureStage

PREFIX_TOKENS = 2  # class and distillation token


def feature_stages(network: nn.Module, size: int) -> tuple[FeatureStage, ...]:
    """Find the feature stages of a network for inputs of `size` × `size`, in the order of the forward pass.

    The stages of a CNN are the last module at each resolution, up to the global pooling (for a ResNet the
    stem and "layer1" … "layer4"). The stages of a vision transformer are each block and the final norm.

    The function runs one forward pass of a blank image in eval mode. Weights, statistics, modes and random
    state stay unchanged.

    Raises:
        UsageError: the network has neither feature maps nor known patch tokens.
    """
    parameter = next(network.parameters())
    blank = torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)
    stages = known_stages(network, blank)
    if not stages:
        raise UsageError(
            f"student.features: {type(network).__name__} has no stage that kdtool knows; allowed: CNNs and "
            "most vision transformers.",
            "Choose another network, or a recipe without student.features: kdtool recipes",
        )
    return tuple(stages)


def known_stages(network: nn.Module, images: Tensor) -> list[FeatureStage]:
    """Find the stages as `feature_stages`, with the images (B, C, S, S); empty if kdtool knows none."""
    shapes, _ = _outputs(network, images)
    return _known(network, shapes, images.shape[2])


def named_stages(network: nn.Module, names: Sequence[str], images: Tensor, field: str) -> list[FeatureStage]:
    """Return the modules with these names as stages; the network may be any, the outputs maps or tokens.

    A module that kdtool knows as a stage is returned as this stage. Otherwise a map must have its channels
    first, and up to two tokens more than a square grid of patches are class and distillation tokens.

    Args:
        names: dotted names, as in `named_modules`.
        images: (B, C, H, W) for one forward pass, like the blank image of `feature_stages`.
        field: name of the argument with the names, for messages.

    Raises:
        UsageError: the module does not exist, the forward pass does not use it, or its output does not fit.
    """
    modules = [name for name, _ in network.named_modules() if name]
    shapes, kinds = _outputs(network, images)
    known = {stage.name: stage for stage in _known(network, shapes, images.shape[2])}
    stages = []
    for name in names:
        if name not in modules:
            close = get_close_matches(name, modules) or [child for child, _ in network.named_children()]
            raise UsageError(
                f"{field}: {type(network).__name__} has no module {name!r}; similar: {', '.join(close)}.",
                "To list all names: [name for name, _ in network.named_modules()]",
            )
        if name not in shapes:
            raise UsageError(
                f"{field}: the forward pass does not use module {name!r}.", "Name another module."
            )
        shape = shapes[name][1:]
        if len(shape) not in (2, 3):
            raise UsageError(
                f"{field}: {name!r} returns {kinds[name]}; allowed: maps (B, C, H, W) or tokens (B, N, D).",
                "Name another module.",
            )
        left = shape[0] - isqrt(shape[0]) ** 2
        prefix = left if len(shape) == 2 and left <= PREFIX_TOKENS else 0
        unknown = FeatureStage(name, (shape[0] - prefix, *shape[1:]), 1, prefix_tokens=prefix)
        stages.append(known.get(name, unknown))
    return stages


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


def _known(network: nn.Module, shapes: Shapes, size: int) -> list[FeatureStage]:
    for family in FAMILIES:
        transformer = family.tokens(network)
        if transformer is not None:
            prefix, names = transformer
            return _tokens(prefix, names, shapes, size)
    return maps(network, shapes, size)


def _outputs(network: nn.Module, images: Tensor) -> tuple[Shapes, dict[str, str]]:
    """Run `images` and return for each module the shape of its output (() if no tensor) and a word for it."""
    shapes: Shapes = {}
    kinds: dict[str, str] = {}

    def record(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001 (a hook's arguments)
            shapes.pop(name, None)  # a module that is used twice counts at its last use
            shapes[name] = tuple(output.shape) if isinstance(output, Tensor) else ()
            kinds[name] = (
                f"a tensor {shapes[name]}" if shapes[name] else f"an object of type {type(output).__name__}"
            )

        return keep

    handles = [module.register_forward_hook(record(name)) for name, module in network.named_modules()]
    try:
        with _evaluating(network), torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return shapes, kinds


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
