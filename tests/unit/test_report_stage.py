"""The report of whole runs: handmade folders, hostile names, parts that are missing."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.runs.written import HOSTILE, PLAIN, make_bench, make_predictions, make_run
from fixtures.screens import Recorder
from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_file
from kdtool.core.screen import QUIET
from kdtool.data.reader import SAMPLES_FILE
from kdtool.report.stage import write_report
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Stage

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Outline(HTMLParser):
    """Fails on unbalanced tags; keeps what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "photos").mkdir()
    return make_run(tmp_path / "photos")


def page_of(run: RunFolder) -> tuple[str, Outline]:
    html = write_report(run, QUIET).read_text("utf-8")
    return html, Outline(html)


def test_a_complete_run_shows_everything(run: RunFolder) -> None:
    html, outline = page_of(run)
    text = " ".join("".join(outline.text).split())
    assert "INCONCLUSIVE" in text
    assert "About 810 test images" in text
    assert "+4.5 percentage points" in text
    assert "The test split is <small>." in text
    for title in (
        "Teacher",
        "Student, distilled",
        "Student without teacher",
        "Teacher, INT8",
        "Student, INT8",
    ):
        assert f">{title}<" in html
    for figure in ("Fig. 1. Teacher.", "Fig. 2. Student, distilled.", "Fig. 3. Student without teacher."):
        assert figure in text
    for fact in ("student.loss.name", "/photographs", "torch", "A & B", "--set student.epochs=3 --baseline"):
        assert fact in text
    assert [tag for tag, _ in outline.tags].count("svg") >= 2 + 6
    assert "\\x" not in text  # nothing of our own is spelt out as if it were hostile
    assert "proves that every stage works" not in text


def test_pictures_are_the_pixels_the_models_saw(run: RunFolder) -> None:
    _, outline = page_of(run)
    images = outline.named("img")
    assert len(images) == 8  # every fifth of 36 answers is wrong
    source = images[0]["src"] or ""
    assert source.startswith("data:image/png;base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    worst = 35  # the last wrong answer has the highest probability
    np.testing.assert_array_equal(np.asarray(picture), np.load(run.data / "test.npy")[worst])
    assert images[0]["alt"] == "Test image of class fox, taken for cat"


def test_large_pictures_are_made_smaller(run: RunFolder) -> None:
    np.save(run.data / "test.npy", np.zeros((36, 300, 300, 3), np.uint8))
    Stage("prepare", run.data, {}).seal(["test.npy", SAMPLES_FILE, "data.json"], {}, {})
    assert page_of(run)[1].named("img")[0]["width"] == "224"


def test_the_page_is_self_contained_and_accessible(run: RunFolder) -> None:
    html, outline = page_of(run)
    assert not re.search(r"(?:https?:)?//\w", re.sub(r"base64,[^\"]+", "", html))
    assert not outline.named("script")
    assert not outline.named("link")
    assert all((tag.get("src") or "data:").startswith("data:") for _, tag in outline.tags)
    assert all((tag.get("href") or "#").startswith("#") for _, tag in outline.tags)
    assert {(tag["href"] or "")[1:] for tag in outline.named("a")} <= {
        tag.get("id") for _, tag in outline.tags
    }
    assert outline.named("html") == [{"lang": "en"}]
    assert all(tag.get("alt") for tag in outline.named("img"))
    assert all(tag.get("scope") for tag in outline.named("th"))
    drawings = [tag for tag in outline.named("svg") if tag.get("role") == "img"]
    identities = [tag["id"] for _, tag in outline.tags if "id" in tag]
    assert len(identities) == len(set(identities))
    assert all(set((tag["aria-labelledby"] or "").split()) <= set(identities) for tag in drawings)
    headings = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))


def test_hostile_names_are_text(tmp_path: Path) -> None:
    folder = tmp_path / "<b>run & co"
    folder.mkdir()
    run = make_run(folder, HOSTILE, source="/tmp/<img src=x>")
    html, outline = page_of(run)
    assert not outline.named("script")
    assert not outline.named("b") or "<b>run" not in html
    assert not any("onmouseover" in tag for _, tag in outline.tags)
    text = "".join(outline.text)
    for name in (
        "<script>alert(1)</script>",
        "\" onmouseover='x' &amp;",
        r"line\nbreak\u202eltr",
        "שלום",
        "{{ 7*7 }}",
    ):
        assert name in text
    assert "\u202e" not in html
    assert "<b>run & co" in text
    assert "<img src=x>" in text
    assert all((tag["src"] or "").startswith("data:") for tag in outline.named("img"))


def test_two_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    pages = []
    for parent in ("one", "two"):
        folder = tmp_path / parent / "run"
        folder.mkdir(parents=True)
        pages.append(write_report(make_run(folder), QUIET).read_bytes())
    assert pages[0] == pages[1]


