"""Choices and limits that command options and recipes share.

`kdtool --help` imports this module, so it imports the standard library only.
"""

from __future__ import annotations

from enum import StrEnum

MOST_THREADS = 1024
MOST_SAMPLES = 100_000  # latency samples of one model: bench.json contains each of them
MOST_SESSIONS = 100  # processes that measure
IMAGENET, SCRATCH = "imagenet", "none"  # initial weights that are not a file


class Cache(StrEnum):
    """Places where decoded training images are kept."""

    AUTO = "auto"
    MEMORY = "memory"
    DISK = "disk"
    NONE = "none"


class Balance(StrEnum):
    """Remedies for classes of unequal size, in training."""

    NONE = "none"
    SAMPLE = "sample"  # every class is drawn alike
    LOGITS = "logits"  # the logits get the logarithm of the class frequencies


class Precision(StrEnum):
    """Arithmetic in training."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Int8Target(StrEnum):
    """Kinds of processors by their 8-bit arithmetic; `quant.target.SCHEMES` has the scheme of each."""

    AUTO = "auto"  # the kind of this processor
    X86_AVX2 = "x86-avx2"
    X86_VNNI = "x86-vnni"
    ARM_DOTPROD = "arm-dotprod"
    ARM = "arm"
    WEB = "web"


class Calibration(StrEnum):
    """Methods that choose the range of an activation; `calibration.ranges.METHODS` has their functions."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"


class Selection(StrEnum):
    """Rules that choose the epoch whose weights are kept."""

    ACCURACY = "accuracy"
    BALANCED_ACCURACY = "balanced_accuracy"  # every class counts alike
    LAST = "last"


class Trained(StrEnum):
    """Parts of a network that are trained."""

    ALL = "all"
    HEAD = "head"  # the classifier; the backbone stays as the weights have it
