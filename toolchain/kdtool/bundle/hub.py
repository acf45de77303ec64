"""Folder hub/: the layout in which transformers.js and Optimum load a model unchanged.

Both expect an input called `pixel_values`, the classes in config.json and the preprocessing in
preprocessor_config.json. `CLIPImageProcessor` has the same steps as kdtool: resize the shortest side, crop
the centre, rescale, normalize, with the longer side truncated to an integer. One difference remains: if the
crop lies half a pixel off, it rounds the position down, and kdtool rounds half to even. The files are in a
separate folder, since Optimum takes the first model.onnx that it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdtool.bundle.packing import as_json, write
from kdtool.bundle.proof.golden import FOLDER, Golden, read_npy
from kdtool.bundle.session import open_shipped
from kdtool.bundle.shipped import Kind
from kdtool.core.errors import GateError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import INTERPOLATIONS, Preprocess
from kdtool.runtime.classify import logits_of
from kdtool.runtime.onnxbytes.rename import rename_input
from kdtool.runtime.onnxruntime import OnnxSession

HUB = "hub"
INPUT = "pixel_values"
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
# The loaders choose their class by this word, whatever network the graph contains.
LOADED_AS, LOADER = "resnet", "ResNetForImageClassification"
# By default, transformers.js takes onnx/model_quantized.onnx in a browser: a file that may be missing.
WEB_DTYPE = "fp32"


def write_hub(
    folder: Path, info: ModelInfo, golden: Golden, sessions: Mapping[str, tuple[Kind, OnnxSession]]
) -> None:
    """Write hub/onnx/ and the two configurations beside it into the bundle `folder`.

    Raises:
        GateError: a file with a renamed input computes other logits than the original.
    """
    for file, (kind, session) in sessions.items():
        if not kind.hub:
            continue
        renamed = folder / HUB / "onnx" / kind.hub
        write(renamed, rename_input((folder / file).read_bytes(), session.input.name, INPUT))
        pixels = read_npy(folder / FOLDER / golden.vectors[0].pixels)
        before, after = (
            logits_of(opened, pixels[None], info.preprocess) for opened in (session, open_shipped(renamed))
        )
        if not np.array_equal(before, after):
            raise GateError(
                f"{kind.hub}, a copy of {file} with a renamed input, computes other logits.",
                "This is a defect of kdtool: report it with the name of the network.",
            )
    write(folder / HUB / CONFIG, as_json(config(info.classes, info.arch, info.preprocess.size)))
    write(folder / HUB / PREPROCESSOR, as_json(preprocessor_config(info.preprocess)))


def config(classes: Sequence[str], arch: str, size: int) -> dict[str, Any]:
    """Content of config.json."""
    return {
        "model_type": LOADED_AS,
        "architectures": [LOADER],
        "num_labels": len(classes),
        "id2label": {str(index): name for index, name in enumerate(classes)},
        "label2id": {name: index for index, name in enumerate(classes)},
        "image_size": size,
        "num_channels": 3,
        "transformers.js_config": {"dtype": WEB_DTYPE},
        "kdtool": {"arch": arch},
    }


def preprocessor_config(preprocess: Preprocess) -> dict[str, Any]:
    """Content of preprocessor_config.json."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "feature_extractor_type": "CLIPFeatureExtractor",
        "do_resize": True,
        "size": {"shortest_edge": preprocess.resize},
        "resample": int(INTERPOLATIONS[preprocess.interpolation]),
        "do_center_crop": True,
        "crop_size": {"height": preprocess.size, "width": preprocess.size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
        "do_convert_rgb": True,
    }
