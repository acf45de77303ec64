"""Are the answers of two machines the same? python compare.py HERE.npz THERE.npz BENCH.json PREDICT.json.

Float models must agree to 1e-4 of a logit. INT8 rounds differently where the processor's 8-bit arithmetic
differs (x86 without VNNI saturates, ARM does not): the best class of at most one image in eight may differ.
The bench of an emulated processor must call its latencies void.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

FLOAT_TOLERANCE = 1e-4
INT8_DISAGREEMENT = 1 / 8
EMULATED = "emulated processor"


def main(here: str, there: str, bench: str, predict: str) -> int:
    ours, theirs = np.load(here), np.load(there)
    problems = [] if set(ours) == set(theirs) else [f"models differ: {set(ours) ^ set(theirs)}"]
    for name in sorted(set(ours) & set(theirs) - {"classes"}):
        difference = float(np.abs(ours[name] - theirs[name]).max())
        other = float((ours[name].argmax(1) != theirs[name].argmax(1)).mean())
        print(
            f"{name}: largest difference of a logit {difference:.2e}, another best class {100 * other:.0f} %"
        )
        fine = other <= INT8_DISAGREEMENT if ".int8." in name else difference <= FLOAT_TOLERANCE
        if not fine or not np.isfinite(theirs[name]).all():
            problems.append(f"{name} answers otherwise there")
    if list(ours["classes"]) != list(theirs["classes"]):
        problems.append("the classes differ")
    result = json.loads(Path(bench).read_text("utf-8"))
    machine, void = result["host"]["machine"], result["void"]
    print(f"bench on {machine}: latencies void: {', '.join(void) or 'no'}")
    if machine != "aarch64":
        problems.append(f"that was no ARM: {machine}")
    if EMULATED not in void:
        problems.append(f"bench does not say that latencies of an {EMULATED} are void")
    predictions = json.loads(Path(predict).read_text("utf-8"))
    best = [str(found["classes"][0]["class"]) for found in predictions]
    expected = [str(name) for name in ours["classes"][ours["student.onnx"].argmax(1)]]
    print(f"predict: {sum(map(str.__eq__, best, expected))} of {len(expected)} pictures as here")
    if best != expected:
        problems.append("predict answers otherwise there")
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    print("the same within tolerance" if not problems else "not the same")
    return 6 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
