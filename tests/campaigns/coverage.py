"""How often the interval of a ratio of medians holds the truth, and how wide it is, over simulated runs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fixtures.slowness import REACHED, coverage, intervals, relative_width


def campaign(rounds: int) -> list[dict[str, Any]]:
    """Per kind of slowness what is found beside what was reached."""
    rows = []
    for shared, private, covered, width in REACHED:
        found = intervals(rounds, shared, private)
        rows.append(
            {
                "shared": shared,
                "private": private,
                "coverage": round(coverage(found), 3),
                "was": covered,
                "width": round(relative_width(found, shared, private), 3),
                "width_was": width,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=600, help="simulated runs of each kind of slowness")
    rounds = parser.parse_args().rounds
    rows = campaign(rounds)
    print(json.dumps(rows, indent=2))
    slack = 1.5 / rounds**0.5  # three standard errors of a share at the most
    raise SystemExit(any(abs(row["coverage"] - row["was"]) > slack for row in rows))


if __name__ == "__main__":
    main()
