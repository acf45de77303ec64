"""ONNX graphs as such: what export and quantization share about writing them. Needs the package onnx."""
