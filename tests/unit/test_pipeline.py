"""Which changes a run accepts, and which job the options describe."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures.screens import Recorder
from kdtool.arch.network import build, save_network
from kdtool.core.errors import KdtoolError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.pipeline import check, quantize, resume, start
from kdtool.quant.maker import Choice
from kdtool.quant.target import int8_scheme
from kdtool.recipe.choices import Calibration
from kdtool.runs.folder import RunFolder, newest_run
from kdtool.runs.record import Job
from kdtool.train.int8.fakequant import Int8


def record(job: Job, *begun: str) -> None:
    """As if the run had come as far as training `begun`."""
    job.run.write_record(
        {"recipe": job.recipe.to_json(), "seed": job.seed, "source": job.source, "classes": []}
    )
    for role in begun:
        job.run.role(role).mkdir()


def test_digits_are_the_default_with_their_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = start(None, None, None, (), None, QUIET)
    assert (job.source, job.recipe.name, job.seed, str(job.run.path)) == (
        "digits",
        "digits",
        0,
        "artifacts/digits",
    )
    job = start("cifar10", None, None, (), 3, QUIET)
    assert (job.source, job.recipe.name, job.seed, str(job.run.path)) == (
        "cifar10",
        "paper",
        3,
        "artifacts/paper",
    )


def test_a_run_remembers_its_photographs_and_seed(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    record(start(str(tmp_path / "photographs"), tmp_path / "run", None, (), 7, QUIET))
    again = start(None, tmp_path / "run", "paper", (), None, QUIET)
    assert (again.source, again.seed) == (str(tmp_path / "photographs"), 7)


def test_a_run_remembers_its_recipe(tmp_path: Path) -> None:
    record(start(None, tmp_path / "run", "paper", ["student.epochs=5"], None, QUIET), "teacher", "student")
    again = start(None, tmp_path / "run", None, ["bench.runs=70"], None, QUIET)
    assert (again.recipe.name, again.recipe.student.epochs, again.recipe.bench.runs) == ("paper", 5, 70)


def test_a_run_among_the_photographs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="The run would be inside the folder of photographs") as caught:
        start(".", None, None, (), None, QUIET)
    assert "--out" in caught.value.hint


def test_a_mistyped_place_is_found_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no-such-place"):
        start("no-such-place", tmp_path / "run", None, (), None, QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "begun, change, refused",
    [
        ((), "teacher.lr=0.5", False),
        (("teacher",), "teacher.lr=0.5", True),
        (("teacher",), "student.lr=0.5", False),
        (("teacher", "student"), "student.lr=0.5", True),
        (("baseline",), "student.loss.temperature=2.0", True),
        (("teacher",), "data.size=96", True),
        (("teacher",), "teacher.epochs=50", False),
        (("teacher",), "teacher.epochs=5", True),
        (("teacher", "student"), "quantize.max_drop=5.0", False),
        (("teacher", "student"), "bench.runs=200", False),
    ],
)
def test_what_may_change_in_a_run(tmp_path: Path, begun: tuple[str, ...], change: str, refused: bool) -> None:
    record(start(None, tmp_path / "run", "paper", (), None, QUIET), *begun)
    if not refused:
        start(None, tmp_path / "run", "paper", [change], None, QUIET)
        return
    key = change.partition("=")[0]
    with pytest.raises(
        UsageError, match=rf"trained with other settings.\n  {key}: .* in the run, .* asked for"
    ):
        start(None, tmp_path / "run", "paper", [change], None, QUIET)
    with pytest.raises(UsageError, match="trained with other settings"):
        resume(RunFolder(tmp_path / "run"), [change], QUIET)


@pytest.mark.parametrize(
    "schedule, sealed, refused",
    [("cosine", False, True), ("cosine", True, False), ("constant", False, False)],
)
def test_more_epochs_are_not_asked_in_the_middle_of_a_falling_rate(
    tmp_path: Path, schedule: str, sealed: bool, refused: bool
) -> None:
    fields = [f"teacher.schedule={schedule}", "teacher.epochs=5"]
    job = start(None, tmp_path / "run", "paper", fields, None, QUIET)
    record(job, "teacher")
    (job.run.role("teacher") / "checkpoints").mkdir()
    (job.run.role("teacher") / "checkpoints" / "00003.safetensors").touch()
    if sealed:
        (job.run.role("teacher") / "manifest.json").touch()
    longer = [fields[0], "teacher.epochs=6"]
    if refused:
        with pytest.raises(UsageError, match=r"teacher\.epochs: 5 in the run, 6") as caught:
            start(None, tmp_path / "run", "paper", longer, None, QUIET)
        assert "falls until the last epoch" in caught.value.hint
    else:
        assert start(None, tmp_path / "run", "paper", longer, None, QUIET).recipe.teacher.epochs == 6


@pytest.mark.parametrize("given, expected", [((), "bfloat16"), (("student.precision=float32",), "float32")])
def test_a_new_run_takes_the_faster_precision_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], expected: str
) -> None:
    monkeypatch.setattr("kdtool.train.loop.precision.has_bfloat16", lambda _: True)
    screen = Recorder()
    job = start(None, tmp_path / "run", "paper", given, None, screen)
    assert (job.recipe.teacher.precision, job.recipe.student.precision) == ("bfloat16", expected)
    assert ["Training uses bfloat16" in line for line in screen.lines] == [True]
    assert ("student.precision=float32" in screen.lines[0]) == (not given), "only what it chose itself"
    record(job, "teacher", "student")
    monkeypatch.setattr("kdtool.train.loop.precision.has_bfloat16", lambda _: False)  # on another machine
    for recipe in (None, "paper"):
        assert start(None, tmp_path / "run", recipe, given, None, QUIET).recipe == job.recipe
    assert start(None, tmp_path / "digits", "digits", (), None, QUIET).recipe.student.precision == "float32"
    other = start(None, tmp_path / "other", "paper", (), None, screen).recipe
    assert (other.teacher.precision, other.student.precision) == ("float32", "float32")


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Its recipe has not the fields that came later; their defaults are what it was trained with."""
    job = start(None, tmp_path / "run", "paper", (), 1, QUIET)
    record(job, "teacher", "student")
    content = job.run.read_record()
    del content["recipe"]["student"]["loss"]["warmup_epochs"]
    del content["recipe"]["teacher"]["weight_decay"]
    job.run.write_record(content)
    assert start(None, tmp_path / "run", None, (), None, QUIET).recipe == job.recipe


