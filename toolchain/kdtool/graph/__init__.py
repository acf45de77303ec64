"""Reads and writes ONNX files with the package onnx, for export and quantization."""
