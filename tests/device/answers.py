"""Logits of a run's models to its first test images: python answers.py RUN OUT.npz [PICTURES].

Needs no more than the device's installation. With PICTURES, writes those images there as PNG files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from kdtool.data.reader import open_prepared
from kdtool.runs.folder import RunFolder
from kdtool.runtime import load_runtime

IMAGES = 16


def main(folder: str, out: str, pictures: str = "") -> None:
    run = RunFolder(Path(folder))
    prepared = open_prepared(run.data)
    images = np.asarray(prepared.split("test").images[:IMAGES])
    answers: dict[str, np.ndarray] = {"classes": np.array(prepared.classes)}
    for path in sorted(run.onnx.glob("*.onnx")):
        session = load_runtime().open_model(path, 1)
        answers[path.name] = session.run(session.info.preprocess.normalize(images))
    np.savez(out, **answers)
    if pictures:
        Path(pictures).mkdir()
        for number, pixels in enumerate(images):
            Image.fromarray(pixels).save(Path(pictures) / f"{number:02}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
