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

from kdtool.core.files import sha256_json, write_bytes
from kdtool.data.reader import Prepared
from kdtool.runs.stage import Manifest, intact, read_manifest

FEATURES = "features.safetensors"

Floats = npt.NDArray[np.float32]


def write_features(folder: Path, features: Mapping[str, Floats], prepared: Prepared) -> str:
    """Write the features (N, D) of the images of each split; returns the name of the file."""
    tensors = {split: torch.from_numpy(np.ascontiguousarray(values)) for split, values in features.items()}
    photographs = {split: _photographs(prepared, split, len(values)) for split, values in features.items()}
    write_bytes(folder / FEATURES, save(tensors, photographs))
    return FEATURES


def stored_answers(probe: Path, taught: Manifest, head: nn.Linear, prepared: Prepared) -> dict[str, Floats]:
    """Compute the logits (N, K) of the images whose features are stored: the first N of each split.

    Args:
        probe: folder of the teacher's probe.
        taught: manifest of the teacher.
        head: the teacher's last layer.

    Returns:
        Split → logits; empty if the teacher is not its probe, or its features are not stored.
    """
    manifest = read_manifest(probe / "manifest.json")
    if manifest is None or FEATURES not in manifest.files or not intact(probe, manifest):
        return {}
    if taught.inputs.get("probe") not in manifest.files.values():
        return {}
    answers = {}
    with safe_open(probe / FEATURES, framework="pt") as file, torch.no_grad():
        photographs = file.metadata()
        for split in file.keys():  # noqa: SIM118  # the file is no dictionary
            values = file.get_tensor(split)
            if photographs[split] == _photographs(prepared, split, len(values)):
                answers[split] = head(values).numpy()
    return answers


def _photographs(prepared: Prepared, split: str, images: int) -> str:
    """Hash of the first photographs of a split, in their order."""
    return sha256_json(list(prepared.split(split).hashes[:images]))
