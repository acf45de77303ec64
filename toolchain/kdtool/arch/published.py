"""Published ImageNet weights of a network: the file, the place where it is kept, and their normalization."""

from __future__ import annotations

from dataclasses import dataclass

Normalization = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean and std of R, G, B


@dataclass(frozen=True)
class WeightsFile:
    """File of published weights.

    Attributes:
        name: file name, with the address that it is downloaded from.
        place: folder where the library keeps the file.
        present: True if the file is there, so that nothing has to be downloaded.
    """

    name: str
    place: str
    present: bool

    def __str__(self) -> str:
        return f"{self.name}, kept in {self.place}"


def three(values: object) -> tuple[float, float, float]:
    """Return the values of R, G and B as a tuple."""
    red, green, blue = (float(value) for value in values)  # type: ignore[attr-defined]  # lists and tuples
    return red, green, blue
