"""Classifiers of torchvision, such as `resnet18`, `mobilenet_v3_small`, `vit_b_16`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from kdtool.arch.published import Normalization, WeightsFile, three
from kdtool.core.errors import SetupError
from kdtool.core.quiet import quietly

ALLOWED = "any classifier of torchvision by its name, such as resnet18"
POSITIONS = "encoder.pos_embedding"


def handles(name: str) -> bool:
    """True if torchvision has the classifier `name`."""
    return name in names()


def names() -> list[str]:
    """List all classifiers of torchvision."""
    classifiers: list[str] = models.list_models(module=models)
    return classifiers


def build(name: str, num_classes: int, size: int) -> nn.Module:
    """Build a network with random weights and a head of `num_classes`; only transformers depend on `size`."""
    network: nn.Module = models.get_model(
        name, weights=None, num_classes=num_classes, **_arguments(name, size)
    )
    return network


def pretrained(name: str) -> dict[str, Tensor]:
    """Load the default ImageNet weights; torch downloads them to its cache and checks their hash.

    Raises:
        SetupError: the weights are not in the cache and cannot be downloaded.
    """
    weights = models.get_model_weights(name).DEFAULT
    try:
        with quietly():
            state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise SetupError(
            f"The ImageNet weights of {name} are not in torch's cache and cannot be downloaded ({error}). "
            f"Wanted: {published(name)}."
        ) from error
    return state


def published(name: str) -> WeightsFile:
    """Name the file of the default ImageNet weights, and the folder of torch's cache."""
    url: str = models.get_model_weights(name).DEFAULT.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = url.rsplit("/", 1)[-1]
    return WeightsFile(f"{file} from {url}", str(folder), (folder / file).is_file())


def normalization(name: str) -> Normalization:
    """Mean and std of the pixels that the default weights were trained on, as torchvision records them."""
    rule = models.get_model_weights(name).DEFAULT.transforms()
    return three(rule.mean), three(rule.std)


def resized(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Interpolate the position embeddings of a transformer to the network's grid of patches."""
    if not isinstance(network, VisionTransformer) or POSITIONS not in state:
        return dict(state)
    return dict(interpolate_embeddings(network.image_size, network.patch_size, OrderedDict(state)))


def tokens(network: Any) -> tuple[int, list[str]] | None:
    """Return the number of prefix tokens and the names of blocks and final norm; None for other networks."""
    if not isinstance(network, VisionTransformer):
        return None
    blocks = [f"encoder.layers.{name}" for name, _ in network.encoder.layers.named_children()]
    return 1, [*blocks, "encoder.ln"]


def _arguments(name: str, size: int) -> dict[str, Any]:
    if name.startswith("vit_"):
        return {"image_size": size}
    if name.startswith("maxvit"):
        return {"input_size": (size, size)}
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}  # one logits tensor in training too
    return {}
