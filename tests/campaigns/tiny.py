"""The whole pipeline on a tiny network and a few pictures, in processes that can be killed.

Each runs in a fork of this process, which has imported torch already, so that a round costs no import.
"""

from __future__ import annotations

import csv
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from fixtures.images import PATTERNS, SPLITS, coloured, write_photographs
from kdtool.cli import main
from kdtool.core.files import sha256_bytes, sha256_file
from kdtool.train.loop import fit

ARCH = "timm/test_resnet"
SHARED = (f"arch={ARCH}", "epochs=2", "patience=0", "batch_size=12", "lr=0.01")
FIELDS = (
    "data.size=32",
    "teacher.weights=none",
    "quantize.max_drop=100",
    *(
        f"bench.{field}"
        for field in ("seconds=0", "runs=64", "cold_starts=0", "batch=0", "single_thread=false")
    ),
    "student.ema=0.5",
    "student.augment.flip=true",
    "student.augment.crop=0.6",  # views are cut from whole photographs
    "teacher.size=40",  # the photographs at two sizes
    "student.answers=float16",  # stored, though each of so few views is seen once
    *(f"{role}.{field}" for role in ("teacher", "student") for field in SHARED),
)
TIMED = {"bench.json", "report.html", ".lock"}  # hold times or the machine's state


def photographs(root: Path, side: int = 32) -> Path:
    """A few pictures of each class and split, as BMP: every byte of a pixel is a byte of the file."""
    return write_photographs(
        root, PATTERNS, SPLITS, lambda label, seed: coloured(label, [label, seed], side, side), "{}.bmp"
    )


def arguments(command: str, source: Path, out: Path) -> list[str]:
    """`command` is run or distill; the baseline belongs to it."""
    fields = [part for field in FIELDS for part in ("--set", field)]
    return [command, str(source), "--out", str(out), "--baseline", *fields]


def start(words: Sequence[str], log: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """The process id of a fork that runs `kdtool WORDS` after `prepare()`; it checkpoints in every step."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        with log.open("ab") as stream:
            for descriptor in (1, 2):
                os.dup2(stream.fileno(), descriptor)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        fit.CHECKPOINT_SECONDS = 0.0
        prepare()
        main(list(words))
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
    raise AssertionError


def wait(child: int) -> int:
    """The exit code of a process; −9 where it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ended(child: int) -> bool:
    """Whether a process is done, without asking for its exit code."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def complete(words: Sequence[str], log: Path, prepare: Callable[[], None] = lambda: None) -> None:
    """Run to the end, undisturbed."""
    code = wait(start(words, log, prepare))
    if code:
        raise SystemExit(f"kdtool {' '.join(words)} left with {code}; see {log}")


def fingerprint(out: Path) -> dict[str, str]:
    """Name → hash of every file of a run that is a function of its inputs; of histories without times."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or path.name in TIMED or "manifest" in path.name or "checkpoints/" in name:
            continue
        if path.name == "history.csv":
            with path.open(encoding="utf-8", newline="") as stream:
                rows = [row[:6] for row in csv.reader(stream)]
            found[name] = sha256_bytes(repr(rows).encode())
        else:
            found[name] = sha256_file(path)
    return found


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
