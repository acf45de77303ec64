"""What the user of `kdtool bundle` may choose."""

from __future__ import annotations

from dataclasses import dataclass

UNSTATED = "not stated; state it before you publish"


@dataclass(frozen=True)
class Options:
    """Attributes:
    role: teacher, student or baseline.
    targets: kinds of app that must load a file; none named: all are examined, none is required.
    photographs: test photographs among the golden images; 0 where they must not leave the house.
    license, data_license: as the card shall state them.
    """

    role: str = "student"
    targets: tuple[str, ...] = ()
    photographs: int = 4
    license: str = UNSTATED
    data_license: str = UNSTATED
