"""File preprocess.json: the preprocessing of `kdtool.core.preprocess`, described for other languages."""

from __future__ import annotations

from typing import Any

from kdtool.core.preprocess import Preprocess


def preprocess_json(preprocess: Preprocess) -> dict[str, Any]:
    """Content of preprocess.json."""
    return {
        "schema": 1,
        "decode": {
            "orientation": "apply EXIF",
            "frame": "first",
            "alpha": "lay on white",
            "sixteen_bit": "value / 257, rounded",
        },
        "resize": {
            "shortest_side": preprocess.resize,
            "other_side": "floor(shortest_side * long / short)",
            "interpolation": preprocess.interpolation,
            "antialias": preprocess.interpolation != "nearest",
            "reference": "Pillow 13: Image.resize",
            "passes": "horizontal, then vertical, rounded to 8 bits after each; vertical first where "
            "new height < height and height - new height > 2 * (width - new width)",
        },
        "crop": {"size": preprocess.size, "position": "centre, round half to even((side - size) / 2)"},
        "colour_order": "RGB",
        "layout": "NCHW",
        "dtype": "float32",
        "normalize": "(value / 255 - mean) / std",
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "output": "logits (softmax gives probabilities)",
    }
