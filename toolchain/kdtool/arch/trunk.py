"""Find the stages of a CNN by the resolution of its feature maps."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from kdtool.core.featurestage import FeatureStage

Shapes = dict[str, tuple[int, ...]]  # module → output shape, in order of execution; () if no tensor


def maps(network: nn.Module, shapes: Shapes, size: int) -> list[FeatureStage]:
    """Return the last module at each resolution, up to the global pooling, as feature stages.

    Args:
        shapes: output shapes of the modules in one forward pass of an image of `size` × `size`.
    """
    last_module: dict[int, str] = {}  # side of the map → name
    for name, module in _trunk("", network, shapes):
        side = _side(shapes[name])
        if last_module and (side == 0 or _pools(module, side)):
            break  # the head begins here
        if side:
            last_module[side] = name
    stages: list[FeatureStage] = []
    channels_last = False
    for side, name in reversed(last_module.items()):
        _, first, _, last = shapes[name]
        # The shape of a cube is ambiguous; it has the memory order of the stage after it.
        channels_last = last != side or (first == side and channels_last)
        shape = (last if channels_last else first, side, side)
        stages.insert(0, FeatureStage(name, shape, round(size / side), channels_last=channels_last))
    return stages


def _trunk(path: str, module: nn.Module, shapes: Shapes) -> Iterator[tuple[str, nn.Module]]:
    """Modules in order; a sequence with more than two resolutions is replaced by its children."""
    for name, child in _called_children(path, module, shapes):
        sides = {_side(shapes[inner]) for inner, _ in _called_children(name, child, shapes)} - {0}
        if isinstance(child, nn.Sequential) and len(sides) > 2:
            yield from _trunk(name, child, shapes)
        else:
            yield name, child


def _called_children(path: str, module: nn.Module, shapes: Shapes) -> list[tuple[str, nn.Module]]:
    """Direct children in the order of the forward pass; a list of modules is replaced by its items."""
    children: list[tuple[str, nn.Module]] = []
    for key, child in module.named_children():
        name = f"{path}.{key}".removeprefix(".")
        children += [(name, child)] if name in shapes else _called_children(name, child, shapes)
    order = {name: place for place, name in enumerate(shapes)}
    return sorted(children, key=lambda item: order[item[0]])


def _side(shape: tuple[int, ...]) -> int:
    """Side of a square map (1, C, H, H) or (1, H, H, C); 0 for any other output."""
    if len(shape) != 4:
        return 0
    return shape[2] if shape[2] in (shape[1], shape[3]) else 0


def _pools(module: nn.Module, side: int) -> bool:
    """True if the module is, or ends with, the pooling before the head."""
    *_, last = module.modules()
    return isinstance(last, nn.AdaptiveAvgPool2d) or (side == 1 and next(module.parameters(), None) is None)
