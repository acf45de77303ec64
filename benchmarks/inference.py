"""The INT8 student of a run against its FP32 teacher, and against OpenVINO's INT8 of the same student.

    pip install "kdtool[train,openvino]" nncf
    kdtool run PHOTOGRAPHS --out RUN
    python benchmarks/inference.py RUN --out benchmarks/results/inference.json

NNCF quantizes the float student with its own defaults on the calibration images that kdtool's own INT8 was
made with: as many as quantize.calibration_images of the run says, chosen from the training split in the same
way; kdtool's INT8 file runs in both runtimes, which tells the file from the runtime. NNCF is needed by this
script alone. All models are in memory at once and take turns (decision 0031) in each of several runs of one
process; medians of each run, not of all samples together, say how well they repeat; every sample and warm-up
is in the result. Idle machine: nothing else may run.

Targets: median latency of the INT8 student ≤ 0.30 × the FP32 teacher's and ≤ 1.05 × OpenVINO's INT8
student's, in ONNX Runtime and both in OpenVINO, INT8 loses at most half a point of accuracy, medians repeat
within 5 %.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino as ov

from kdtool.benchmark.timing.conditions import Watch, latency_reasons
from kdtool.benchmark.timing.latency import latency_of
from kdtool.core.files import sha256_file, write_json
from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared, open_prepared
from kdtool.machine.host import Host, read_host
from kdtool.machine.packages import versions_of
from kdtool.quant.images import CalibrationImages, calibration_indices
from kdtool.recipe.files import parse_recipe
from kdtool.results.bench import Latency
from kdtool.results.paired import mean, seeds_interval
from kdtool.results.statistics import (
    BoolArray,
    difference_bootstrap,
    mcnemar_exact,
    wilson,
)
from kdtool.runs.folder import RunFolder
from kdtool.runtime import load_runtime
from kdtool.runtime.classify import Classified, logits_of
from kdtool.runtime.onnxbytes.declared import onnx_info
from kdtool.runtime.openvino import compile_model
from kdtool.runtime.session import Session
from kdtool.runtime.turns import Plan, measure

TEACHER, STUDENT, OURS, THEIRS = "teacher", "student", "student-int8", "student-int8 (NNCF, OpenVINO)"
OPENVINO, OURS_OPENVINO = "student@openvino", "student-int8@openvino"
LATENCY_TO_TEACHER, LATENCY_TO_OPENVINO, DROP, REPEATS_WITHIN = 0.30, 1.05, 0.5, 0.05


def nncf_int8(path: Path, prepared: Prepared, images: int) -> Any:
    """OpenVINO's own INT8 of a float ONNX file, calibrated on what `kdtool quantize` takes, in its order.

    Args:
        images: how many, quantize.calibration_images of the run.
    """
    info = onnx_info(path)
    assert info is not None
    split = prepared.split("train")
    chosen = calibration_indices(split.labels, images, int(prepared.digest[:8], 16))
    calibration = list(CalibrationImages(split.images, chosen, info.preprocess))
    model = ov.Core().read_model(model=path.read_bytes())
    return nncf.quantize(model, nncf.Dataset(calibration), subset_size=len(calibration))


def sessions_of(run: RunFolder, prepared: Prepared, threads: int, images: int) -> dict[str, Session]:
    """Every model that is compared, open."""
    student = run.onnx_model("student")
    ours, openvino = load_runtime(), load_runtime("openvino")
    theirs = nncf_int8(student, prepared, images)
    return {
        TEACHER: ours.open_model(run.onnx_model("teacher"), threads),
        STUDENT: ours.open_model(student, threads),
        OURS: ours.open_model(run.onnx_model("student", "int8"), threads),
        OPENVINO: openvino.open_model(student, threads),
        OURS_OPENVINO: openvino.open_model(run.onnx_model("student", "int8"), threads),
        THEIRS: compile_model(theirs, student, onnx_info(student), threads),
    }


def require_own_kind(session: Session, host: Host) -> None:
    """Exit where our INT8 was made for another kind of processor: its time here would be nobody's."""
    made_for = session.info.notes.get("target") if session.info else None
    if made_for not in (None, host.int8_target):
        raise SystemExit(
            f"{session.path} was made for {made_for}, this machine is {host.int8_target}: "
            f"kdtool quantize {session.path.parent.parent} --target {host.int8_target}"
        )


def correct_of(session: Session, prepared: Prepared) -> BoolArray:
    """Whether each test image is answered rightly."""
    split, info = prepared.split("test"), session.info
    assert info is not None
    logits = logits_of(session, split.images, info.preprocess, len(info.classes))
    return Classified.of(logits).correct(split.labels)


def accuracies(correct: Mapping[str, BoolArray]) -> dict[str, Any]:
    """Top-1 of each, and what each INT8 loses against the float student, paired."""
    found: dict[str, Any] = {}
    for name, right in correct.items():
        found[name] = {
            "accuracy": float(right.mean()),
            "accuracy_95": wilson(int(right.sum()), len(right)),
            "images": len(right),
        }
    for name in (OURS, THEIRS, OURS_OPENVINO):
        low, high = difference_bootstrap(correct[name], correct[STUDENT])
        alone = int((correct[name] & ~correct[STUDENT]).sum()), int((correct[STUDENT] & ~correct[name]).sum())
        lost = 100 * (found[STUDENT]["accuracy"] - found[name]["accuracy"])
        found[name] |= {
            "drop_points": lost,
            "drop_points_95": (-100 * high, -100 * low),
            "mcnemar_p": mcnemar_exact(*alone),
        }
    return found


