"""Options of `kdtool bundle`."""

from __future__ import annotations

from dataclasses import dataclass

MOST_PHOTOGRAPHS = 50
UNSTATED = "not stated; state it before you publish"


@dataclass(frozen=True)
class Options:
    """Options of `kdtool bundle`.

    Attributes:
        role: teacher, student or baseline.
        targets: targets for which a file must fit; empty: all targets are checked, none is required.
        photographs: number of test photographs among the golden images; 0 if photographs must stay private.
        license, data_license: licences of the model and of the training data, as the card states them.
    """

    role: str = "student"
    targets: tuple[str, ...] = ()
    photographs: int = 4
    license: str = UNSTATED
    data_license: str = UNSTATED
