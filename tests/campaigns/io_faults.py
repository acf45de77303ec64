"""Every write, fsync, rename and removal fails once; the same command goes on to the files of a whole run.

python -m campaigns.io_faults
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from campaigns.operations import intercept
from campaigns.tiny import arguments, complete, differences, fingerprint, photographs, start, wait

CODES = (errno.ENOSPC, errno.EIO)
DISK = 5  # the exit code of what is wrong with the surroundings


def campaign(
    command: str, folder: Path, codes: tuple[int, ...] = CODES, rounds: int | None = None
) -> dict[str, Any]:
    """With each error code one run, in which every operation fails when it is met for the first time.

    Args:
        rounds: stop making faults after so many processes with one code, if at all.
    """
    source, log = photographs(folder / "photographs"), folder / "log.txt"
    complete(arguments(command, source, folder / "reference"), log)
    reference = fingerprint(folder / "reference")
    out, failed = folder / "faulty", folder / "failed.txt"
    faults: Counter[str] = Counter()
    lost, misreported = [], []
    for number in codes:
        failed.write_text("")
        made = 0
        while rounds is None or made < rounds:
            before = failed.read_text().count("\n")
            log.write_text("")
            code = wait(start(arguments(command, source, out), log, partial(_fail_once, out, failed, number)))
            new = failed.read_text().splitlines()[before:]
            if not new:
                break
            made += 1
            if made % 50 == 0:
                print(f"{errno.errorcode[number]}: {made} processes failed", file=sys.stderr, flush=True)
            faults.update(f"{errno.errorcode[number]} {place.split()[0]}" for place in new)
            if (code != DISK and code != 0) or "defect of kdtool" in log.read_text():
                misreported.append(f"{errno.errorcode[number]} {', '.join(new)}: exit {code}")
        complete(arguments(command, source, out), log)
        lost += differences(reference, fingerprint(out))
        lost += [path.name for path in out.rglob("*.partial")]
        shutil.rmtree(out)
    return {
        "command": f"kdtool {command}", "faults": sum(faults.values()), "by_kind": dict(faults),
        "files_compared_a_run": len(reference), "different": lost, "misreported": misreported,
    }  # fmt: skip


def _fail_once(out: Path, failed: Path, number: int) -> None:
    """Every operation that has not failed before fails now, and is written down.

    Where the process survives that (a removal that does not matter), or fails again while it tidies up,
    there are several in one process.
    """
    known = set(failed.read_text().splitlines())
    descriptor = os.open(failed, os.O_WRONLY | os.O_APPEND)

    def before(operation: str, name: str) -> None:
        place = f"{operation} {name}"
        if place not in known:
            known.add(place)
            os.write(descriptor, f"{place}\n".encode())
            raise OSError(number, os.strerror(number), name)

    intercept(out, before, lambda operation, name: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", choices=("run", "distill"), default="run")
    parser.add_argument("--rounds", type=int, help="processes that fail, if not until none does")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kdtool-faults-") as folder:
        result = campaign(options.command, Path(folder), rounds=options.rounds)
    print(json.dumps(result, indent=2))
    raise SystemExit(1 if result["different"] or result["misreported"] else 0)


if __name__ == "__main__":
    main()
