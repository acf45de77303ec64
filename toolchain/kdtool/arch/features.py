"""Features of a network: which stages it has, and their outputs in each forward, without editing it."""

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
    """The stages of a network for inputs of `size` × `size`, in the order of the forward.

    Of a CNN: the last module at each resolution, up to the global pooling ("layer1" … "layer4" of a
    ResNet, after its stem). Of a vision transformer: each block and the final norm.

    One forward of a blank image in eval mode; weights, statistics, modes and random state stay as they are.

    Raises:
        UsageError: the network has neither feature maps nor known patch tokens.
    """
    parameter = next(network.parameters())
    blank = torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)
    found = known_stages(network, blank)
    if not found:
        raise UsageError(
            f"student.features: {type(network).__name__} has no stage that kdtool knows; CNNs and most "
            "vision transformers have some.",
            "Choose another network, or a recipe without student.features: kdtool recipes",
        )
    return tuple(found)


def known_stages(network: nn.Module, images: Tensor) -> list[FeatureStage]:
    """The stages of `feature_stages` for these images (B, C, S, S); none where kdtool knows none."""
    shapes, _ = _outputs(network, images)
    return _known(network, shapes, images.shape[2])


def named_stages(network: nn.Module, names: Sequence[str], images: Tensor, field: str) -> list[FeatureStage]:
    """The modules of these names as stages, in any network: feature maps, or tokens.

    Where kdtool knows the module as a stage, it is that stage. Otherwise the channels of a map come first,
    and tokens that a square grid of patches leaves over, up to two, are class and distillation tokens.

    Args:
        names: dotted, as `named_modules` has them.
        images: (B, C, H, W) to go through the network once, as `feature_stages` has a blank image do.
        field: the argument that gave the names, for messages.

    Raises:
        UsageError: no such module, one that the forward does not use, or one that gives something else.
    """
    modules = [name for name, _ in network.named_modules() if name]
    shapes, kinds = _outputs(network, images)
    known = {stage.name: stage for stage in _known(network, shapes, images.shape[2])}
    found = []
    for name in names:
        if name not in modules:
            close = get_close_matches(name, modules) or [child for child, _ in network.named_children()]
            raise UsageError(
                f"{field}: {type(network).__name__} has no module {name!r}; near: {', '.join(close)}.",
                "Every name: [name for name, _ in network.named_modules()]",
            )
        if name not in shapes:
            raise UsageError(
                f"{field}: the forward does not call the module {name!r}.", "Name another module."
            )
        shape = shapes[name][1:]
        if len(shape) not in (2, 3):
            raise UsageError(
                f"{field}: {name!r} gives {kinds[name]}; allowed: maps (B, C, H, W) or tokens (B, N, D).",
                "Name another module.",
            )
        left = shape[0] - isqrt(shape[0]) ** 2
        prefix = left if len(shape) == 2 and left <= PREFIX_TOKENS else 0
        own = FeatureStage(name, (shape[0] - prefix, *shape[1:]), 1, prefix_tokens=prefix)
        found.append(known.get(name, own))
    return found


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


def _known(network: nn.Module, shapes: Shapes, size: int) -> list[FeatureStage]:
    for family in FAMILIES:
        transformer = family.tokens(network)
        if transformer is not None:
            prefix, names = transformer
            return _tokens(prefix, names, shapes, size)
    return maps(network, shapes, size)


def _outputs(network: nn.Module, images: Tensor) -> tuple[Shapes, dict[str, str]]:
    """What each module puts out for `images`: its shape, () where it is no tensor; and a word for it."""
    shapes: Shapes = {}
    kinds: dict[str, str] = {}

    def record(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001 (a hook's arguments)
            shapes.pop(name, None)  # a module used twice counts where it is used last
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
    """Eval mode; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
