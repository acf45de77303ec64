"""How an INT8 model was made, where that explains its answers: fine-tuning, and layers left in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdtool.results.bench import ModelResult
from kdtool.results.wording import finetuned_in_words
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import read_manifest


@dataclass(frozen=True)
class Making:
    """Of one INT8 model.

    Attributes:
        finetuned: a sentence, "" where its weights are those of the float model.
        floats: the layers that stayed float, each with its operator and its SQNR.
    """

    finetuned: str = ""
    floats: tuple[str, ...] = ()


def making_of(run: RunFolder, model: str, measured: Sequence[ModelResult]) -> Making:
    """Of the INT8 model of `model`, as it was measured; nothing is said of one made since."""
    row = next((row for row in measured if (row.role, row.precision) == (model, "int8")), None)
    if row is None:
        return Making()
    said = finetuned_in_words("The INT8 model", "the float one", row.finetuned) if row.finetuned else ""
    return Making(said, _floats(run, model, row.sha256))


def _floats(run: RunFolder, role: str, sha256: str) -> tuple[str, ...]:
    manifest = read_manifest(run.quantize_manifest(role))
    if manifest is None or manifest.files.get(run.onnx_model(role, "int8").name) != sha256:
        return ()
    return tuple(
        f"{layer['name']} ({layer['op']}, {layer['sqnr']:.1f} dB)"
        for layer in manifest.result.get("put_back", ())
    )
