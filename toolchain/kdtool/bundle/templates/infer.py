#!/usr/bin/env python3
"""Classify photographs with this bundle: numpy, onnxruntime and Pillow, nothing else.

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
    """(size, size, 3) uint8, by preprocess.json."""
    with Image.open(photograph) as opened:
        image = _rgb(ImageOps.exif_transpose(opened))
    side, size = rule["resize"]["shortest_side"], rule["crop"]["size"]
    width, height = image.size
    longer = int(side * max(width, height) / min(width, height))
    wanted = (side, longer) if width <= height else (longer, side)
    if wanted != image.size:  # Pillow's filters are antialiased
        image = image.resize(wanted, Image.Resampling[rule["resize"]["interpolation"].upper()])
    left, top = (round((length - size) / 2) for length in wanted)
    return np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits
        wide = np.clip(np.asarray(image, np.int64), 0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, clear).convert("RGB")
    return image.convert("RGB")


class Classifier:
    """A model of this bundle."""

    def __init__(self, model: str = "model.onnx", folder: Path = HERE) -> None:
        self.rule = json.loads((folder / "preprocess.json").read_text("utf-8"))
        self.labels = (folder / "labels.txt").read_text("utf-8").rstrip("\n").split("\n")
        self.session = onnxruntime.InferenceSession(str(folder / model), providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]

    def logits(self, photograph: str | Path) -> Any:
        """(classes,) float32."""
        pixels = read_pixels(photograph, self.rule)
        if self.input.type == "tensor(uint8)":  # it normalizes by itself
            tensor = pixels if self.input.shape[3] == 3 else pixels.transpose(2, 0, 1)
        else:
            mean, std = (np.asarray(self.rule[name], np.float32) for name in ("mean", "std"))
            scaled = pixels.astype(np.float32) / np.float32(255)
            tensor = ((scaled - mean) / std).transpose(2, 0, 1)
        return self.session.run(None, {self.input.name: np.ascontiguousarray(tensor[None])})[0][0]

    def classify(self, photograph: str | Path, top: int = 1) -> list[tuple[str, float]]:
        """The likeliest classes with their probabilities."""
        logits = self.logits(photograph).astype(np.float64)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        return [(self.labels[index], float(shares[index])) for index in np.argsort(-shares)[:top]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Classify photographs with this bundle.")
    parser.add_argument("photographs", nargs="+", metavar="PHOTO")
    parser.add_argument("--model", default="model.onnx", help="file in this folder (default: model.onnx)")
    parser.add_argument("--top", type=int, default=1, help="classes a photograph (default: 1)")
    chosen = parser.parse_args()
    classifier, failed = Classifier(chosen.model), 0
    for photograph in chosen.photographs:
        try:
            answers = classifier.classify(photograph, chosen.top)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"{photograph}: {error}\n")
            failed = 1
            continue
        for label, share in answers:
            sys.stdout.write(f"{photograph}\t{label}\t{share:.4f}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
