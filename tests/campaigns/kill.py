"""SIGKILL at any moment, then the same command: the files of a run that was never killed.

python -m campaigns.kill --rounds 500
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.operations import Before, intercept
from campaigns.tiny import arguments, complete, differences, ended, fingerprint, photographs, start, wait

GIVE_UP = 60  # kills of one run at random times, so that the campaign sees many beginnings
STEP = re.compile(r"\d{5}-\d{7}")  # a checkpoint's epoch and step: one kind of point, whichever it is


@dataclass
class _Campaign:
    """One run after another in `out`, killed and gone on with; each that ends is compared."""

    words: Sequence[str]
    out: Path
    log: Path
    reference: dict[str, str]
    killed_at: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    different: list[str] = field(default_factory=list)

    def kill(self, prepare: Callable[[], None], disturb: Callable[[int], None], where: str) -> bool:
        """Start a process that is to be killed; False where it was done before that, and its run is over."""
        child = start(self.words, self.log, prepare)
        disturb(child)
        code = wait(child)
        if code == -signal.SIGKILL:
            self.killed_at[where] += 1
            if self.killed_at.total() % 50 == 0:
                print(f"{self.killed_at.total()} kills, {self.runs} runs", file=sys.stderr, flush=True)
            return True
        if code:
            raise SystemExit(f"kdtool left with {code}; see {self.log}")
        self.end()
        return False

    def end(self) -> None:
        """Let the run come to its end, compare it and make room for the next."""
        complete(self.words, self.log)
        self.different += differences(self.reference, fingerprint(self.out))
        self.runs += 1
        shutil.rmtree(self.out)


def campaign(rounds: int, command: str, seed: int, folder: Path) -> dict[str, Any]:
    """Kill `rounds` processes: first before and after each kind of durable operation, then at any time.

    Where there are more points than two thirds of `rounds`, so many of them are taken, evenly spread.
    """
    chance = random.Random(seed)
    source, log, told = photographs(folder / "photographs"), folder / "log.txt", folder / "points.txt"
    started = time.monotonic()
    complete(arguments(command, source, folder / "reference"), log, lambda: _tell(folder / "reference", told))
    whole = time.monotonic() - started
    out = folder / "killed"
    every = list(dict.fromkeys(told.read_text().splitlines()))
    wanted = min(len(every), -(-2 * rounds // 3))
    chosen = [every[index * len(every) // wanted] for index in range(wanted)]
    state = _Campaign(arguments(command, source, out), out, log, fingerprint(folder / "reference"))
    # In the order in which they are met, so that one run is killed at many; one that has gone past a
    # point, since a killed process had done more than it said, is met by the next run.
    missed = [point for point in chosen if not any(_kill_at(state, point) for _ in range(2))]
    of_this_run = 0
    while state.killed_at.total() < rounds:
        alive = of_this_run < GIVE_UP and _kill_within(state, chance.uniform(0, whole))
        of_this_run = of_this_run + 1 if alive else 0
        if not alive and out.exists():
            state.end()
    if out.exists():
        state.end()
    return {
        "command": f"kdtool {command}", "seed": seed, "kills": state.killed_at.total(),
        "runs_completed": state.runs, "files_compared_a_run": len(state.reference),
        "different": state.different, "points": len(every), "points_tried": len(chosen),
        "points_never_met": missed, "killed_at": dict(state.killed_at.most_common()),
    }  # fmt: skip


def _kill_within(state: _Campaign, seconds: float) -> bool:
    moment = time.monotonic() + seconds

    def disturb(child: int) -> None:
        while time.monotonic() < moment and not ended(child):
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)  # a process that has ended waits to be asked for its code

    return state.kill(lambda: None, disturb, "any time")


def _kill_at(state: _Campaign, point: str) -> bool:
    """Kill the next process where it first comes to `point`."""

    def die(met: str) -> None:
        if met == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return state.kill(lambda: _watch(state.out, die), lambda _: None, point)


def _tell(out: Path, place: Path) -> None:
    """Write down every point that this process comes to."""
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(point: str) -> None:
        if not point.endswith(" .lock"):  # written piece by piece, by every process
            os.write(descriptor, f"{point}\n".encode())

    _watch(out, tell)


def _watch(out: Path, met: Callable[[str], None]) -> None:
    """Call `met` with each point: before an operation, and after one that did not fail."""

    def on(side: str) -> Before:
        return lambda operation, name: met(f"{side} {operation} {STEP.sub('…', name)}")

    intercept(out, before=on("before"), after=on("after"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--command", choices=("run", "distill"), default="run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kdtool-kill-") as folder:
        result = campaign(options.rounds, options.command, options.seed, Path(folder))
    print(json.dumps(result, indent=2))
    raise SystemExit(1 if result["different"] or result["points_never_met"] else 0)


if __name__ == "__main__":
    main()
