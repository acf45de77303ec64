"""Builds networks by name and reads their features. A new family is one file and one line in `FAMILIES`.

A family is a module with

    ALLOWED: str                                     the names of its networks, in a message
    handles(name) -> bool                            whether `name` is one of its networks
    names() -> list[str]                             what it can build
    build(name, num_classes, size) -> nn.Module      initialized at random from torch's generator
    pretrained(name) -> dict[str, Tensor]            its ImageNet weights (may need the network)
    resized(network, state) -> dict[str, Tensor]     weights made for another input size, for this one's
    tokens(network) -> (int, list[str]) | None       of a vision transformer of the family: the number of its
                                                     prefix tokens (class, distillation), and the names of its
                                                     blocks and of its final norm, in their order
"""

from __future__ import annotations

from kdtool.arch import timm, torchvision

FAMILIES = (timm, torchvision)
