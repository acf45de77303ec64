"""The public face on a device: models from files, runs and bundles; arguments that are wrong. No torch."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kdtool
from fixtures.runs.onnxmodels import CLASSES, SIDE, classifier, photographs, taking_pixels
from kdtool.core.errors import DataError, GateError, LockedError, ModelFileError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.runs.lock import run_lock

RULE = kdtool.Preprocess(SIDE, SIDE)
INFO = ModelInfo("student", "tiny", CLASSES, RULE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """photos/, student.onnx and foreign.onnx, which says nothing of itself."""
    photographs(tmp_path / "photos", {"": 6})
    (tmp_path / "student.onnx").write_bytes(classifier(INFO))
    (tmp_path / "foreign.onnx").write_bytes(classifier(None))
    return tmp_path


@pytest.fixture
def model(folder: Path) -> kdtool.Model:
    return kdtool.load(folder / "student.onnx")


def red(folder: Path) -> Path:
    return folder / "photos" / "red" / "0.png"


def test_a_model_says_what_it_is(model: kdtool.Model, folder: Path) -> None:
    assert (model.path, model.labels, model.preprocess, model.precision) == (
        folder / "student.onnx", CLASSES, RULE, "fp32",
    )  # fmt: skip
    assert repr(model) == f"Model({folder}/student.onnx: tiny, fp32, 3 classes, 8 × 8 pixels)"


def test_every_form_of_an_image_gives_the_same_answer(model: kdtool.Model, folder: Path) -> None:
    path = red(folder)
    image = Image.open(path)
    forms = [path, str(path), path.read_bytes(), image, image.convert("RGBA"), np.asarray(image)]
    predictions = [model.predict(form, top=3) for form in forms]  # type: ignore[arg-type]  # each is allowed
    assert set(predictions) == {model.predict(path, top=3)}
    assert model.predict(forms, top=3) == predictions  # type: ignore[type-var]  # each is allowed
    assert model.predict(tuple(forms[:1])) == [model.predict(path)]
    np.testing.assert_allclose(model.logits(forms), np.stack([model.logits(path)] * 6), rtol=1e-6)


def test_a_prediction_reads_as_labels_with_probabilities(model: kdtool.Model, folder: Path) -> None:
    prediction = model.predict(red(folder), top=2)
    assert (prediction.label, prediction.labels[0], len(prediction.labels)) == ("red", "red", 2)
    assert prediction.probability == prediction.probabilities[0] == dict(prediction)["red"]
    logits = model.logits(red(folder)).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum()
    assert dict(model.predict(red(folder), top=3)) == pytest.approx(
        dict(zip(CLASSES, shares, strict=True)), abs=1e-6
    )
    assert repr(prediction) == f"Prediction(red {100 * shares[2]:.1f} %, blue {100 * shares[0]:.1f} %)"


def test_an_array_of_many_images_is_many(model: kdtool.Model) -> None:
    many = np.random.default_rng(0).integers(0, 256, (70, 11, 13, 3), np.uint8)
    predictions = model.predict(many)
    assert len(predictions) == 70
    assert predictions[69] == model.predict(many[69])
    assert model.logits(many).shape == (70, 3)
    assert (model.predict(many[:0]), model.predict([]), model.logits([]).shape) == ([], [], (0, 3))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3)), r"float64 of shape \(4, 4, 3\); allowed: a path, bytes, .* uint8, \(H, W, 3\)"),
        (np.zeros((3, 4, 4), np.uint8), r"uint8 of shape \(3, 4, 4\)"),
        (3, "The image is a int; allowed"),
        ([None], "The image is a NoneType; allowed"),
    ],
)
def test_what_is_no_image_is_a_value_error(model: kdtool.Model, image: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.predict(image)  # type: ignore[call-overload]  # wrong on purpose


def test_what_cannot_be_read_is_named(model: kdtool.Model, folder: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jpg: cannot be read"):
        model.predict(folder / "absent.jpg")
    with pytest.raises(DataError, match="the image: not a readable image"):
        model.predict(b"no image")
    with pytest.raises(UsageError, match="top is '3'"):
        model.predict(red(folder), top="3")  # type: ignore[call-overload]  # wrong on purpose
    with pytest.raises(ValueError, match="top is 0; allowed: a whole number, 1 or more"):
        model.predict(red(folder), top=0)


def test_a_broken_model_gives_no_prediction(folder: Path) -> None:
    path = folder / "nan.onnx"
    path.write_bytes(classifier(INFO, np.full((3, 3), np.nan)))
    with pytest.raises(GateError, match="NaN"):
        kdtool.load(path).predict(red(folder))
    path.write_bytes(classifier(INFO, np.ones((3, 4))))
    with pytest.raises(ModelFileError, match="4 logits for 3 classes"):
        kdtool.load(path).predict(red(folder))
    with pytest.raises(ModelFileError):
        kdtool.load(folder / "absent.onnx")


def test_a_file_that_says_nothing_needs_classes_and_preprocessing(folder: Path) -> None:
    foreign = folder / "foreign.onnx"
    with pytest.raises(UsageError, match="states neither its classes nor its preprocessing"):
        kdtool.load(foreign)
    with pytest.raises(UsageError, match="preprocess is missing"):
        kdtool.load(foreign, classes=CLASSES)
    with pytest.raises(UsageError, match=r"classes is \('a', 'a'\); allowed: different names"):
        kdtool.load(foreign, classes=("a", "a"), preprocess=RULE)
    with pytest.raises(UsageError, match="states its own classes and preprocessing"):
        kdtool.load(folder / "student.onnx", classes=CLASSES, preprocess=RULE)
    assert kdtool.load(foreign, classes=CLASSES, preprocess=RULE).predict(red(folder)).label == "red"


def test_a_model_that_takes_pixels_answers_alike(model: kdtool.Model, folder: Path) -> None:
    pixels = folder / "uint8.onnx"
    pixels.write_bytes(taking_pixels(folder / "student.onnx"))
    assert kdtool.load(pixels).predict(red(folder), top=3) == model.predict(red(folder), top=3)


def test_runs_and_bundles_are_found_by_their_folder(model: kdtool.Model, folder: Path) -> None:
    content, expected = (folder / "student.onnx").read_bytes(), model.predict(red(folder), top=3)
    for place in ("run/onnx/student.onnx", "bundle/model.onnx", "hub/onnx/model.onnx"):
        (folder / place).parent.mkdir(parents=True)
        (folder / place).write_bytes(content)
        top = folder / place.split("/")[0]
        assert kdtool.load(str(top)).predict(red(folder), top=3) == expected
    with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
        archive.writestr("run-bundle/model.onnx", content)
        archive.writestr("run-bundle/golden/model.onnx", b"another")
    assert kdtool.load(folder / "bundle.zip").predict(red(folder), top=3) == expected


def test_a_folder_or_zip_without_a_model_is_said_so(folder: Path) -> None:
    with pytest.raises(UsageError, match="has neither an exported student nor a bundle"):
        kdtool.load(folder / "photos")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("model.onnx", b"")
    with pytest.raises(ModelFileError, match="not the zip of a bundle"):
        kdtool.load(folder / "other.zip")
    (folder / "broken.zip").write_bytes(b"PK")
    with pytest.raises(ModelFileError, match=r"broken\.zip: cannot be read"):
        kdtool.load(folder / "broken.zip")


def test_photographs_are_prepared_once_and_opened_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    data = kdtool.open_data("photos", size=SIDE)
    assert (data.classes, dict(data.splits)) == (CLASSES, {"train": 12, "validation": 3, "test": 3})
    assert data.preprocess.size == SIDE
    assert "train 12, validation 3, test 3; 3 classes, 8 × 8 pixels" in repr(data)
    capsys.readouterr()
    assert kdtool.open_data("photos", size=SIDE).prepared.digest == data.prepared.digest
    assert "complete, skipped" in capsys.readouterr().err
    assert kdtool.open_data(data.prepared.folder).prepared.digest == data.prepared.digest
    kdtool.open_data("photos", size=SIDE, quiet=True)
    assert capsys.readouterr().err == ""


def test_wrong_arguments_of_open_data_are_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="size is 4: Input should be greater than or equal to 8"):
        kdtool.open_data(folder / "photos", size=4)
    with pytest.raises(UsageError, match=r"out: .* would be inside the folder of photographs"):
        kdtool.open_data(folder / "photos", size=SIDE, out=folder / "photos" / "out")
    with pytest.raises(UsageError, match="no-such-place"):
        kdtool.open_data("no-such-place")


def test_other_settings_have_another_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    settings: list[dict] = [
        {"size": SIDE},
        {"size": 16},
        {"size": SIDE, "resize": 9},
        {"size": SIDE, "seed": 1},
    ]
    opened = [kdtool.open_data("photos", **chosen, quiet=True) for chosen in settings]
    assert len({data.prepared.folder for data in opened}) == 4
    for data, chosen in zip(opened, settings, strict=True):
        assert kdtool.open_data("photos", **chosen, quiet=True).prepared == data.prepared
    with run_lock(tmp_path / "out"), pytest.raises(LockedError):
        kdtool.open_data("photos", size=SIDE, out=tmp_path / "out", quiet=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: kdtool.open_data(None, seed=-1),
            "seed is -1; allowed: a whole number, from 0 to 4294967295",
        ),
        (
            lambda: kdtool.open_data(None, size=64, resize=32),
            r"^resize is 32: allowed is 64 \(size\) or more",
        ),
        (lambda: kdtool.load("x.onnx", threads=-3), "threads is -3; allowed: a whole number, from 0 to"),
        (lambda: kdtool.Preprocess(10, 20), "size is 20 and resize 10, allowed is 1 ≤ size ≤ resize"),
        (
            lambda: kdtool.Preprocess("10", 9),  # type: ignore[arg-type]  # wrong on purpose
            "size is 9 and resize '10', allowed",
        ),
        (
            lambda: kdtool.Preprocess(9, 9, std=0.5),  # type: ignore[arg-type]  # wrong on purpose
            "std is 0.5, allowed is three",
        ),
        (lambda: kdtool.bench("x.onnx", runtimes="tensorrt"), "tensorrt"),
        (lambda: kdtool.bench("x.onnx", skip_bad=True), "skip_bad has no effect without data"),
        (lambda: kdtool.Run(Path()).bundle(photographs=-1), "photographs is -1; allowed: .*, from 0 to 50"),
    ],
)
def test_a_value_out_of_its_range_is_a_usage_error(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_one_target_is_a_name(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "student.onnx").rename(folder / "onnx" / "student.onnx")
    with pytest.raises(UsageError, match="toaster"):
        kdtool.open_run(folder).bundle(targets="toaster", quiet=True)


def test_what_a_run_does_not_have_is_a_usage_error(folder: Path) -> None:
    (folder / "onnx").mkdir()
    run = kdtool.open_run(folder)
    with pytest.raises(UsageError, match="the run has no prepared photographs"):
        run.data  # noqa: B018 (the access is the test)
    with pytest.raises(UsageError, match=r"report\.html: this run has no report yet"):
        run.report  # noqa: B018 (as above)
    data = kdtool.open_data(folder / "photos", size=SIDE, out=folder / "data", quiet=True)
    assert run.data.prepared == data.prepared


def test_loose_files_are_measured(folder: Path) -> None:
    files = [folder / "student.onnx", folder / "foreign.onnx"]
    result = kdtool.bench(
        files, folder / "photos", classes=CLASSES, preprocess=RULE, quick=True, threads=1, runs=64,
        claim="size<=1.5", judged="student", reference=str(files[1]), quiet=True,
    )  # fmt: skip
    assert [model.accuracy for model in result.models] == [1.0, 1.0]
    assert "photos has no test split; all 18 photographs are taken." in result.notes[0]
    assert result.claim.verdict == "FAIL"  # the metadata makes the file larger
    lines = repr(result).splitlines()
    assert lines[0] == "BenchResult: FAIL"
    assert lines[1].startswith("  student: 100.00 %, ")
    assert kdtool.bench(str(files[1]), quick=True, threads=1, runs=64, quiet=True).models[0].accuracy is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": 3}, "runs is 3: Input should be greater than or equal to 64"),
        ({"claim": "fast"}, "claim is 'fast'"),
        ({"quick": True, "seconds": 3.0}, "seconds would be ignored"),
        ({"files": []}, "files: none; allowed: one ONNX file or more"),
        ({"files": ["."]}, r"files: \.; allowed"),
    ],
)
def test_wrong_arguments_of_bench_are_named(folder: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kdtool.bench(**({"files": folder / "student.onnx"} | arguments))


def test_recipes_are_listed_with_their_titles() -> None:
    recipes = kdtool.list_recipes()
    assert {"paper", "best", "digits"} <= recipes.keys()
    assert all(recipes.values())


def test_a_folder_that_is_no_run_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run"):
        kdtool.open_run(tmp_path)


@pytest.mark.parametrize("name", ["epochs", "student.", ".epochs", ""])
def test_a_field_to_set_has_a_section(name: str) -> None:
    with pytest.raises(ValueError, match=r"set: .* is not a field of a recipe; allowed: section\.key"):
        kdtool.run(set={name: 3})
