"""One stage of a network: the word that feature extractors and feature losses share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureStage:
    """One module of a network, and the shape of what it puts out for one image.

    `shape` is (C, H, W) of a feature map or (N, D) of patch tokens, as a feature loss sees it.
    """

    name: str  # dotted path of the module, such as "layer3" or "blocks.11"
    shape: tuple[int, ...]
    reduction: int  # side of the input / side of the map or of the grid of patches
    prefix_tokens: int = 0  # class and distillation tokens before the patches, not counted in N
    channels_last: bool = False  # the module puts out (B, H, W, C)

    @property
    def is_map(self) -> bool:
        return len(self.shape) == 3
