"""kdtool: from a folder of photographs to a small, proven image classifier."""

__version__ = "0.1.0"
