"""Passes over an exported ONNX graph: simplification, fixed batch, pooling, uint8 input."""
