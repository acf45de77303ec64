"""What a reader of the figures must know: small test splits, noisy clocks, what INT8 models are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdtool.benchmark.candidates import FREE_SIDE, Candidate
from kdtool.machine.cpu import INT8_WORTH_IT
from kdtool.machine.host import Host
from kdtool.results.bench import ModelResult
from kdtool.results.statistics import speedup
from kdtool.results.wording import finetuned_in_words
from kdtool.runtime.session import input_size

WIDE = 0.02  # half an interval of accuracy


def accuracy_notes(models: Sequence[ModelResult]) -> list[str]:
    """About the test images."""
    measured = [model for model in models if model.accuracy_ci is not None]
    if not measured:
        return ["There were no test images: nothing is said of accuracy."]
    widest = max(
        (high - low) / 2 for model in measured if model.accuracy_ci for low, high in [model.accuracy_ci]
    )
    if widest <= WIDE:
        return []
    return [
        f"The test split is small ({measured[0].n_images:,} images): an accuracy is known to "
        f"± {100 * widest:.1f} points."
    ]


def latency_notes(models: Sequence[ModelResult], host: Host) -> list[str]:
    """About the threads, and whether INT8 is worth it on the machine that was measured, and on no other."""
    notes = []
    threads = max((model.latency_ms.threads for model in models), default=0)
    if threads > host.usable:
        notes.append(f"{threads} threads shared the {host.usable} processors this process may use.")
    for model in models:
        twin = _float_twin(model, models)
        if model.precision == "int8" and twin is not None:
            notes += _worth_it(model, twin, host)
    return notes


def _float_twin(model: ModelResult, models: Sequence[ModelResult]) -> ModelResult | None:
    """The float model of the same role, by the same runtime."""
    key = (model.role, model.runtime)
    same = [other for other in models if other.precision == "fp32" and (other.role, other.runtime) == key]
    return same[-1] if same and model.role else None


def _worth_it(model: ModelResult, twin: ModelResult, host: Host) -> list[str]:
    """Of an INT8 model and its float twin."""
    own, other = model.latency_ms, twin.latency_ms
    faster = speedup(own.samples, other.samples)
    low, high = faster.interval
    found = (
        f"On {host}, {model.name} is {faster.value:.2f} × as fast as {twin.name} "
        f"(95 % interval {low:.2f} to {high:.2f}, {own.p50:.2f} against {other.p50:.2f} ms, "
        f"{own.threads} thread{'' if own.threads == 1 else 's'})"
    )
    if model.target not in (None, host.int8_target):
        return [
            f"{found}. It was made for {model.target}: this says nothing of its speed there, nor of that of "
            f"a file made for {host.int8_target}."
        ]
    if low >= INT8_WORTH_IT:
        return []
    return [
        f"{found}, which is not at least {INT8_WORTH_IT:g} × with confidence: on this machine prefer the "
        "float model, unless its size matters."
    ]


def stability_notes(void: Sequence[str], unstable: Sequence[str]) -> list[str]:
    """Whether latencies count at all, and why they may be unstable."""
    notes = []
    if void:
        notes.append(
            f"Latencies are void ({', '.join(void)}): they mean nothing. Measure again on a machine that is "
            "real, cool, and fed by the power supply made for it."
        )
    if unstable:
        notes.append(f"The result may be unstable: {'; '.join(unstable)}.")
    return notes


def start_notes(failures: Mapping[str, str]) -> list[str]:
    """About models that did not start in a process of their own; `failures`: model → why, "" where it did."""
    return [
        f"{name}: cold start and memory are not those of every start ({why})."
        for name, why in failures.items()
        if why
    ]


def target_notes(models: Sequence[ModelResult], host: Host) -> list[str]:
    """About INT8 files that were made for another kind of processor than the one they were measured on."""
    here = host.int8_target
    return [
        f"{model.name} was quantized for {model.target}, this machine is {here}: its accuracy and its speed "
        f"are those on {here} alone. Measure it there, or make it for this one, where it was made: "
        f"kdtool quantize --target {here}"
        for model in models
        if model.target not in (None, here)
    ]


def finetuned_notes(models: Sequence[ModelResult]) -> list[str]:
    """About INT8 models whose weights are not those of the float one."""
    notes = []
    for model in models:
        if model.finetuned:
            twin = _float_twin(model, models)
            float_model = twin.name if twin else "the float model"
            notes.append(finetuned_in_words(model.name, float_model, model.finetuned))
    return notes


def input_notes(candidates: Sequence[Candidate], *, batches: bool) -> list[str]:
    """About inputs with a free side, and with a fixed batch where throughput should be that of `batches`."""
    free = [
        f"The input side of {one.name} is free; its latency was measured at {FREE_SIDE} × {FREE_SIDE}."
        for one in candidates
        if one.images is None and not input_size(one.session) and None in one.session.input_shape[2:]
    ]
    fixed = [
        f"The batch of {one.name} is fixed at 1: its throughput is that of images one after the other."
        for one in candidates
        if batches and one.session.input_shape[0] == 1
    ]
    return free + fixed
