"""Reads model files byte by byte, without a runtime; refuses hostile ones."""
