"""Exports trained networks to ONNX and other formats, each file through the parity gate."""
