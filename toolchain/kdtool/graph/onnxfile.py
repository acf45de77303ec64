"""Writing of ONNX files without foreign metadata and with reproducible bytes.

Exporters and quantizers leave stack traces, machine paths and notes in a model. A file of kdtool contains
the graph, the weights and one `ModelInfo`, and equal weights give equal bytes. The package onnx comes with
the training extra only: the device never writes a model.
"""

from __future__ import annotations

import onnx
from onnx import helper

from kdtool.core.modelinfo import ModelInfo

PRODUCER = "kdtool"
INPUT = "images"  # float32 (N, 3, S, S) with any N
OUTPUT = "logits"  # float32 (N, K)


def onnx_bytes(model: onnx.ModelProto, info: ModelInfo | None = None) -> bytes:
    """Serialize `model` with `info` as its only metadata. The notes in `model` itself are removed.

    The IR version is the oldest one that the operator sets allow, since many web and mobile runtimes are old.
    """
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.producer_name, model.producer_version = PRODUCER, ""
    model.doc_string = ""
    _clean(model.graph)
    helper.set_model_props(model, info.to_metadata() if info is not None else {})
    return bytes(model.SerializeToString(deterministic=True))


def _clean(graph: onnx.GraphProto) -> None:
    """Remove all notes of the tools that made the graph; names and shapes stay."""
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _clean(subgraph)
