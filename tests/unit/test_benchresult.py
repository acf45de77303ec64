"""bench.json: typed, there and back, and every wrong field named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdtool.core.errors import UsageError
from kdtool.machine.host import Host
from kdtool.results.bench import BenchResult, Gain, Latency, ModelResult, read_bench
from kdtool.results.claim import Judged, Verdict
from kdtool.results.wording import result_in_words

HOST = Host("A CPU", "x86_64", ("avx2",), 4, 2, 8, None, 1.5, None, ("throttled",), None, "Linux", {"a": "1"})
MODEL = ModelResult(
    "student", "student", "fp32", 0.5, (0.25, 0.75), 8, 1.0, (0.5, 1.5), 10, 20, 30,
    Latency(1.0, 2.0, (1.0, 2.0, 3.0), (3.0,), 1, ratio=0.5, ratio_ci=(0.4, 0.6), sessions=(2, 1)),
    "student.onnx", "00",
)  # fmt: skip
BOUNDS = (
    Judged("retention", True, 0.94, "PASS", 1.0, (0.95, 1.5), None, "test images"),
    Judged("macs", False, 0.5, "PASS", 0.5),
)
CLAIM = Verdict("PASS", BOUNDS, retention=1.0, retention_ci=(0.95, 1.5), compute_ratio=0.5)
RESULT = BenchResult(HOST, (MODEL,), CLAIM, Gain(1.5, 2, 1, 0.25), ("a note",))


def changed(key: str, value: Any) -> str:
    """bench.json with one value, named by its path, replaced."""
    content: Any = RESULT.to_json()
    *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
    place = content
    for part in parents:
        place = place[part]
    place[last] = value
    return json.dumps(content)


def test_there_and_back() -> None:
    text = json.dumps(RESULT.to_json(), allow_nan=False)
    assert BenchResult.from_json(text) == RESULT
    row = json.loads(text)["models"][0]
    assert (json.loads(text)["schema"], row["flops"]) == (3, 40)
    assert "threads" in row["latency_ms"]
    assert (row["latency_ratio"], row["latency_ratio_ci"]) == (0.5, [0.4, 0.6])
    assert json.loads(text)["claim"] | {"bounds": None} == {
        "verdict": "PASS", "retention": 1.0, "retention_ci": [0.95, 1.5], "compute_ratio": 0.5,
        "params_ratio": None, "images_needed": None, "bounds": None, "judged": "student",
        "reference": "teacher",
        "thresholds": {"min_retention": 0.94, "max_compute": 0.5, "confidence": 0.95},
    }  # fmt: skip
    assert json.loads(text)["host"]["int8_target"] == "x86-avx2"


def test_samples_belong_to_their_session() -> None:
    assert MODEL.latency_ms.by_session == ((1.0, 2.0), (3.0,))
    assert replace(MODEL.latency_ms, sessions=()).by_session == ((1.0, 2.0, 3.0),)


@pytest.mark.parametrize("schema", [1, 2])
def test_an_older_file_has_times_of_one_session(schema: int) -> None:
    """The oldest have a ratio beside the latency; none has an interval that holds over processes."""
    old: Any = json.loads(changed("models.0.latency_ms.ratio", None)) | {"schema": schema}
    series = old["models"][0]["latency_ms"]
    del series["ratio_ci"], series["sessions"]
    series |= {"p50_ci": [0.9, 1.1]}
    old["models"][0] |= {"other_threads": [series | {"threads": 2}]}
    alone = replace(MODEL.latency_ms, ratio_ci=None, sessions=())
    two = replace(alone, threads=2, ratio=None)
    assert BenchResult.from_json(json.dumps(old)).models[0] == replace(
        MODEL, latency_ms=alone, other_threads=(two,)
    )


def test_a_wrong_older_file_says_what_is_wrong() -> None:
    old: Any = json.loads(changed("schema", 2))
    for wrong in ({"models": [1]}, {"models": [{"latency_ms": 1}]}, {"models": None}):
        with pytest.raises(ValueError, match="models"):
            BenchResult.from_json(json.dumps(old | wrong))
    first = old | {"schema": 1, "claim": {"thresholds": [1]}}
    with pytest.raises(ValueError, match="thresholds"):
        BenchResult.from_json(json.dumps(first))


def test_a_later_field_does_not_hurt() -> None:
    assert BenchResult.from_json(changed("models.0.energy_mj", 1.5)) == RESULT


@pytest.mark.parametrize(
    ("changes", "outcomes"),
    [
        ({}, ["PASS", "PASS"]),
        ({"retention_ci": [0.9, 0.93], "verdict": "FAIL"}, ["FAIL", "PASS"]),
        ({"compute_ratio": 0.5, "verdict": "FAIL"}, ["PASS", "FAIL"]),  # over by less than a float shows
        (
            {"retention_ci": [0.9, 0.99], "images_needed": 9, "verdict": "INCONCLUSIVE"},
            ["INCONCLUSIVE", "PASS"],
        ),
        (
            dict.fromkeys(("retention", "retention_ci", "compute_ratio")) | {"verdict": "INCONCLUSIVE"},
            ["INCONCLUSIVE"] * 2,
        ),
    ],
)
def test_a_file_of_the_first_version_is_read(changes: dict[str, Any], outcomes: list[str]) -> None:
    old: Any = json.loads(changed("schema", 1))
    for key in ("bounds", "judged", "reference"):
        del old["claim"][key]
    old["claim"] |= changes
    result = BenchResult.from_json(json.dumps(old))
    assert [bound.verdict for bound in result.claim.bounds] == outcomes
    assert [bound.measure for bound in result.claim.bounds] == ["retention", "macs"]
    assert (result.claim.verdict, result.claim.bounds[0].needed) == (
        changes.get("verdict", "PASS"),
        changes.get("images_needed"),
    )
    assert result_in_words(result)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", {}),
        ("host.cores", "four"),
        ("models", {}),
        ("models.0.accuracy", "0.5"),
        ("models.0.accuracy_ci", [0.1]),
        ("models.0.macs", 1.5),
        ("models.0.latency_ms", None),
        ("models.0.latency_ms.samples", [None]),
        ("claim", None),
        ("claim.verdict", "MAYBE"),
        ("claim.bounds.0", {"measure": "speed"}),
        ("gain", {"points": 1.0}),
        ("notes", "one"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(changed(field, value))
    with pytest.raises(UsageError) as error:
        read_bench(path)
    assert field in error.value.message
    assert str(path) in error.value.message
    assert f"kdtool bench {tmp_path}" in error.value.hint


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("torn", "Expecting value"),
        ("[]", "another version"),
        ("{}", "another version"),
        (changed("schema", 4), "another version"),
        ("[" * 100_000, "nested too deeply"),
        (changed("models.0.accuracy", float("nan")), "not JSON compliant"),
        (changed("models.0.accuracy", float("inf")), "not JSON compliant"),
    ],
    ids=range(7),
)
def test_what_is_no_bench_json(text: str, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=cause):
        read_bench(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        read_bench(tmp_path)
