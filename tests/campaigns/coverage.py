"""How often intervals of times hold the truth, over simulated benches and over the rounds of one process."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fixtures.slowness import REACHED, coverage, intervals, relative_width, session_coverage

LEAST = 0.93  # coverage of intervals over sessions


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


def sessions_campaign(benches: int) -> list[dict[str, Any]]:
    """Per number of sessions and memory of a model's own slowness, the coverage of each figure."""
    return [
        {"sessions": sessions, "private": private} | session_coverage(benches, sessions, private)
        for sessions in (3, 5, 10)
        for private in (0.0, 0.5, 0.8)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=600, help="simulated runs of each kind of slowness")
    rounds = parser.parse_args().rounds
    rows = campaign(rounds)
    benches = sessions_campaign(10 * rounds)
    print(json.dumps({"one process": rows, "sessions": benches}, indent=2))
    slack = 1.5 / rounds**0.5  # three standard errors of a share at the most
    moved = any(abs(row["coverage"] - row["was"]) > slack for row in rows)
    low = any(row[name] < LEAST for row in benches for name in ("p50", "p90", "ratio"))
    raise SystemExit(moved or low)


if __name__ == "__main__":
    main()
