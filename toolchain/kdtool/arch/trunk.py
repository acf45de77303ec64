"""The stages of a CNN, found by the resolution of its feature maps."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from kdtool.core.featurestage import FeatureStage

Shapes = dict[str, tuple[int, ...]]  # module → shape of what it puts out, as they finish; () if no tensor


def maps(network: nn.Module, shapes: Shapes, size: int) -> list[FeatureStage]:
    """The last module at each resolution, up to the global pooling.

    Args:
        shapes: of one forward of an image of `size` × `size`.
    """
    found: dict[int, str] = {}  # by side; the last module at each wins
    for name, module in _trunk("", network, shapes):
        side = _side(shapes[name])
        if found and (side == 0 or _pools(module, side)):
            break  # from here on it is the head
        if side:
            found[side] = name
    stages: list[FeatureStage] = []
    channels_last = False
    for side, name in reversed(found.items()):
        _, first, _, last = shapes[name]
        channels_last = last != side or (first == side and channels_last)  # a cube is like the next stage
        shape = (last if channels_last else first, side, side)
        stages.insert(0, FeatureStage(name, shape, round(size / side), channels_last=channels_last))
    return stages


def _trunk(path: str, module: nn.Module, shapes: Shapes) -> Iterator[tuple[str, nn.Module]]:
    """The modules one after another: a sequence over more resolutions than a downsampling is opened."""
    for name, child in _called_children(path, module, shapes):
        sides = {_side(shapes[inner]) for inner, _ in _called_children(name, child, shapes)} - {0}
        if isinstance(child, nn.Sequential) and len(sides) > 2:
            yield from _trunk(name, child, shapes)
        else:
            yield name, child


def _called_children(path: str, module: nn.Module, shapes: Shapes) -> list[tuple[str, nn.Module]]:
    """Direct children in the order of the forward; a list of modules stands for what it holds."""
    children: list[tuple[str, nn.Module]] = []
    for key, child in module.named_children():
        name = f"{path}.{key}".removeprefix(".")
        children += [(name, child)] if name in shapes else _called_children(name, child, shapes)
    order = {name: place for place, name in enumerate(shapes)}
    return sorted(children, key=lambda item: order[item[0]])


def _side(shape: tuple[int, ...]) -> int:
    """Side of a square map (1, C, H, H) or (1, H, H, C); 0 of anything else."""
    if len(shape) != 4:
        return 0
    return shape[2] if shape[2] in (shape[1], shape[3]) else 0


def _pools(module: nn.Module, side: int) -> bool:
    """Whether it is, or ends in, the pooling before the head."""
    *_, last = module.modules()
    return isinstance(last, nn.AdaptiveAvgPool2d) or (side == 1 and next(module.parameters(), None) is None)
