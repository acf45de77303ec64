"""Parameters and MACs of models, from whoever knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kdtool.runtime.session import Session

Cost = tuple[int, int]  # parameters, MACs


def costs_of(
    models: Sequence[tuple[str | None, str | None, Session]], count: Callable[[Path], Cost | None] | None
) -> list[Cost | None]:
    """What each file states; else what its float twin states; else what can be counted.

    Args:
        models: role, precision and session of each.
    """
    stated = [_stated(session) for _, _, session in models]
    twins = {
        role: cost for (role, precision, _), cost in zip(models, stated, strict=True) if precision == "fp32"
    }
    costs = []
    for (role, _, session), own in zip(models, stated, strict=True):
        cost = own or (twins.get(role) if role else None)
        costs.append(count(session.path) if cost is None and count is not None else cost)
    return costs


def _stated(session: Session) -> Cost | None:
    info = session.info
    return (info.params, info.macs) if info is not None and info.params and info.macs else None
