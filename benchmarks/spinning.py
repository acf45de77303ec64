"""Measure how idle threads of one session slow down the next: two networks alone and in turns.

    python benchmarks/spinning.py

Each case is measured with and without spinning threads. The script prints medians, and how much longer an
inference takes in turns than alone, with an interval. It is the reason why the threads of kdtool's sessions
stop spinning after an inference.
"""

from __future__ import annotations

import json
import time

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from kdtool.machine.cpu import processor_name
from kdtool.machine.packages import versions_of
from kdtool.machine.threads import usable_threads
from kdtool.results.statistics.times import median_ratio_interval
from kdtool.runtime.onnxruntime import session_options

SIDE, WIDTH, ROUNDS, WARMUP, BLOCK, REPEATS = 32, 64, 300, 50, 10, 3
FATAL_ONLY = 4
SPINNING_STOP = "session.force_spinning_stop"


def network(layers: int) -> bytes:
    """Build an ONNX network of `layers` convolutions of 64 channels on 32 × 32 pixels."""
    generator = np.random.default_rng(0)
    nodes, weights, value = [], [], "images"
    for layer in range(layers):
        shape = (WIDTH, 3 if layer == 0 else WIDTH, 3, 3)
        weights.append(numpy_helper.from_array(generator.normal(0, 0.05, shape).astype("f"), f"w{layer}"))
        nodes += [
            helper.make_node("Conv", [value, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]),
        ]
        value = f"r{layer}"
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["logits"]))
    shapes = ("images", (1, 3, SIDE, SIDE)), ("logits", (1, WIDTH, 1, 1))
    image, logits = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
    graph = helper.make_graph(nodes, "network", [image], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def milliseconds(session: ort.InferenceSession) -> float:
    """Run the session once; return how long it took."""
    images = np.zeros((1, 3, SIDE, SIDE), np.float32)
    start = time.perf_counter_ns()
    session.run(None, {"images": images})
    return (time.perf_counter_ns() - start) / 1e6


def slowdown(spinning: bool) -> dict[str, object]:
    """Measure the medians of a network of 8 layers, alone and in turns with a network of 2 layers."""
    options = session_options(usable_threads())
    if spinning:
        ort.set_default_logger_severity(FATAL_ONLY)  # it warns because the entry is set again
        options.add_session_config_entry(SPINNING_STOP, "0")
    first, second = (ort.InferenceSession(network(layers), options) for layers in (8, 2))
    for _ in range(WARMUP):
        milliseconds(first)
        milliseconds(second)
    alone, turns = [], []
    for _ in range(ROUNDS // BLOCK):  # in turns, so that both cases see the same state of the machine
        alone += [milliseconds(first) for _ in range(BLOCK)]
        for _ in range(BLOCK):
            turns.append(milliseconds(first))
            milliseconds(second)
    ratio = median_ratio_interval(turns, alone)
    return {
        "spinning": spinning,
        "alone_ms": round(float(np.median(alone)), 3),
        "in_turns_ms": round(float(np.median(turns)), 3),
        "slowdown_95": [round(end, 2) for end in ratio],
        "samples": len(turns),
    }


def main() -> None:
    result = {
        "threads": usable_threads(),
        "runs": [slowdown(spinning) for _ in range(REPEATS) for spinning in (True, False)],
        "processor": processor_name(),
        "versions": versions_of(("onnxruntime",)),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
