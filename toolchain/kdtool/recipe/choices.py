"""Choices and limits that options of commands share with recipes and with what obeys them.

`kdtool --help` imports this module: it loads nothing but the standard library.
"""

from __future__ import annotations

from enum import StrEnum

MOST_THREADS = 1024
MOST_SAMPLES = 100_000  # of one model's latency: they are kept one by one
IMAGENET, SCRATCH = "imagenet", "none"  # weights to start from that are no file


class Cache(StrEnum):
    """Places where decoded training pictures are kept."""

    AUTO = "auto"
    MEMORY = "memory"
    DISK = "disk"
    NONE = "none"


class Precision(StrEnum):
    """Arithmetic in training."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Int8Target(StrEnum):
    """Kinds of processors by their 8-bit arithmetic; how each is served: `quant.target.SCHEMES`."""

    AUTO = "auto"  # the kind of this processor
    X86_AVX2 = "x86-avx2"
    X86_VNNI = "x86-vnni"
    ARM_DOTPROD = "arm-dotprod"
    ARM = "arm"
    WEB = "web"


class Calibration(StrEnum):
    """Methods that choose the range of an activation; their functions: `calibration.ranges.METHODS`."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"
