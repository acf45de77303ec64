"""Variant of a model that takes pixels and normalizes them in its graph.

    uint8 (N, S, S, 3), RGB → float32 → / 255 → − mean → / std → (N, 3, S, S) → the network

Each operation is that of `Preprocess.normalize`. An app then only has to resize and crop the photograph.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kdtool.core.preprocess import FloatArray, Preprocess, UInt8Array
from kdtool.graph.onnxfile import INPUT

NORMALIZED = "normalized"


def with_pixels(model: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """Return a copy of the float32 `model` whose input, of the same name, takes pixels."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    pixels = graph.input[0]
    batch = pixels.type.tensor_type.shape.dim[0]
    sides = [preprocess.size, preprocess.size, 3]
    first = batch.dim_value if batch.HasField("dim_value") else batch.dim_param or "batch"
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == INPUT:
                node.input[index] = NORMALIZED
    pixels.CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [first, *sides]))
    constants = {
        "pixel_scale": np.float32(255),
        "pixel_mean": np.asarray(preprocess.mean, np.float32),
        "pixel_std": np.asarray(preprocess.std, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    steps = [
        helper.make_node("Cast", [INPUT], ["pixels_float"], name="pixels_float", to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels_float", "pixel_scale"], ["pixels_unit"], name="pixels_unit"),
        helper.make_node("Sub", ["pixels_unit", "pixel_mean"], ["pixels_centred"], name="pixels_centred"),
        helper.make_node("Div", ["pixels_centred", "pixel_std"], ["pixels_scaled"], name="pixels_scaled"),
        helper.make_node("Transpose", ["pixels_scaled"], [NORMALIZED], name=NORMALIZED, perm=[0, 3, 1, 2]),
    ]
    nodes = [*steps, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def pixels_of(images: FloatArray, preprocess: Preprocess) -> UInt8Array:
    """Return the pixels (N, S, S, 3) that gave `images` (N, 3, S, S); rounding makes them exact."""
    scaled = images.transpose(0, 2, 3, 1).astype(np.float64)
    values = 255 * (scaled * np.asarray(preprocess.std) + np.asarray(preprocess.mean))
    return np.ascontiguousarray(np.clip(np.round(values), 0, 255).astype(np.uint8))
