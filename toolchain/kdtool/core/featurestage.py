"""Feature stages of a network, as feature extractors and feature losses describe them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureStage:
    """One module of a network, and the shape of its output for one image.

    Attributes:
        name: dotted path of the module, such as "layer3" or "blocks.11".
        shape: (C, H, W) of a feature map or (N, D) of patch tokens, as a feature loss receives it.
        reduction: side of the input / side of the feature map or of the grid of patches.
        prefix_tokens: number of class and distillation tokens before the patches, not counted in N.
        channels_last: True if the module returns (B, H, W, C).
    """

    name: str
    shape: tuple[int, ...]
    reduction: int
    prefix_tokens: int = 0
    channels_last: bool = False

    @property
    def is_map(self) -> bool:
        return len(self.shape) == 3
