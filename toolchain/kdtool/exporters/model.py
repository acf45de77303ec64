"""Export of one network to one ONNX file, which gets its final name only after the parity gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from kdtool.arch.network import parameter_count
from kdtool.core.errors import GateError, ModelFileError
from kdtool.core.files import durable
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import Screen
from kdtool.exporters.compute.count import Count, count_onnx
from kdtool.exporters.compute.thop import thop_macs
from kdtool.exporters.onnx import export_network
from kdtool.exporters.parity import BATCHES, Parity, check_parity, worst
from kdtool.exporters.passes.fixed_batch import fix_batch
from kdtool.exporters.passes.simplify import SimplifyError, simplify
from kdtool.exporters.variants import VARIANTS, Exported
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.machine.packages import versions_of
from kdtool.recipe.settings import ExportSettings
from kdtool.results.figures import megabytes
from kdtool.runtime.onnxruntime import open_model

VERSIONS = ("torch", "onnx", "onnxscript", "onnxsim")
THOP_DIFFERENCE = 0.01  # relative


def export_model(
    path: Path,
    network: nn.Module,
    info: ModelInfo,
    images: FloatArray,
    settings: ExportSettings,
    screen: Screen,
) -> dict[str, Any]:
    """Write the ONNX file of `network` to `path`; return the facts for the manifest.

    The raw export must pass the parity gate. The simplified graph replaces it if onnxsim succeeds and the
    result passes the same gate; otherwise the raw export is kept, with a warning. The variants that
    `settings` ask for are written beside it (see `kdtool.exporters.variants`).

    Args:
        network: in eval mode.
        info: role, classes, preprocessing and the hash of the weights; this function adds the rest.
        images: real images, normalized, for the gate (`parity_images`).

    Raises:
        ModelFileError: the network cannot be exported, or ONNX Runtime cannot load it.
        GateError: the logits of torch and ONNX Runtime differ; the file that differs is removed.
        SetupError: the file cannot be written.
    """
    model = export_network(network, info.arch, info.preprocess.size, settings.opset)
    if settings.fixed_batch:
        fix_batch(model)
    count = count_onnx(model)
    thop = thop_macs(network, info.preprocess.size)
    _compare_counts(path, count, thop, screen)
    info = replace(
        info,
        precision="fp32",
        params=parameter_count(network),
        macs=count.exact_macs or 0,
        versions=versions_of(VERSIONS),
    )
    raw = onnx_bytes(model, info)

    def write_and_check(partial: Path, content: bytes) -> tuple[Parity, ...]:
        partial.write_bytes(content)
        session = open_model(partial)
        try:
            return check_parity(network, session.run, images, settings.tolerance, path)
        finally:
            session.close()

    with durable(path) as partial:
        parity = {"raw": write_and_check(partial, raw)}
        shipped = "simplified"
        try:
            parity[shipped] = write_and_check(partial, simplify(raw, info))
        except (SimplifyError, GateError, ModelFileError) as error:
            screen.warn(
                f"{path}: not simplified, the raw export is kept ({getattr(error, 'message', error)})"
            )
            shipped = "raw"
            partial.write_bytes(raw)
    exported = Exported(network, path, info, images, settings.tolerance)
    files = [path]
    for kind, variant in VARIANTS.items():
        if getattr(settings, kind):
            written, parity[kind] = variant.write(exported)
            files += written
            screen.say(f"export: {written[0]}, max |Δlogit| {worst(parity[kind]):.1e}")
    difference = worst(parity[shipped])
    screen.say(
        f"export: {path}, {megabytes(path.stat().st_size)}, {_gmacs(count)}; torch and ONNX "
        f"Runtime agree on batches of {', '.join(map(str, BATCHES))} (max |Δlogit| {difference:.1e})"
    )
    return {
        "params": info.params,
        "macs": info.macs,
        "thop_macs": thop,
        "size_bytes": path.stat().st_size,
        "simplified": shipped == "simplified",
        "files": [file.name for file in files],
        "parity": {kind: {str(p.batch): p.difference for p in batches} for kind, batches in parity.items()},
    }


def _gmacs(count: Count) -> str:
    return f"{'at least ' if count.uncounted else ''}{count.macs / 1e9:.4f} GMACs"


def _compare_counts(path: Path, count: Count, thop: int, screen: Screen) -> None:
    """Warn if two independent counts of the compute differ; thop does not count attention."""
    if count.uncounted:
        screen.warn(f"{path}: the compute of {', '.join(count.uncounted)} is not counted")
    if abs(thop - count.macs) <= THOP_DIFFERENCE * count.macs:
        return
    figures = f"{count.macs:,} MACs in the graph, {thop:,} by thop"
    if count.attention_macs:
        screen.say(f"export: {path}: {figures}, which does not count attention ({count.attention_macs:,})")
    else:
        screen.warn(
            f"{path}: two counts of its compute differ by more than 1 %: {figures}; the first is used"
        )
