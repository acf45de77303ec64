"""Small wrong changes to the package, each of which some test must catch; prints those that survive.

A copy of the package is changed in one place, and the tests named beside the change run on the copy, in a
process of their own. The tests run once on an unchanged copy first, so that a failure means something.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from campaigns.mutations import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
TESTS, TOOLCHAIN, RECIPES = ROOT / "tests", "toolchain", "models"
PACKAGE = ROOT / TOOLCHAIN / "kdtool"
# What tests import and mutants never touch: loaded once, each process begins as a fork that has them.
PRELOADED = [
    "torch", "torchvision.transforms.v2", "timm", "accelerate", "onnx", "onnxruntime.quantization",
    "scipy.stats", "hypothesis.extra.numpy", "pydantic", "click", "rich.progress", "pytest",
    "safetensors.torch",
]  # fmt: skip
SECONDS = 300  # of a mutant; one that hangs a test is caught


@dataclass(frozen=True)
class Outcome:
    """What the tests said: pytest's exit code, the last lines that it printed, and how long it took."""

    code: int
    printed: str
    seconds: float

    @property
    def verdict(self) -> str:
        return {0: "survived", 1: "caught"}.get(self.code, f"error {self.code}")

    @property
    def by(self) -> str:
        """The first test that failed."""
        failed = [line for line in self.printed.splitlines() if line.startswith("FAILED ")]
        return failed[0].split()[1].rpartition("/")[2] if failed else ""


def mutated(mutant: Mutant) -> str:
    """The file with the change.

    Raises:
        ValueError: what is to be changed does not stand in the file exactly once.
    """
    text = (PACKAGE / mutant.file).read_text("utf-8")
    found = text.count(mutant.right)
    if found != 1:
        raise ValueError(f"{mutant.file}: {mutant.right!r} stands there {found} times, not once")
    return text.replace(mutant.right, mutant.wrong)


def run(mutant: Mutant | None, tests: tuple[str, ...]) -> Outcome:
    """Run `tests`, files under tests/, on a copy of the package with `mutant`, or without any."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kdtool-mutant-") as name:
        folder = Path(name)
        package = shutil.copytree(PACKAGE, folder / TOOLCHAIN / "kdtool")
        (folder / RECIPES).symlink_to(ROOT / RECIPES)
        if mutant is not None:
            changed = package / mutant.file
            changed.write_text(mutated(mutant), "utf-8")
            for stale in (changed.parent / "__pycache__").glob(f"{changed.stem}.*.pyc"):
                stale.unlink()
        code = _pytest(folder, tests)
        printed = (folder / "printed").read_text("utf-8", "replace")
    return Outcome(code, printed, time.monotonic() - started)


def _pytest(folder: Path, tests: tuple[str, ...]) -> int:
    """pytest in this process, which nothing else will use."""
    import pytest

    paths = [str(folder / TOOLCHAIN), str(TESTS)]
    sys.path[:0] = paths
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(paths),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "printed").open("wb") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", f"--basetemp={folder / 'tmp'}"]
    code = int(pytest.main([*options, *(str(TESTS / test) for test in tests)]))
    signal.alarm(0)
    sys.stdout.flush()
    import kdtool

    assert Path(kdtool.__file__).is_relative_to(folder), f"the tests ran on {kdtool.__file__}"
    return code


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"still not done after {SECONDS} s")


def campaign(mutants: list[Mutant], jobs: int, tell: Callable[[str], None]) -> dict[Mutant, Outcome]:
    """What becomes of each; the tests must pass without any.

    Raises:
        SystemExit: a fragment is not there, or the tests fail as it is.
    """
    for mutant in mutants:
        mutated(mutant)
    files = sorted({test for mutant in mutants for test in mutant.tests})
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        unchanged = {pool.submit(run, None, (file,)): file for file in files}
        for future in as_completed(unchanged):
            if future.result().code:
                raise SystemExit(f"{unchanged[future]} fails without any change:\n{future.result().printed}")
            tell(f"passes    {future.result().seconds:5.1f} s  {unchanged[future]}")
        waiting = {pool.submit(run, mutant, mutant.tests): mutant for mutant in mutants}
        outcomes = {}
        for future in as_completed(waiting):
            mutant, outcome = waiting[future], future.result()
            outcomes[mutant] = outcome
            tell(f"{outcome.verdict:9} {outcome.seconds:5.1f} s  {mutant}  {outcome.by}")
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--only", default="", help="mutants that this regular expression finds")
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if re.search(options.only, str(mutant))]
    started = time.monotonic()
    outcomes = campaign(chosen, options.jobs, lambda line: print(line, flush=True))
    print(f"\n{'area':14} mutants  caught")
    for area in sorted({mutant.file.split("/")[0] for mutant in chosen}):
        verdicts = [outcomes[mutant].verdict for mutant in chosen if mutant.file.split("/")[0] == area]
        print(f"{area:14} {len(verdicts):7}  {verdicts.count('caught'):6}")
    lived = [mutant for mutant in chosen if outcomes[mutant].verdict != "caught"]
    print(
        f"\n{len(chosen)} mutants, {len(chosen) - len(lived)} caught, in {time.monotonic() - started:.0f} s"
    )
    for mutant in lived:
        print(f"{outcomes[mutant].verdict}: {mutant}")
    raise SystemExit(bool(lived))


if __name__ == "__main__":
    main()
