"""The embedded digits: 1,797 real scans of 8 × 8 pixels, 10 classes, from scikit-learn.

They prove without a network that every stage works; they are never evidence for the claim.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from kdtool.core.errors import missing_extra
from kdtool.data.listing import Listing, Sample
from kdtool.data.sources.encode import png_of_array

NAME = "digits"
INK = 16  # largest value in the data set


def handles(data: str | None) -> bool:
    """True if DATA is missing or names the digits."""
    return data is None or data == NAME


def load(data: str | None) -> Listing:  # noqa: ARG001 (the interface of a source)
    """List all digits in train; validation and test are carved out of it.

    Raises:
        SetupError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing_extra("scikit-learn", "The data set 'digits'") from error
    digits = load_digits()
    images = np.rint(digits.images * (255 / INK)).astype(np.uint8)
    classes = tuple(str(name) for name in digits.target_names)
    samples = tuple(
        Sample(f"{label}/{index:04d}.png", classes[label], "train", partial(png_of_array, image))
        for index, (image, label) in enumerate(zip(images, digits.target.tolist(), strict=True))
    )
    return Listing(NAME, samples, {"train": classes}, carve=("validation", "test"))
