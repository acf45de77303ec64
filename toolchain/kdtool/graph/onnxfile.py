"""Writing an ONNX file: what may stand in it, and always the same bytes.

Exporters and quantizers leave stack traces, machine paths and scratch notes in a model. A file of
kdtool holds the graph, the weights and one `ModelInfo`, and equal weights give equal bytes. Needs
the package onnx, which only the training extra brings: the device never writes a model.
"""

from __future__ import annotations

import onnx
from onnx import helper

from kdtool.core.modelinfo import ModelInfo

PRODUCER = "kdtool"
INPUT = "images"  # float32 (N, 3, S, S), N free
OUTPUT = "logits"  # float32 (N, K)


def onnx_bytes(model: onnx.ModelProto, info: ModelInfo | None = None) -> bytes:
    """The file of `model` with `info` as its only metadata. `model` itself is cleaned on the way.

    The IR version is the oldest that the operator sets allow, since web and mobile runtimes lag behind.
    """
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.producer_name, model.producer_version = PRODUCER, ""
    model.doc_string = ""
    _clean(model.graph)
    helper.set_model_props(model, info.to_metadata() if info is not None else {})
    return bytes(model.SerializeToString(deterministic=True))


def _clean(graph: onnx.GraphProto) -> None:
    """Remove every note of the tools that made the graph; names and shapes stay."""
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _clean(subgraph)
