"""Facts that explain the predictions of an INT8 model: fine-tuning and FP32 layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdtool.results.bench import ModelResult
from kdtool.results.wording import finetuned_in_words
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import read_manifest


@dataclass(frozen=True)
class Int8Facts:
    """Facts about one INT8 model.

    Attributes:
        finetuned: sentence about the fine-tuning; "" if the weights are those of the FP32 model.
        fp32_layers: the FP32 layers, each with its operator and its SQNR.
    """

    finetuned: str = ""
    fp32_layers: tuple[str, ...] = ()


def int8_facts(run: RunFolder, model: str, measured: Sequence[ModelResult]) -> Int8Facts:
    """Collect the facts of the measured INT8 file of `model`; empty if the file was made later."""
    row = next((row for row in measured if (row.role, row.precision) == (model, "int8")), None)
    if row is None:
        return Int8Facts()
    finetuned = finetuned_in_words("The INT8 model", "the FP32 model", row.finetuned) if row.finetuned else ""
    return Int8Facts(finetuned, _fp32_layers(run, model, row.sha256))


def _fp32_layers(run: RunFolder, role: str, sha256: str) -> tuple[str, ...]:
    manifest = read_manifest(run.quantize_manifest(role))
    if manifest is None or manifest.files.get(run.onnx_model(role, "int8").name) != sha256:
        return ()
    return tuple(
        f"{layer['name']} ({layer['op']}, {layer['sqnr']:.1f} dB)"
        for layer in manifest.result.get("put_back", ())
    )