def test_another_seed_wants_another_folder(tmp_path: Path) -> None:
    record(start(None, tmp_path / "run", "paper", (), 1, QUIET), "teacher")
    with pytest.raises(UsageError, match=r"seed: 1 in the run, 2 asked for"):
        start(None, tmp_path / "run", "paper", (), 2, QUIET)


def test_no_run_and_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no run under"):
        newest_run(tmp_path)
    with pytest.raises(UsageError, match=r"is not a run: it has no run\.json"):
        RunFolder(tmp_path).read_record()


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"schema": 1}', '{"schema": 9}', '{"schema": 1, "recipe": []}', "[" * 9999],
)
def test_a_record_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=r"run\.json cannot be read"):
        RunFolder(tmp_path).read_record()


@pytest.mark.parametrize(
    "field, message",
    [
        ("student.arch=nosuch", "No network is called 'nosuch'"),
        ("student.loss.name=foo", "student.loss.name is 'foo'"),
        ("student.loss.temperature=abc", "student.loss.temperature is 'abc'; allowed: a finite number"),
        ("student.loss.temperature=0", "temperature is 0"),
        ("teacher.arch=nosuch", "No network is called 'nosuch'"),
        ("teacher.weights=nosuch.pt", "nosuch.pt: no such file"),
        ("teacher.trained=nosuch.safetensors", "no such file"),
    ],
)
def test_what_is_wrong_is_found_before_decoding(tmp_path: Path, field: str, message: str) -> None:
    fields = ["teacher.arch=timm/test_resnet", "student.arch=timm/test_resnet", field]
    with pytest.raises(KdtoolError, match=message):
        check(start(None, tmp_path / "run", "digits", fields, None, QUIET), student=True)


def test_a_brought_teacher_is_recorded_as_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "teacher.safetensors"
    info = ModelInfo("teacher", "timm/test_vit", ("a", "b"), Preprocess(32, 32), label_smoothing=0.1)
    save_network(file, build("timm/test_vit", 2, 32).state_dict(), info)
    job = check(
        start(None, tmp_path / "run", "digits", [f"teacher.trained={file}"], None, QUIET), student=False
    )
    assert (job.recipe.teacher.arch, job.recipe.teacher.label_smoothing) == ("timm/test_vit", 0.1)


@pytest.mark.parametrize("lossy", [False, True])
def test_a_student_that_loses_too_much_is_finetuned_exported_and_quantized_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lossy: bool
) -> None:
    job = start(None, tmp_path / "run", "paper", ["quantize.finetune=3"], 7, QUIET)
    choice = Choice(int8_scheme("x86-avx2"), Calibration.MSE)
    begun = SimpleNamespace(to_finetune=SimpleNamespace(choice=choice) if lossy else None)
    called = []

    def stand_in(module: str, name: str, result: object) -> None:
        monkeypatch.setattr(f"kdtool.{module}.{name}", lambda *given: called.append((name, given)) or result)

    stand_in("quant.stage", "quantize_models", begun)
    stand_in("train.int8.quantaware", "finetune", None)
    stand_in("exporters.stage", "export_finetuned", "student.onnx")
    stand_in("quant.stage", "quantize_finetuned", None)
    quantize(job, "data")
    first, *others = called
    assert first == ("quantize_models", (job.run, "data", job.recipe.quantize, QUIET))
    int8 = Int8(reduce_range=True, per_channel=True, signed_weights=True)
    lr = job.recipe.quantize.finetune_lr
    finetuning = (job.run, "data", job.recipe.student, 3, lr, int8, Calibration.MSE, 7, QUIET)
    assert others == lossy * [
        ("finetune", finetuning),
        ("export_finetuned", (job.run, "data", job.recipe.export, QUIET)),
        ("quantize_finetuned", (begun, "student.onnx")),
    ]
