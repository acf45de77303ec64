"""Reading and writing of ONNX files with the package onnx, for export and quantization."""
