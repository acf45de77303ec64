"""SIGKILL at any moment, then the same command: the files of a run that was never killed.

python -m campaigns.kill --rounds 500
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from campaigns.operations import intercept
from campaigns.tiny import arguments, complete, differences, ended, fingerprint, photographs, start, wait

AHEAD = 30  # a process is killed at one of its next so many operations
GIVE_UP = 60  # kills of one run, so that the campaign sees many beginnings


def campaign(rounds: int, command: str, seed: int, folder: Path) -> dict[str, Any]:
    """Kill `rounds` processes, in turn by the clock and at an operation; compare every run that ends."""
    chance = random.Random(seed)
    source, log = photographs(folder / "photographs"), folder / "log.txt"
    started = time.monotonic()
    complete(arguments(command, source, folder / "reference"), log)
    whole = time.monotonic() - started
    reference = fingerprint(folder / "reference")
    out = folder / "killed"
    points: Counter[str] = Counter()
    runs, kills, of_this_run, lost = 0, 0, 0, []
    words = arguments(command, source, out)
    while kills < rounds:
        if of_this_run < GIVE_UP and _kill_one(words, log, out, chance, whole, points):
            kills, of_this_run = kills + 1, of_this_run + 1
            continue
        complete(words, log)  # nothing more to do where the process had ended before it was to be killed
        lost += differences(reference, fingerprint(out))
        runs, of_this_run = runs + 1, 0
        shutil.rmtree(out)
    if of_this_run:
        complete(words, log)
        lost += differences(reference, fingerprint(out))
        runs += 1
    return {
        "command": f"kdtool {command}", "seed": seed, "kills": kills, "runs_completed": runs,
        "files_compared_a_run": len(reference), "different": lost, "killed_at": dict(points.most_common()),
    }  # fmt: skip


def _kill_one(
    words: list[str], log: Path, out: Path, chance: random.Random, whole: float, points: Counter[str]
) -> bool:
    """Start a process and kill it; False where it was done before that."""
    place = out.parent / "point.txt"
    place.write_text("at any time")
    if chance.random() < 0.5:
        child = start(words, log)
        moment = time.monotonic() + chance.uniform(0, whole)
        while time.monotonic() < moment and not ended(child):
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)  # a process that has ended waits to be asked for its code
    else:
        side, number = chance.choice(("before", "after")), chance.randint(1, AHEAD)
        child = start(words, log, lambda: _kill_self(out, side, number, place))
    code = wait(child)
    if code == -signal.SIGKILL:
        points[place.read_text()] += 1
        return True
    if code:
        raise SystemExit(f"kdtool left with {code}; see {log}")
    return False


def _kill_self(out: Path, side: str, number: int, place: Path) -> None:
    """Die at operation `number`, having said where."""
    seen = 0

    def count(operation: str, name: str) -> None:
        nonlocal seen
        seen += name != ".lock"  # written piece by piece, by every process
        if seen == number:
            descriptor = os.open(place, os.O_WRONLY | os.O_TRUNC)
            os.write(descriptor, f"{side} {operation} {name}".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def ignore(operation: str, name: str) -> None:
        pass

    intercept(out, *((count, ignore) if side == "before" else (ignore, count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--command", choices=("run", "distill"), default="run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kdtool-kill-") as folder:
        result = campaign(options.rounds, options.command, options.seed, Path(folder))
    print(json.dumps(result, indent=2))
    raise SystemExit(1 if result["different"] else 0)


if __name__ == "__main__":
    main()
