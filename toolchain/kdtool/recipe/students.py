"""Networks that are worth to be a student, or its teacher: one line each, with the source of each figure.

Parameters and MACs are counted at 224 × 224 with 1,000 classes. Top-1 on ImageNet is that of timm's table of
results (results-imagenet.csv) or of torchvision's documentation. The first student of the table is the one
that kdtool was measured with (models/README.md); the others are for those who want to try.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """One network.

    Attributes:
        arch: name in a recipe.
        params, macs: number of parameters, and MACs of one image of 224 × 224 pixels.
        imagenet: top-1 on ImageNet, percent, at `imagenet_size` pixels.
        source: where this figure stands.
        licence: licence of the weights.
        int8: how well it quantizes.
    """

    arch: str
    params: int
    macs: int
    imagenet: float
    imagenet_size: int
    source: str
    licence: str
    int8: str


TIMM, TORCHVISION = "timm, results-imagenet.csv", "torchvision, models and pre-trained weights"
NOT_MEASURED = "not measured by kdtool"
STUDENTS: tuple[Candidate, ...] = (
    Candidate("timm/tf_efficientnet_lite0", 4_652_008, 368_000_000, 74.8, 224, TIMM, "Apache-2.0",
              "well: ReLU6, no squeeze-and-excitation; measured on clothing, models/README.md"),
    Candidate("timm/mobilenetv4_conv_small", 3_774_024, 185_000_000, 73.8, 224, TIMM, "Apache-2.0",
              NOT_MEASURED),
    Candidate("timm/mobilenetv4_conv_medium", 9_715_512, 826_000_000, 79.1, 256, TIMM, "Apache-2.0",
              NOT_MEASURED),
    Candidate("mobilenet_v3_large", 5_483_032, 235_000_000, 75.3, 224, TORCHVISION, "BSD-3-Clause",
              "with loss: hard swish and squeeze-and-excitation want layers in float32"),
    Candidate("resnet18", 11_689_512, 1_824_000_000, 69.8, 224, TORCHVISION, "BSD-3-Clause",
              "well; measured on the digits and on clothing"),
)  # fmt: skip
TEACHERS: tuple[Candidate, ...] = (
    Candidate("timm/tf_efficientnet_lite2", 6_092_072, 559_000_000, 77.5, 260, TIMM, "Apache-2.0",
              "well: ReLU6, no squeeze-and-excitation"),
    Candidate("resnet34", 21_797_672, 3_679_000_000, 73.3, 224, TORCHVISION, "BSD-3-Clause", "well"),
)  # fmt: skip
