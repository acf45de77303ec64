"""Counts multiply–accumulates and parameters from an ONNX graph."""
