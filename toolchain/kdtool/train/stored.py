"""Stored features of a frozen network: it answers images that its linear probe saw without seeing them again.

    logits = W f(x) + b        f(x): the stored features (D), W and b: the probe

The probe of a teacher of which only the head is trained is the teacher itself (`kdtool.train.probe`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from kdtool.arch.network import classifier_of
from kdtool.core.files import sha256_json, write_bytes
from kdtool.core.modelinfo import ModelInfo
from kdtool.data.reader import Prepared
from kdtool.runs.stage import intact, read_manifest

FEATURES = "features.safetensors"

Floats = npt.NDArray[np.float32]


def write_features(folder: Path, features: Mapping[str, Floats], prepared: Prepared) -> str:
    """Write the features (N, D) of the images of each split; returns the name of the file."""
    tensors = {split: torch.from_numpy(np.ascontiguousarray(values)) for split, values in features.items()}
    photographs = {split: _photographs(prepared, split, len(values)) for split, values in features.items()}
    write_bytes(folder / FEATURES, save(tensors, photographs))
    return FEATURES


def stored_answers(
    folder: Path, network: nn.Module, info: ModelInfo, prepared: Prepared
) -> dict[str, Floats]:
    """Compute the logits (N, K) of the images whose features are stored: the first N of each split.

    Args:
        folder: folder of the teacher, with its probe.

    Returns:
        Split → logits; empty if the teacher is not its probe, or its features are not stored.
    """
    taught, probe = read_manifest(folder / "manifest.json"), folder / "probe"
    fitted = read_manifest(probe / "manifest.json")
    if taught is None or fitted is None or FEATURES not in fitted.files or not intact(probe, fitted):
        return {}
    if taught.inputs.get("probe") not in fitted.files.values():
        return {}
    name = classifier_of(network, info.arch, len(info.classes), info.preprocess.size)
    assert name is not None, "a network with a probe has one linear layer as its head"
    head = network.get_submodule(name)
    device = next(head.parameters()).device
    answers = {}
    with safe_open(probe / FEATURES, framework="pt") as file, torch.no_grad():
        photographs = file.metadata()
        for split in file.keys():  # noqa: SIM118  # the file is no dictionary
            values = file.get_tensor(split)
            if photographs[split] == _photographs(prepared, split, len(values)):
                answers[split] = head(values.to(device)).cpu().numpy()
    return answers


def _photographs(prepared: Prepared, split: str, images: int) -> str:
    """Hash of the first photographs of a split, in their order."""
    return sha256_json(list(prepared.split(split).hashes[:images]))
