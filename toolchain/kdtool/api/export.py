"""Export any torch network to ONNX and verify it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdtool.core.checks import whole_number
from kdtool.core.errors import UsageError
from kdtool.core.preprocess import SIDE_LIMIT, Preprocess
from kdtool.core.spelling import Caller, called_from
from kdtool.machine.terminal import screen_of
from kdtool.runs.folder import ROLES

if TYPE_CHECKING:
    from torch import nn

    from kdtool.api.images import AnyImage
    from kdtool.core.preprocess import UInt8Array


@called_from(Caller.FUNCTION)
def export(
    network: nn.Module,
    out: str | Path,
    *,
    classes: Sequence[str],
    size: int | None = None,
    preprocess: Preprocess | None = None,
    images: str | Path | Iterable[AnyImage] | None = None,
    name: str = "",
    role: str = "student",
    opset: int = 18,
    fixed_batch: bool = False,
    uint8: bool = False,
    ort: bool = False,
    tolerance: float = 1e-4,
    quiet: bool = False,
) -> Path:
    """Export a network to simplified ONNX that states its classes and its preprocessing.

    Torch and ONNX Runtime must give the same logits and predictions for the images, before and after
    simplification; otherwise no file is written. The network itself, its mode and its device do not change.

    Args:
        network: module that maps images (N, 3, S, S) float32 to logits (N, classes).
        out: file to write, such as "student.onnx".
        classes: names in the order of the logits.
        size: S, for a network that takes RGB values from 0 to 1; otherwise give preprocess.
        preprocess: preprocessing of a photograph: kdtool.Preprocess(resize, size, mean=…, std=…).
        images: a folder of photographs, or images, to compare torch and ONNX Runtime on; None is noise.
        name: name of the network in the file; empty is the name of its Python class.
        role: teacher, student or baseline, for the benchmark.
        opset: version of the standard operators, 17 to 23.
        fixed_batch: fix the batch of the graph at 1.
        uint8: also write OUT.uint8.onnx, which takes pixels and normalizes them itself.
        ort: also write the format of ONNX Runtime for phones.
        tolerance: largest |Δlogit| between torch and ONNX Runtime.
        quiet: print nothing on standard error.

    Returns:
        The file `out`.

    Raises:
        UsageError: an argument is wrong, or the network does not return logits (N, classes).
        ModelFileError: the network cannot be exported.
        GateError: torch and ONNX Runtime differ.

    Example:
        path = kdtool.export(network, "student.onnx", classes=["cat", "dog"], size=224, images="photographs/")
        kdtool.load(path).predict("cat.jpg")
    """
    from kdtool.machine.packages import require_training

    require_training("export")
    import copy

    from torch import nn

    from kdtool.api.arguments import caller_info, checked_settings
    from kdtool.exporters.model import export_model
    from kdtool.exporters.parity import parity_images
    from kdtool.recipe.settings import ExportSettings

    if not isinstance(network, nn.Module):
        raise UsageError(
            f"network is a {type(network).__name__}; allowed: a torch.nn.Module.",
            "To export the networks of a run: kdtool export --onnx RUN",
        )
    if (size is None) == (preprocess is None):
        raise UsageError(
            "size and preprocess: allowed is exactly one of the two.",
            "size=224, or preprocess=kdtool.Preprocess(resize=256, size=224, mean=(0.485, 0.456, 0.406), …)",
        )
    if role not in ROLES:
        raise UsageError(f"role is {role!r}; allowed: {', '.join(ROLES)}.")
    settings = checked_settings(
        ExportSettings, opset=opset, fixed_batch=fixed_batch, uint8=uint8, ort=ort, tolerance=tolerance
    )
    if preprocess is None:
        side = whole_number("size", size, 1, SIDE_LIMIT)
        preprocess = Preprocess(side, side)
    info = caller_info(name or type(network).__name__, classes, preprocess, role)
    assert info is not None
    frozen = copy.deepcopy(network).cpu().eval()
    _require_logits(frozen, len(info.classes), preprocess.size)
    inputs = parity_images(_pixels(images, preprocess), preprocess)
    export_model(Path(out), frozen, info, inputs, settings, screen_of(quiet))
    return Path(out)


def _pixels(images: str | Path | Iterable[AnyImage] | None, preprocess: Preprocess) -> UInt8Array:
    """Return some of the images, or noise, before normalization: (N, S, S, 3) uint8."""
    import numpy as np

    from kdtool.api.images import listed, stacked
    from kdtool.exporters.parity import BATCHES

    count, side = sum(BATCHES), preprocess.size
    if images is None:
        return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    sequence = listed(images)
    chosen = np.linspace(0, len(sequence) - 1, min(count, len(sequence))).round().astype(np.intp)
    return stacked([sequence[index] for index in chosen], preprocess)


def _require_logits(network: nn.Module, classes: int, size: int) -> None:
    import torch

    try:
        with torch.inference_mode():
            logits = network(torch.zeros(2, 3, size, size))
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"network fails on images of shape (2, 3, {size}, {size}): {error}") from error
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (2, classes):
        raise UsageError(
            f"network returns {shape} for 2 images; allowed: logits (2, {classes}), one for each class.",
            "Name as many classes as there are logits, and let the network return one tensor.",
        )
