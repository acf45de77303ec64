"""Build networks by name and read their features. A new family is one file and one line in `FAMILIES`.

A family is a module with these names:

    ALLOWED: str                                     names of its networks, for messages
    handles(name) -> bool                            true if the family has a network `name`
    names() -> list[str]                             names of all networks of the family
    build(name, num_classes, size) -> nn.Module      network, initialized at random by torch's generator
    published(name) -> WeightsFile                   file of the ImageNet weights; nothing is downloaded
    pretrained(name) -> dict[str, Tensor]            ImageNet weights (may need internet access)
    normalization(name) -> (mean, std)               of the pixels that the ImageNet weights were trained on
    resized(network, state) -> dict[str, Tensor]     weights, adapted to the input size of `network`
    tokens(network) -> (int, list[str]) | None       of a vision transformer: number of prefix tokens (class,
                                                     distillation), and names of its blocks and final norm
"""

from __future__ import annotations

from kdtool.arch import timm, torchvision

FAMILIES = (timm, torchvision)
