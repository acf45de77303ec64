"""Quantizes ONNX files to INT8: scheme, sensitivity of layers, search, and the accuracy gate."""
