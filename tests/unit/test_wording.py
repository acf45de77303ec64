"""The verdict in words, as terminal and report both say it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from kdtool.machine.host import Host
from kdtool.report.verdict import in_words
from kdtool.results.bench import BenchResult, Gain, Latency, ModelResult
from kdtool.results.claim import Judged, Verdict
from kdtool.results.measures import MEASURES
from kdtool.results.wording import result_in_words

HOST = Host("A CPU", "x86_64", (), 4, 4, None, None, None, None, None, None, "Linux")
STUDENT = ModelResult(
    "student", "student", "fp32", None, None, None, None, None, None, None, 1,
    Latency(1.0, 1.0, (1.0,), (), 1), "student.onnx", "",
)  # fmt: skip


def words(verdict: str, gain: Gain | None = None, **changes: Any) -> tuple[str, ...]:
    return result_in_words(result(verdict, gain, **changes))


def result(verdict: str, gain: Gain | None = None, **changes: Any) -> BenchResult:
    values = {
        "verdict": verdict, "retention": 0.95, "retention_ci": (0.93, 0.97), "compute_ratio": 0.495,
        "params_ratio": 0.536, "needed": 1488,
    }  # fmt: skip
    values |= changes
    interval, ratio, needed = values["retention_ci"], values["compute_ratio"], values.pop("needed")
    values.setdefault(
        "bounds",
        (
            Judged(
                "retention", True, 0.94,
                outcome(interval, interval and interval[0] >= 0.94, interval and interval[1] < 0.94),
                values["retention"], interval, needed, "test images",
            ),
            Judged("macs", False, 0.5, outcome(ratio, ratio and ratio < 0.5, ratio and ratio >= 0.5), ratio),
        ),
    )  # fmt: skip
    return BenchResult(HOST, (STUDENT,), Verdict(**values), gain, ())


def outcome(measured: object, inside: object, outside: object) -> str:
    if measured is None:
        return "INCONCLUSIVE"
    return "PASS" if inside else "FAIL" if outside else "INCONCLUSIVE"


def test_a_claim_that_holds() -> None:
    assert words("PASS", retention_ci=(0.941, 0.97))[:3] == (
        "Claimed: at least 94 % of the teacher’s accuracy and at most 50 % of the teacher’s compute.",
        "Measured: the student has 95 % of the teacher’s accuracy (95 % interval 94.1 % to 97 %), 49.5 % of "
        "the teacher’s compute and 53.6 % of the teacher’s parameters.",
        "Even at the lower end of its interval, 94.1 %, the retention is at least 94 %; the compute relative "
        "to the teacher’s, 49.5 %, is at most 50 %. Chance is an unlikely explanation.",
    )


def test_a_claim_that_does_not_hold_says_each_reason() -> None:
    low = words("FAIL", retention_ci=(0.9, 0.93))[2]
    assert low == "Even at the upper end of its interval, 93 %, the retention is under 94 %."
    both = words("FAIL", retention_ci=(0.9, 0.93), compute_ratio=0.61)[2]
    assert both == (
        "Even at the upper end of its interval, 93 %, the retention is under 94 %; the compute relative to "
        "the teacher’s, 61 %, is over 50 %."
    )
    by_a_hair = words("FAIL", compute_ratio=0.5)[2]  # over by less than a float can show
    assert by_a_hair == (
        "The compute relative to the teacher’s, 50 %, is over 50 %, by less than these digits show."
    )


def test_a_claim_that_is_not_decided_says_what_would_decide_it() -> None:
    assert words("INCONCLUSIVE")[2] == (
        "The interval of the retention, 93 % to 97 %, contains the limit of 94 %: the student may be on "
        "either side of the limit. About 1,488 test images would decide it, if the retention does not change."
    )
    assert words("INCONCLUSIVE", needed=None)[2].endswith(
        "The retention is too close to the limit: more test images would not decide it."
    )
    once = Judged("p50_ms", False, 3.0, "INCONCLUSIVE", 2.5)
    assert words("INCONCLUSIVE", bounds=(once,))[-2] == (
        "The median latency, 2.5 ms, was measured in one session, which does not show how sessions differ; "
        "several decide: kdtool bench --sessions 5."
    )
    unknown = dict.fromkeys(("retention", "retention_ci", "compute_ratio"))
    assert words("INCONCLUSIVE", **unknown)[2] == (
        "The retention is not known; its measurement needs the predictions of both models for the "
        "same test images, some of which the teacher classifies correctly. The compute relative to the "
        "teacher’s is not known; its measurement needs the multiply–accumulates of both models."
    )


@dataclass(frozen=True)
class Said:
    """A bound that passes, and the words of its measure: `phrase` around an amount, its name, its amounts."""

    bound: Judged
    phrase: str
    noun: str
    limit: str
    value: str
    low: str = ""
    high: str = ""
    interval: str = ""
    measured: str = ""  # with the interval, if not as `phrase`


SAID = {
    "retention": Said(
        Judged("retention", True, 0.94, "PASS", 0.97, (0.95, 0.99), None, "test images"),
        "{} of the teacher’s accuracy", "retention", "94 %", "97 %", "95 %", "99 %", "95 % to 99 %",
    ),
    "accuracy": Said(
        Judged("accuracy", True, 0.9, "PASS", 0.92, (0.905, 0.93), None, "test images"),
        "a top-1 accuracy of {}", "top-1 accuracy", "90 %", "92 %", "90.5 %", "93 %", "90.5 % to 93 %",
    ),
    "balanced_accuracy": Said(
        Judged("balanced_accuracy", True, 0.8, "PASS", 0.85, (0.82, 0.88), None, "test images"),
        "a balanced accuracy of {}", "balanced accuracy", "80 %", "85 %", "82 %", "88 %", "82 % to 88 %",
    ),
    "macro_f1": Said(
        Judged("macro_f1", True, 0.8, "PASS", 0.85, (0.82, 0.88), None, "test images"),
        "a macro-F1 of {}", "macro-F1", "80 %", "85 %", "82 %", "88 %", "82 % to 88 %",
    ),
    "drop": Said(
        Judged("drop", False, 1.0, "PASS", -0.5, (-1.5, 0.75), None, "test images"),
        "a drop of {} from the teacher’s accuracy", "drop in accuracy", "1 percentage point",
        "-0.5 percentage points", "-1.5 percentage points", "0.75 percentage points",
        "-1.5 to 0.75 percentage points",
        "a gain of 0.5 percentage points over the teacher’s accuracy (95 % interval of the drop in accuracy "
        "-1.5 to 0.75 percentage points)",
    ),
    "macs": Said(
        Judged("macs", False, 0.5, "PASS", 0.25),
        "{} of the teacher’s compute", "compute relative to the teacher’s", "50 %", "25 %",
    ),
    "params": Said(
        Judged("params", False, 0.3, "PASS", 0.25),
        "{} of the teacher’s parameters", "number of parameters relative to the teacher’s", "30 %", "25 %",
    ),
    "size": Said(
        Judged("size", False, 0.3, "PASS", 0.25),
        "{} of the teacher’s file size", "file size relative to the teacher’s", "30 %", "25 %",
    ),
    "size_mb": Said(
        Judged("size_mb", False, 20.0, "PASS", 11.3), "a file size of {}", "file size", "20 MB", "11.3 MB"
    ),
    "latency": Said(
        Judged("latency", False, 0.3, "PASS", 0.28, (0.27, 0.29), None, "latency samples"),
        "{} of the teacher’s median latency", "median latency relative to the teacher’s",
        "30 %", "28 %", "27 %", "29 %", "27 % to 29 %",
    ),
    "p50_ms": Said(
        Judged("p50_ms", False, 9.0, "PASS", 8.25, (8.0, 8.5), None, "latency samples"),
        "a median latency of {}", "median latency", "9 ms", "8.25 ms", "8 ms", "8.5 ms", "8 to 8.5 ms",
    ),
    "p90_ms": Said(
        Judged("p90_ms", False, 11.0, "PASS", 10.2, (10.0, 10.5), None, "latency samples"),
        "a 90th-percentile latency of {}", "90th-percentile latency",
        "11 ms", "10.2 ms", "10 ms", "10.5 ms", "10 to 10.5 ms",
    ),
    "p99_ms": Said(
        Judged("p99_ms", False, 1500.0, "PASS", 1234.0, (1200.0, 1300.0), None, "latency samples"),
        "a 99th-percentile latency of {}", "99th-percentile latency",
        "1500 ms", "1234 ms", "1200 ms", "1300 ms", "1200 to 1300 ms",
    ),
    "throughput": Said(
        Judged("throughput", True, 1.5, "PASS", 1.8, (1.75, 1.85), None, "batches"),
        "{} of the teacher’s throughput", "throughput relative to the teacher’s",
        "150 %", "180 %", "175 %", "185 %", "175 % to 185 %",
    ),
}  # fmt: skip
NOTHING = dict.fromkeys(("retention", "retention_ci", "compute_ratio", "params_ratio"))


def alone(bound: Judged, **changes: Any) -> tuple[str, ...]:
    """The sentences about a claim of one bound, without those of times and gain."""
    kept = {
        "retention": ("retention", "retention_ci"),
        "macs": ("compute_ratio",),
        "params": ("params_ratio",),
    }
    known = zip(kept.get(bound.measure, ()), (bound.value, bound.interval), strict=False)
    given = result(bound.verdict, bounds=(bound,), **(NOTHING | dict(known) | changes))
    return tuple(text for text in result_in_words(given)[:-1] if not text.startswith("The times"))


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_alone_in_every_outcome(measure: str) -> None:
    said = SAID[measure]
    bound, noun = said.bound, said.noun
    most, over, within, beyond = ("most", "over", ("upper", said.high), ("lower", said.low))
    if bound.at_least:
        most, over, within, beyond = ("least", "under", ("lower", said.low), ("upper", said.high))
    claimed, measured, passed = alone(bound)
    failed, undecided, unknown = (
        alone(replace(bound, verdict=verdict, **changes), **known)[-1]
        for verdict, changes, known in (
            ("FAIL", {}, {}),
            ("INCONCLUSIVE", {"needed": 1400}, {}),
            ("INCONCLUSIVE", {"value": None, "interval": None}, NOTHING),
        )
    )
    assert claimed == f"Claimed: {said.phrase.format(f'at {most} {said.limit}')}."
    interval = f" (95 % interval {said.interval})" if bound.interval else ""
    expected = said.measured or f"{said.phrase.format(said.value)}{interval}"
    assert measured == f"Measured: the student has {expected}."
    assert unknown.startswith(f"The {noun} is not known; its measurement needs ")
    assert "{" not in unknown
    if bound.interval is None:
        assert passed == f"The {noun}, {said.value}, is at {most} {said.limit}."
        assert failed == f"The {noun}, {said.value}, is {over} {said.limit}."
        return
    assert passed == (
        f"Even at the {within[0]} end of its interval, {within[1]}, the {noun} is at {most} {said.limit}. "
        "Chance is an unlikely explanation."
    )
    assert failed == (
        f"Even at the {beyond[0]} end of its interval, {beyond[1]}, the {noun} is {over} {said.limit}."
    )
    assert undecided == (
        f"The interval of the {noun}, {said.interval}, contains the limit of {said.limit}: the student may "
        f"be on either side of the limit. About 1,400 {bound.of} would decide it, if the {noun} does not "
        "change."
    )


def test_every_measure_together() -> None:
    bounds = tuple(said.bound for said in SAID.values())
    given = result("PASS", bounds=bounds, retention=0.97, retention_ci=(0.95, 0.99), compute_ratio=0.25)
    claimed, measured, times, meaning, _ = result_in_words(given)
    assert claimed.startswith(
        "Claimed: at least 94 % of the teacher’s accuracy, a top-1 accuracy of at least"
    )
    assert claimed.endswith("latency of at most 1500 ms and at least 150 % of the teacher’s throughput.")
    assert measured.startswith("Measured: the student has 97 % of the teacher’s accuracy (95 % interval 95 %")
    assert measured.endswith(" and 180 % of the teacher’s throughput (95 % interval 175 % to 185 %).")
    assert measured.count("parameters") == 1
    assert times.startswith("The times were measured on A CPU")
    assert meaning.count(";") == len(bounds) - 1
    assert meaning.endswith("is at least 150 %. Chance is an unlikely explanation.")


def test_one_percentage_point_is_singular() -> None:
    bound = Judged("drop", False, 3.0, "PASS", 1.0, (-2.75, 1.0), None, "test images")
    claimed, measured, meaning = alone(bound)
    assert "at most 3 percentage points from" in claimed
    assert "a drop of 1 percentage point from" in measured
    assert "interval -2.75 to 1 percentage points)" in measured
    assert meaning.startswith("Even at the upper end of its interval, 1 percentage point, the drop in")


def test_models_without_a_role_go_by_their_name() -> None:
    bound = SAID["latency"].bound
    claimed, measured, _ = alone(bound, judged="b.onnx", reference="a.onnx")
    assert claimed == "Claimed for b.onnx: at most 30 % of a.onnx’s median latency."
    assert measured.startswith("Measured: b.onnx has 28 % of a.onnx’s median latency")


def test_what_was_not_measured_is_not_said() -> None:
    assert not any(sentence.startswith("Measured") for sentence in words("INCONCLUSIVE", **NOTHING))


def test_what_the_teacher_was_good_for() -> None:
    sure = words("PASS", Gain(3.25, 20, 7, 0.003))[-1]
    assert "+3.2 percentage points. Chance alone is an unlikely explanation: " in sure
    assert (
        "only the student is right on 20 images, only the other one on 7 images (McNemar p = 0.003)." in sure
    )
    assert (
        "-1.0 percentage points. Chance alone may explain the difference"
        in words("PASS", Gain(-1, 3, 4, 0.4))[-1]
    )
    assert "Train one with --baseline." in words("PASS")[-1]


def test_the_report_says_the_same_with_unbreakable_percentages() -> None:
    given = result("FAIL", Gain(1.0, 3, 2, 0.5), compute_ratio=0.61)
    made = in_words(given)
    assert (made.name, made.headline) == ("FAIL", "The claim does not hold.")
    assert tuple(text.replace("\u00a0", " ") for text in made.sentences) == result_in_words(given)
    assert not any(" %" in text for text in made.sentences)


def test_a_claim_on_times_says_whose_times_they_are() -> None:
    timed = Judged("latency", False, 0.3, "PASS", 0.25, (0.24, 0.26), None, "latency samples")
    exact = Judged("size", False, 0.3, "PASS", 0.25)
    int8 = replace(STUDENT, name="student-int8", target="arm-dotprod")

    def said(*bounds: Judged, target: str | None = None) -> str:
        made = replace(
            result("PASS", bounds=bounds, judged="student-int8"), models=(replace(int8, target=target),)
        )
        return " ".join(result_in_words(made))

    assert "The times were measured on A CPU (x86-avx2). " in said(timed) + " "
    assert "was made for" not in said(timed, target="x86-avx2")
    assert "The times were measured on A CPU (x86-avx2). student-int8 was made for arm-dotprod; its" in said(
        exact, timed, target="arm-dotprod"
    )
    assert "The times" not in said(exact, target="arm-dotprod")
    assert "The times" not in said(replace(timed, verdict="INCONCLUSIVE", value=None, interval=None))