def one_run(
    sessions: Mapping[str, Session], image: Mapping[str, FloatArray], plan: Plan, watch: Watch
) -> Any:
    """Samples of every model, taken in turns."""
    timed = measure(list(sessions.values()), [image[name] for name in sessions], plan, QUIET, watch.look)
    return {
        name: latency_of(one, session.threads)
        for (name, session), one in zip(sessions.items(), timed, strict=True)
    }


def raw(latency: Latency) -> dict[str, Any]:
    """Milliseconds of one model in one run: all samples in their order, and the warm-ups before them."""
    return {
        "samples_ms": [round(sample, 4) for sample in latency.samples],
        "warmup_ms": [round(sample, 4) for sample in latency.warmup],
        "p50_ms": latency.p50,
        "p50_95": latency.p50_ci,
    }


def ratio(runs: Sequence[Mapping[str, Latency]], name: str, base: str) -> dict[str, Any]:
    """Of medians: of each run, their mean, and its interval over runs, as over seeds elsewhere.

    An interval over all rounds would hold nothing of what minutes change, and would be far too narrow.
    """
    each = [run[name].p50 / run[base].p50 for run in runs]
    return {"of": name, "to": base, "ratio": mean(each), "ratio_95": seeds_interval(each), "each_run": each}


def _within(found: Mapping[str, Any], limit: float) -> bool:
    """The whole interval is."""
    return bool(found["ratio_95"][1] <= limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=5, help="runs, 2 at least")
    parser.add_argument("--samples", type=int, default=100, help="of each model in each run, 64 at least")
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0, help="each run takes at least this long")
    parser.add_argument("--threads", type=int, default=0, help="0: every processor")
    options = parser.parse_args()
    nncf.set_log_level(logging.ERROR)
    run = RunFolder(options.run)
    prepared = open_prepared(run.data)
    recipe = parse_recipe(run.read_record()["recipe"], str(run.record))
    host, watch = read_host(), Watch()
    with ExitStack() as stack:
        sessions = sessions_of(run, prepared, options.threads, recipe.quantize.calibration_images)
        for session in sessions.values():
            stack.callback(session.close)
        require_own_kind(sessions[OURS], host)
        correct = {name: correct_of(session, prepared) for name, session in sessions.items()}
        first = np.asarray(prepared.split("test").images[:1])
        image = {
            name: session.info.preprocess.normalize(first)
            for name, session in sessions.items()
            if session.info
        }
        plan = Plan(options.warmup, options.samples, options.seconds)
        runs = [one_run(sessions, image, plan, watch) for _ in range(options.repeats)]
    watch.end()
    medians = {name: [one[name].p50 for one in runs] for name in sessions}
    spread = {
        name: (max(values) - min(values)) / float(np.median(values)) for name, values in medians.items()
    }
    to_teacher, to_openvino = ratio(runs, OURS, TEACHER), ratio(runs, OURS, THEIRS)
    same_runtime = ratio(runs, OURS_OPENVINO, THEIRS)
    quality = accuracies(correct)
    result = {
        "host": {
            "processor": host.processor, "flags": host.flags, "int8_target": host.int8_target,
            "usable": host.usable,
            "governor": host.governor, "os": host.os,
            "versions": dict(host.versions) | versions_of(("openvino", "nncf")),
        },
        "protocol": {
            "threads": next(iter(sessions.values())).threads, "repeats": options.repeats,
            "samples_each": [len(one[TEACHER].samples) for one in runs], "warmup": options.warmup,
            "calibration_images": recipe.quantize.calibration_images,
            "interleaved": "orders of Williams' design, each with its mirror image",
            "side": prepared.preprocess.size,
        },
        "files": {path.name: sha256_file(path) for path in sorted(run.onnx.glob("*.onnx"))},
        "accuracy": quality,
        "p50_ms": medians,
        "p50_spread": spread,
        "runs": [{name: raw(latency) for name, latency in one.items()} for one in runs],
        "ratios": [
            to_teacher, to_openvino, ratio(runs, STUDENT, TEACHER), ratio(runs, THEIRS, TEACHER),
            ratio(runs, OPENVINO, STUDENT), same_runtime,
        ],
        "targets": {
            f"INT8 student / FP32 teacher <= {LATENCY_TO_TEACHER}": _within(to_teacher, LATENCY_TO_TEACHER),
            f"INT8 student / OpenVINO's <= {LATENCY_TO_OPENVINO}": _within(to_openvino, LATENCY_TO_OPENVINO),
            f"both in OpenVINO <= {LATENCY_TO_OPENVINO}": _within(same_runtime, LATENCY_TO_OPENVINO),
            f"INT8 loses at most {DROP} points": quality[OURS]["drop_points"] <= DROP,
            f"p50 repeats within {REPEATS_WITHIN:.0%}": max(spread.values()) <= REPEATS_WITHIN,
        },
        "unstable": [
            *watch.reasons(host),
            *latency_reasons([pair for one in runs for pair in one.items()]),
        ],
        "void": watch.void(),
    }  # fmt: skip
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
