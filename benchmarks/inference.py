"""Compare the INT8 student of a run with its FP32 teacher, and with OpenVINO's INT8 of the same student.

    pip install "kdtool[train,openvino]" nncf
    kdtool run PHOTOGRAPHS --out RUN
    python benchmarks/inference.py RUN --out benchmarks/results/inference.json

NNCF quantizes the float student with its own defaults, on the calibration images of kdtool's INT8 file: as
many as quantize.calibration_images of the run, chosen from the training split in the same way. kdtool's INT8
file runs in both runtimes, which separates the effect of the file from that of the runtime. Only this script
needs NNCF. All models are in memory at once and take turns (decision 0031) in each of several runs of one
process. The medians of the runs, not of all samples together, show how well they repeat. Every sample and
warm-up is in the result. Run the script on an idle machine, with nothing else running.

Targets: the median latency of the INT8 student is ≤ 0.30 × that of the FP32 teacher. It is ≤ 1.05 × that of
OpenVINO's INT8 student, with kdtool's file in ONNX Runtime and in OpenVINO. INT8 loses at most half a
percentage point of accuracy. Medians repeat within 5 %.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any

import nncf
import numpy as np
import openvino as ov

from kdtool.benchmark.timing.conditions import Watch, latency_reasons
from kdtool.benchmark.timing.latency import latency_of
from kdtool.compare.paired import seeds_interval
from kdtool.core.files import sha256_file, write_json
from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared, open_prepared
from kdtool.machine.host import Host, read_host
from kdtool.machine.packages import versions_of
from kdtool.quant.images import CalibrationImages, calibration_indices
from kdtool.recipe.files import parse_recipe
from kdtool.results.bench import Latency
from kdtool.results.statistics.accuracy import difference_bootstrap, mcnemar_exact, wilson
from kdtool.results.statistics.estimate import BoolArray
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
    """Quantize a float ONNX file with NNCF, calibrated on the images of `kdtool quantize`, in its order.

    Args:
        images: number of images, quantize.calibration_images of the run.
    """
    info = onnx_info(path)
    assert info is not None
    split = prepared.split("train")
    chosen = calibration_indices(split.labels, images, int(prepared.digest[:8], 16))
    calibration = list(CalibrationImages(split.images, chosen, info.preprocess))
    model = ov.Core().read_model(model=path.read_bytes())
    return nncf.quantize(model, nncf.Dataset(calibration), subset_size=len(calibration))


def sessions_of(run: RunFolder, prepared: Prepared, threads: int, images: int) -> dict[str, Session]:
    """Open every model that is compared."""
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
    """Exit if our INT8 file was made for another kind of processor: its time here would mean nothing."""
    made_for = session.info.notes.get("target") if session.info else None
    if made_for not in (None, host.int8_target):
        raise SystemExit(
            f"{session.path} was made for {made_for}, this machine is {host.int8_target}. Make it again: "
            f"kdtool quantize {session.path.parent.parent} --target {host.int8_target}"
        )


def correct_of(session: Session, prepared: Prepared) -> BoolArray:
    """Return for each test image whether it is classified correctly."""
    split, info = prepared.split("test"), session.info
    assert info is not None
    logits = logits_of(session, split.images, info.preprocess, len(info.classes))
    return Classified.of(logits).correct(split.labels)


def accuracies(correct: Mapping[str, BoolArray]) -> dict[str, Any]:
    """Compute the top-1 of each model, and what each INT8 model loses against the float student, paired."""
    entries: dict[str, Any] = {}
    for name, hits in correct.items():
        entries[name] = {
            "accuracy": float(hits.mean()),
            "accuracy_95": wilson(int(hits.sum()), len(hits)),
            "images": len(hits),
        }
    for name in (OURS, THEIRS, OURS_OPENVINO):
        low, high = difference_bootstrap(correct[name], correct[STUDENT])
        only = int((correct[name] & ~correct[STUDENT]).sum()), int((correct[STUDENT] & ~correct[name]).sum())
        lost = 100 * (entries[STUDENT]["accuracy"] - entries[name]["accuracy"])
        entries[name] |= {
            "drop_points": lost,
            "drop_points_95": (-100 * high, -100 * low),
            "mcnemar_p": mcnemar_exact(*only),
        }
    return entries


def one_run(
    sessions: Mapping[str, Session], image: Mapping[str, FloatArray], plan: Plan, watch: Watch
) -> Any:
    """Measure every model, in turns."""
    timed = measure(list(sessions.values()), [image[name] for name in sessions], plan, QUIET, watch.look)
    return {
        name: latency_of([series], session.threads)
        for (name, session), series in zip(sessions.items(), timed, strict=True)
    }


def raw(latency: Latency) -> dict[str, Any]:
    """Return the milliseconds of one model in one run: all samples in their order, and the warm-up."""
    return {
        "samples_ms": [round(sample, 4) for sample in latency.samples],
        "warmup_ms": [round(sample, 4) for sample in latency.warmup],
        "p50_ms": latency.p50,
    }


def ratio(runs: Sequence[Mapping[str, Latency]], name: str, base: str) -> dict[str, Any]:
    """Compute the ratio of medians in each run, their mean, and its interval over runs.

    An interval over all rounds would not contain the changes of the machine from one minute to the next, and
    would be far too narrow.
    """
    ratios = [run[name].p50 / run[base].p50 for run in runs]
    return {
        "of": name,
        "to": base,
        "ratio": fmean(ratios),
        "ratio_95": seeds_interval(ratios),
        "each_run": ratios,
    }


def _within(compared: Mapping[str, Any], limit: float) -> bool:
    """Tell whether the whole interval of a `ratio` is within `limit`."""
    return bool(compared["ratio_95"][1] <= limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=5, help="number of runs, at least 2")
    parser.add_argument(
        "--samples", type=int, default=100, help="samples of each model in each run, at least 64"
    )
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0, help="each run takes at least this long")
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the runtimes; 0 is every processor"
    )
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
    medians = {name: [latencies[name].p50 for latencies in runs] for name in sessions}
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
            "samples_each": [len(latencies[TEACHER].samples) for latencies in runs], "warmup": options.warmup,
            "calibration_images": recipe.quantize.calibration_images,
            "interleaved": "orders of Williams' design, each with its mirror image",
            "side": prepared.preprocess.size,
        },
        "files": {path.name: sha256_file(path) for path in sorted(run.onnx.glob("*.onnx"))},
        "accuracy": quality,
        "p50_ms": medians,
        "p50_spread": spread,
        "runs": [{name: raw(latency) for name, latency in latencies.items()} for latencies in runs],
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
            *latency_reasons([pair for latencies in runs for pair in latencies.items()]),
        ],
        "void": watch.void(),
    }  # fmt: skip
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
