"""Networks of timm as `timm/<name>`, such as `timm/tf_efficientnet_lite0`, `timm/deit_tiny_patch16_224`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import timm
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from timm.data.constants import IMAGENET_DEFAULT_MEAN as IMAGENET_MEAN
from timm.data.constants import IMAGENET_DEFAULT_STD as IMAGENET_STD
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from kdtool.arch.published import Normalization, WeightsFile, three
from kdtool.core.errors import SetupError, UsageError
from kdtool.core.quiet import quietly
from kdtool.core.spelling import assigned

ALLOWED = "any network of timm as timm/<name>, such as timm/deit_tiny_patch16_224"
PREFIX = "timm/"
POSITIONS = "pos_embed"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # names on the hub


def handles(name: str) -> bool:
    """True if timm has the network `name`."""
    return name.startswith(PREFIX) and timm.is_model(name.removeprefix(PREFIX))


def names() -> list[str]:
    """List all networks of timm, each with its prefix."""
    return [PREFIX + name for name in timm.list_models()]


def build(name: str, num_classes: int, size: int) -> nn.Module:
    """Build a network with random weights and a head of `num_classes`, for inputs of `size` × `size`.

    Raises:
        UsageError: the network cuts images into patches, and `size` is no multiple of their side.
    """
    bare = name.removeprefix(PREFIX)
    network = _create(bare, num_classes, pretrained=False, **_arguments(bare, size))
    _require_whole_patches(name, network, size)
    return network


def _require_whole_patches(name: str, network: Any, size: int) -> None:
    embed: Any = getattr(network, "patch_embed", None)
    if not getattr(embed, "strict_img_size", False) or getattr(embed, "dynamic_img_pad", False):
        return
    side = max(embed.patch_size)
    if size % side:
        lower, upper = size // side * side, -(-size // side) * side
        raise UsageError(
            f"{name} cuts images into patches of {side} × {side} pixels, so a side of {size} pixels does not "
            f"fit; allowed: a multiple of {side}, such as {lower or upper} or {upper + side * (not lower)}.",
            f"For a teacher: {assigned({'teacher.size': upper})}; for all: {assigned({'data.size': upper})}",
        )


def pretrained(name: str) -> dict[str, Tensor]:
    """Load the weights that timm lists for this network, from the Hugging Face hub or its cache.

    Raises:
        SetupError: the weights are not in the cache and cannot be downloaded.
    """
    try:
        with quietly():
            return dict(_create(name.removeprefix(PREFIX), None, pretrained=True).state_dict())
    except Exception as error:  # the hub client raises many types, most of them not OSError
        raise SetupError(
            f"The pretrained weights of {name} are not in the cache and cannot be downloaded "
            f"({type(error).__name__}). Wanted: {published(name)}."
        ) from error


def published(name: str) -> WeightsFile:
    """Name the file of the weights on the Hugging Face hub, and the folder of the hub's cache."""
    config = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    hub = getattr(config, "hf_hub_id", None)
    if not hub:
        return WeightsFile(f"weights of {name}, which timm does not publish", HF_HUB_CACHE, False)
    found = any(isinstance(try_to_load_from_cache(hub, file), str) for file in WEIGHTS)
    return WeightsFile(f"{WEIGHTS[0]} of https://huggingface.co/{hub}", HF_HUB_CACHE, found)


def normalization(name: str) -> Normalization:
    """Mean and std of the pixels that the published weights were trained on, as timm records them."""
    config = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    return (three(config.mean), three(config.std)) if config else (IMAGENET_MEAN, IMAGENET_STD)


def resized(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Interpolate the position embeddings of a transformer to the network's grid of patches."""
    needed, given = network.state_dict().get(POSITIONS), state.get(POSITIONS)
    if needed is None or given is None or needed.shape == given.shape or needed.shape[-1] != given.shape[-1]:
        return dict(state)
    body: Any = network
    prefix = 0 if getattr(body, "no_embed_class", False) else body.num_prefix_tokens
    positions = resample_abs_pos_embed(given, body.patch_embed.grid_size, num_prefix_tokens=prefix)
    return {**state, POSITIONS: positions}


def tokens(network: Any) -> tuple[int, list[str]] | None:
    """Return the number of prefix tokens and the names of blocks and final norm; None for other networks."""
    if not (hasattr(network, "num_prefix_tokens") and hasattr(network, "blocks")):
        return None
    blocks = [f"blocks.{name}" for name, _ in network.blocks.named_children()]
    return network.num_prefix_tokens, [*blocks, "norm"]


def _create(bare: str, num_classes: int | None, **arguments: Any) -> nn.Module:
    network: nn.Module = timm.create_model(bare, num_classes=num_classes, **arguments)
    return network


def _arguments(bare: str, size: int) -> dict[str, Any]:
    """Return `img_size` for a transformer, which is built for one input size; CNNs take any size."""
    config = timm.get_pretrained_cfg(bare)
    if config is None or not config.fixed_input_size:
        return {}
    entry = inspect.unwrap(timm.model_entrypoint(bare))
    return {"img_size": size} if "kwargs" in inspect.signature(entry).parameters else {}
