#!/usr/bin/env python3
"""Classify photographs with this bundle. Needs numpy, onnxruntime and Pillow only.

python infer.py PHOTO.jpg ...
python infer.py --model model.int8.onnx --top 3 PHOTO.jpg
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent


def read_pixels(photograph: str | Path, rule: dict[str, Any]) -> Any:
    """Pixels (size, size, 3) uint8 of a photo file, preprocessed by `rule` from preprocess.json."""
    with Image.open(photograph) as encoded:
        image = _rgb(ImageOps.exif_transpose(encoded))
    side, size = rule["resize"]["shortest_side"], rule["crop"]["size"]
    width, height = image.size
    longer = int(side * max(width, height) / min(width, height))
    resized = (side, longer) if width <= height else (longer, side)
    if resized != image.size:  # Pillow's filters are antialiased
        image = image.resize(resized, Image.Resampling[rule["resize"]["interpolation"].upper()])
    left, top = (round((length - size) / 2) for length in resized)
    return np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits
        wide = np.clip(np.asarray(image, np.int64), 0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


class Classifier:
    """A model file of this bundle, loaded into ONNX Runtime."""

    def __init__(self, model: str = "model.onnx", folder: Path = HERE) -> None:
        self.rule = json.loads((folder / "preprocess.json").read_text("utf-8"))
        self.labels = (folder / "labels.txt").read_text("utf-8").rstrip("\n").split("\n")
        self.session = onnxruntime.InferenceSession(str(folder / model), providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]

    def logits(self, photograph: str | Path) -> Any:
        """Logits (K,) float32 of a photo file, in the order of labels.txt."""
        pixels = read_pixels(photograph, self.rule)
        if self.input.type == "tensor(uint8)":  # the model normalizes inside
            tensor = pixels if self.input.shape[3] == 3 else pixels.transpose(2, 0, 1)
        else:
            mean, std = (np.asarray(self.rule[name], np.float32) for name in ("mean", "std"))
            scaled = pixels.astype(np.float32) / np.float32(255)
            tensor = ((scaled - mean) / std).transpose(2, 0, 1)
        return self.session.run(None, {self.input.name: np.ascontiguousarray(tensor[None])})[0][0]

    def classify(self, photograph: str | Path, top: int = 1) -> list[tuple[str, float]]:
        """The `top` most likely classes of a photo file, with their probabilities."""
        logits = self.logits(photograph).astype(np.float64)
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        best = np.argsort(-probabilities)[:top]
        return [(self.labels[index], float(probabilities[index])) for index in best]


def main() -> int:
    """Print the most likely classes of each photo file; return 1 if a file cannot be read."""
    parser = argparse.ArgumentParser(description="Classify photographs with this bundle.")
    parser.add_argument("photographs", nargs="+", metavar="PHOTO")
    parser.add_argument("--model", default="model.onnx", help="file in this folder (default: model.onnx)")
    parser.add_argument(
        "--top", type=int, default=1, help="classes to print for each photograph (default: 1)"
    )
    arguments = parser.parse_args()
    classifier, failed = Classifier(arguments.model), 0
    for photograph in arguments.photographs:
        try:
            predictions = classifier.classify(photograph, arguments.top)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"{photograph}: {error}\n")
            failed = 1
            continue
        for label, probability in predictions:
            sys.stdout.write(f"{photograph}\t{label}\t{probability:.4f}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
