"""The verdict in words, as terminal and report both say it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kdtool.machine.host import Host
from kdtool.report.verdict import in_words
from kdtool.results.bench import BenchResult, Gain, Latency, ModelResult
from kdtool.results.claim import Judged, Thresholds, Verdict
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
        "params_ratio": 0.536, "thresholds": Thresholds(), "images_needed": 1488,
    }  # fmt: skip
    values |= changes
    interval, ratio = values["retention_ci"], values["compute_ratio"]
    values.setdefault(
        "bounds",
        (
            Judged(
                "retention", True, 0.94,
                outcome(interval, interval and interval[0] >= 0.94, interval and interval[1] < 0.94),
                values["retention"], interval, values["images_needed"], "test images",
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
    claimed, measured, meaning, _ = words("PASS", retention_ci=(0.941, 0.97), images_needed=None)
    assert claimed.startswith("Claimed: at least 94 % of the teacher")
    assert "keeps 95 % of the teacher’s accuracy (95 % interval 94.1 % to 97 %)" in measured
    assert "49.5 %" in measured
    assert "53.6 % of its parameters" in measured
    assert "lower end of the interval reaches 94 %" in meaning


def test_a_claim_that_does_not_hold_says_each_reason() -> None:
    low = words("FAIL", retention_ci=(0.9, 0.93))[2]
    assert low == "Even the upper end of the interval, 93 %, is under 94 %."
    both = words("FAIL", retention_ci=(0.9, 0.93), compute_ratio=0.61)[2]
    assert "upper end" in both
    assert "the compute, 61 %, is over 50 %" in both
    dear = words("FAIL", retention=None, retention_ci=None, compute_ratio=0.61)[2]
    assert dear == "The compute, 61 %, is over 50 %."
    by_a_hair = words("FAIL", compute_ratio=0.5)[2]  # over by less than a float can show
    assert by_a_hair == "The compute, 50 %, is over 50 %."


def test_a_claim_that_is_not_decided_says_what_would_decide_it() -> None:
    assert "About 1,488 test images" in words("INCONCLUSIVE")[2]
    assert "on the limit itself" in words("INCONCLUSIVE", images_needed=None)[2]
    assert "no retention" in words("INCONCLUSIVE", retention=None, retention_ci=None)[2]
    assert "compute of the two models is not known" in words("INCONCLUSIVE", compute_ratio=None)[2]


def test_a_claim_on_other_measures() -> None:
    bounds = (
        Judged("latency", False, 0.3, "PASS", 0.28, (0.27, 0.29), None, "latency samples"),
        Judged("drop", False, 1.0, "INCONCLUSIVE", 0.5, (-0.5, 1.5), 400, "test images"),
        Judged("size_mb", False, 12.0, "PASS", 11.3),
        Judged("p99_ms", False, 9.0, "INCONCLUSIVE"),
    )
    changes = {"bounds": bounds, "judged": "student-int8"}
    claimed, measured, _, meaning, _ = words("INCONCLUSIVE", **changes)
    assert claimed == (
        "Claimed for student-int8: at most 30 % of the teacher’s median latency, at most 1 points under the "
        "teacher’s accuracy, at most 12 MB of file and at most 9 ms of p99 latency."
    )
    assert "median latency / reference's is 28 % (27 % to 29 %)" in measured
    assert "size of the file is 11.3 MB" in measured
    assert "from -0.5 points to 1.5 points contains the limit of 1 points" in meaning
    assert "About 400 test images would decide it" in meaning
    assert (
        "There is no 99th percentile of latency to judge: it takes 662 samples (kdtool bench --runs"
        in meaning
    )
    passed = words("PASS", bounds=bounds[:1])[3]
    assert passed == "Even the upper end of the interval stays within 30 %: chance is no likely explanation."
    exact = words("PASS", bounds=bounds[2:3])[2]
    assert exact == "Every bound is exact, and kept."
    failed = (Judged("latency", False, 0.3, "FAIL", 0.4, (0.37, 0.45), None, "latency samples"),)
    assert words("FAIL", bounds=failed)[3] == (
        "Even the lower end of the interval of median latency / reference's, 37 %, is over 30 %."
    )


def test_what_was_not_measured_is_not_said() -> None:
    unknown = dict.fromkeys(("retention", "retention_ci", "compute_ratio", "params_ratio", "images_needed"))
    assert not any(sentence.startswith("Measured") for sentence in words("INCONCLUSIVE", **unknown))


def test_what_the_teacher_was_good_for() -> None:
    sure = words("PASS", Gain(3.25, 20, 7, 0.003))[-1]
    assert "+3.2 points, which chance alone would hardly give" in sure
    assert "(alone right on 20 and 7 images; McNemar p = 0.003)" in sure
    assert "-1.0 points, which chance may have given" in words("PASS", Gain(-1, 3, 4, 0.4))[-1]
    assert "Use --baseline." in words("PASS")[-1]


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

    assert "Times are those of A CPU (x86-avx2). " in said(timed) + " "
    assert "was made for" not in said(timed, target="x86-avx2")
    assert "Times are those of A CPU (x86-avx2). student-int8 was made for arm-dotprod, where" in said(
        exact, timed, target="arm-dotprod"
    )
    assert "Times are" not in said(exact, target="arm-dotprod")
    assert "Times are" not in said(replace(timed, verdict="INCONCLUSIVE", value=None, interval=None))