def test_a_finished_report_is_skipped_until_its_run_changes(run: RunFolder) -> None:
    write_report(run, QUIET)
    listener = Recorder()
    write_report(run, listener)
    assert listener.said == ["report: complete, skipped"]
    make_bench(run, 36, verdict="FAIL", retention_ci=[0.8, 0.9])
    listener.said.clear()
    assert "The claim does not hold." in write_report(run, listener).read_text("utf-8")
    assert listener.said == []
    run.report.write_text("torn")
    assert "The claim does not hold." in page_of(run)[0]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("baseline", "Fig. 2."),
        ("teacher", "Fig. 2."),
        ("bench.json", "Not measured yet: this folder has no bench.json"),
        ("predictions.csv", "this folder has no predictions.csv"),
        ("data", "The images are left out, since the prepared data (data/) is not"),
    ],
)
def test_a_missing_part_is_left_out_and_said(run: RunFolder, missing: str, said: str) -> None:
    path = run.path / missing
    path.rename(run.path.parent / "elsewhere")
    _, outline = page_of(run)
    assert said in " ".join("".join(outline.text).split())
    assert "Fig. 3." not in "".join(outline.text) or missing not in ("baseline", "teacher")


def test_void_latencies_are_not_shown(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    make_bench(run, 36)
    content = json.loads(run.bench.read_text())
    run.bench.write_text(json.dumps(content | {"void": ["throttled"]}))
    _, outline = page_of(run)
    text = " ".join("".join(outline.text).split())
    assert "void" in text
    assert "12.50" not in text
    assert "Accuracy and latency" not in text


def test_differences_have_a_table_of_their_own(run: RunFolder) -> None:
    html, _ = page_of(run)
    assert 'id="differences"' not in html
    content = json.loads(run.bench.read_text())
    pair = {
        "model": "student", "against": "teacher", "n_images": 36, "model_only": 2, "against_only": 5,
        "points": -8.333, "points_ci": [-20.0, 3.5], "retention": 0.9, "retention_ci": [0.81, 1.02],
        "p": 0.4531, "p_holm": 0.9062,
    }  # fmt: skip
    hostile = pair | {"model": "<b>x", "retention": None, "retention_ci": None}
    run.bench.write_text(json.dumps(content | {"differences": [pair, hostile]}))
    html, _ = page_of(run)
    (table,) = re.findall(r'aria-labelledby="differences".*?</table>', html, re.DOTALL)
    assert table.count("<tr>") == 1 + 2
    for part in ("-8.33", "-20.0 to +3.5", "90.0", "81.0–102.0", "2 : 5", "0.45", "0.91"):
        assert part in table
    assert "Student, distilled" in table
    assert "<b>x" not in html


def test_latency_has_a_row_for_every_number_of_threads(run: RunFolder) -> None:
    content = json.loads(run.bench.read_text())
    model = content["models"][1]
    model["latency_ms"] |= {"p99": 17.25, "p50_ci": [13.25, 13.75], "p99_ci": [16.5, 19.0]}
    alone = model["latency_ms"] | {"threads": 1, "p50": 21.75, "p50_ci": [21.5, 22.25], "p99": None}
    alone |= {"ratio": 0.6212, "ratio_ci": [0.605, 0.63]}
    own = {"cold_start_ms": 87.5, "load_ms": [80.0], "first_ms": [7.5], "peak_bytes": 123_400_000}
    model["latency_ms"] |= {"ratio": 0.5251, "ratio_ci": [0.51, 0.54]}
    model |= {"other_threads": [alone]}
    model["own_process"] = own | {"empty_bytes": 40_000_000}
    run.bench.write_text(json.dumps(content | {"schema": 3}))
    html, _ = page_of(run)
    (table,) = re.findall(r'aria-labelledby="latency".*?</table>', html, re.DOTALL)
    assert table.count("<tr>") == 1 + len(content["models"]) + 1
    for part in (
        "13.50",
        "13.25–13.75",
        "17.25",
        "16.50–19.00",
        "21.75",
        "52.5",
        "51.0–54.0",
        "62.1",
        "60.5–63.0",
        "87.5",
        "123.4",
    ):
        assert part in table
    run.bench.write_text(json.dumps(content | {"schema": 3, "void": ["throttled"]}))
    html, _ = page_of(run)
    (table,) = re.findall(r'aria-labelledby="latency".*?</table>', html, re.DOTALL)
    for part in ("13.50", "21.75", "17.25", "87.5", "52.5"):
        assert part not in table
    assert "123.4" in table  # memory is no matter of time


def test_throughput_has_a_table_of_its_own(run: RunFolder) -> None:
    html, _ = page_of(run)
    assert "Images/s" not in html  # it was not measured
    content = json.loads(run.bench.read_text())
    offline = {
        "batch": 8, "threads": 2, "images_per_s": 412.25, "images_per_s_ci": [400.0, 420.0],
        "batch_ms": [19.4] * 6, "warmup": [], "ratio": 1.8712, "ratio_ci": [1.8, 1.9],
    }  # fmt: skip
    content["models"][1] |= {"throughput": offline, "other_throughputs": [offline | {"threads": 1}]}
    run.bench.write_text(json.dumps(content | {"schema": 3}))
    html, _ = page_of(run)
    (table,) = re.findall(r'aria-labelledby="throughput".*?</table>', html, re.DOTALL)
    assert table.count("<tr>") == 1 + 2
    for part in ("412.2", "400.0–420.0", "187.1", "180.0–190.0", "<td>2</td>", "<td>1</td>"):
        assert part in table
    run.bench.write_text(json.dumps(content | {"schema": 3, "void": ["throttled"]}))
    html, _ = page_of(run)
    assert "412.2" not in html


def test_how_an_int8_model_was_made_is_said_beside_its_answers(run: RunFolder) -> None:
    _, outline = page_of(run)
    text = " ".join("".join(outline.text).split())
    assert "fine-tuned for INT8 (" not in text
    assert "Layers that stayed float" not in text

    run.onnx.mkdir()
    path = run.onnx_model("student", "int8")
    path.write_bytes(b"a model")
    back = [{"name": "conv<1>", "op": "Conv", "sqnr": 3.14}, {"name": "head", "op": "Gemm", "sqnr": 9.0}]
    stage = Stage("quantize", run.onnx, {}, run.quantize_manifest("student").name)
    stage.seal([path.name], {"put_back": back}, {})
    content = json.loads(run.bench.read_text())
    (row,) = [row for row in content["models"] if row["name"] == "student-int8"]
    row |= {"finetuned": "2 epochs", "sha256": sha256_file(path)}
    run.bench.write_text(json.dumps(content))
    _, outline = page_of(run)
    step = " ".join("".join(outline.text).split()).split("The INT8 step")[-1]
    teacher, student = step.split("Student, distilled")[:2]
    assert "The INT8 model was fine-tuned for INT8 (2 epochs) and the FP32 model was not" in student
    assert "has 8 bits: conv<1> (Conv, 3.1 dB), head (Gemm, 9.0 dB)." in student
    assert "fine-tuned" not in teacher

    path.write_bytes(b"another model, not measured yet")
    stage.seal([path.name], {"put_back": back}, {})
    _, outline = page_of(run)
    assert "Layers that stayed float" not in "".join(outline.text)


def test_on_a_device_with_nothing_but_the_bench(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    make_bench(
        run,
        0,
        verdict="INCONCLUSIVE",
        retention=None,
        retention_ci=None,
        compute_ratio=None,
        params_ratio=None,
    )
    content = json.loads(run.bench.read_text())
    unmeasured = dict.fromkeys(
        ("accuracy", "accuracy_ci", "retention", "retention_ci", "params", "macs", "flops")
    )
    content["models"] = [model | unmeasured for model in content["models"][:2]]
    run.bench.write_text(json.dumps(content))
    _, outline = page_of(run)
    text = " ".join("".join(outline.text).split())
    for said in (
        "accuracy was not measured",
        "no training history",
        "The retention is not known",
        "12.50",
    ):
        assert said in text


def test_without_a_measurement_nothing_is_judged(run: RunFolder) -> None:
    run.bench.unlink()
    assert "No claim was judged." in page_of(run)[0]


def test_models_without_a_student(run: RunFolder) -> None:
    rows = list(csv.reader(run.predictions.open(encoding="utf-8", newline="")))
    with run.predictions.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(row[:4] for row in rows)
    assert "Teacher, %" not in page_of(run)[0]  # the teacher's own page needs no comparison with itself


def test_a_perfect_student_has_no_mistakes(run: RunFolder) -> None:
    make_predictions(run, ("cat",), ["cat"] * 12, [f"{i}.png" for i in range(12)])
    text = page_of(run)[0]
    assert "every prediction for a test image is right" in text


def test_many_classes_show_the_confused_pairs(tmp_path: Path) -> None:
    classes = [f"class {number:02d}" for number in range(70)]
    html, outline = page_of(make_run(tmp_path, classes))
    assert 'class="matrix' not in html
    assert "confused most often among 70 classes" in " ".join("".join(outline.text).split())
    assert "the 60 weakest of 70 classes" in html


def test_damaged_data_costs_the_pictures_alone(run: RunFolder) -> None:
    (run.data / "test.npy").write_bytes(b"torn")
    listener = Recorder()
    html = write_report(run, listener).read_text("utf-8")
    assert "The images are left out" in html
    assert "damaged" in listener.warned[0]


def test_other_images_than_those_measured_are_not_shown(run: RunFolder) -> None:
    make_predictions(run, PLAIN, ["cat", "dog"] * 6, [f"new/{i}.png" for i in range(12)])
    html, outline = page_of(run)
    assert not outline.named("img")
    assert "other images than predictions.csv" in html


def test_digits_prove_plumbing(tmp_path: Path) -> None:
    html, _ = page_of(make_run(tmp_path, source="digits"))
    assert "proves that every stage works" in html
    assert "never evidence" in html


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run"):
        write_report(RunFolder(tmp_path), QUIET)


def test_a_broken_bench_writes_no_page(run: RunFolder) -> None:
    run.bench.write_text("{")
    with pytest.raises(UsageError, match=r"bench\.json is not a result of kdtool bench"):
        write_report(run, QUIET)
    assert not run.report.exists()
