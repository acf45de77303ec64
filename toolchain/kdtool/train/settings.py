"""Settings of a network as inputs of its training, and the pixels that its initial weights need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kdtool.arch.network import normalization_of
from kdtool.core.files import sha256_file
from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import Prepared
from kdtool.recipe.choices import IMAGENET, SCRATCH
from kdtool.recipe.settings import NetworkSettings


def settings_inputs(settings: NetworkSettings) -> dict[str, Any]:
    """Settings as part of a stage's inputs; a file of weights is replaced by its hash.

    Defaults are left out. So a field that a later version adds, with a default that means the old behaviour,
    does not cause networks to be trained again. Therefore a default must never change.
    """
    inputs = settings.model_dump(mode="json", exclude={"loss", "features", "trained"}, exclude_defaults=True)
    if settings.weights not in (IMAGENET, SCRATCH):
        inputs["weights"] = weights_input(settings.weights)
    return inputs


def weights_input(weights: str) -> str:
    """Initial weights as part of a stage's inputs: a file is replaced by its hash."""
    if weights in (IMAGENET, SCRATCH):
        return weights
    file = Path(weights)
    return sha256_file(file) if file.is_file() else "missing"


def whole_photographs(prepared: Prepared, settings: NetworkSettings) -> dict[str, str]:
    """Whole photographs as part of a stage's inputs, if the views of a network are cut from them."""
    whole = prepared.split("train").whole if settings.augment.crop < 1 else None
    return {"photographs": whole.digest} if whole else {}


def network_preprocess(prepared: Prepared, settings: NetworkSettings) -> Preprocess:
    """Preprocessing of a network: that of the data, with the mean and std that its initial weights know.

    A network from scratch has the mean and std of the training set.
    """
    known = normalization_of(settings.arch, settings.weights)
    return replace(prepared.preprocess, mean=known[0], std=known[1]) if known else prepared.preprocess
