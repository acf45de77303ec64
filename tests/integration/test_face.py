"""The public face where it trains, exports and quantizes: on small photographs and small networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import kdtool
from fixtures.runs.onnxmodels import CLASSES, SIDE, classifier, photographs
from kdtool.bundle.proof.verify import verify
from kdtool.cli import main
from kdtool.core.errors import DataError, GateError, ModelFileError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared
from kdtool.quant.accuracy import Accuracy
from kdtool.recipe.settings import DataSettings
from kdtool.runtime.onnxbytes.declared import onnx_info

SMALL = {
    "data.size": 32,
    "teacher.arch": "timm/test_resnet", "teacher.weights": "none", "teacher.epochs": 1,
    "student.arch": "timm/test_resnet", "student.weights": "none", "student.epochs": 1,
    "quantize.calibration_images": 8, "quantize.max_drop": 100,
    "bench.runs": 64, "bench.seconds": 0, "bench.cold_starts": 0, "bench.batch": 0,
    "bench.single_thread": False,
}  # fmt: skip
RULE = kdtool.Preprocess(SIDE, SIDE)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photos"), {"train": 8, "validation": 4, "test": 4})


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> kdtool.Run:
    out = tmp_path_factory.mktemp("out") / "run"
    return kdtool.run(pictures, recipe="digits", set=SMALL, out=out, baseline=True, seed=3, quiet=True)


def test_a_run_gives_its_records_and_its_models(run: kdtool.Run, pictures: Path) -> None:
    assert run.failed is None
    assert run.claim == run.bench.claim
    assert [model.name for model in run.bench.models] == [
        "teacher", "student", "baseline", "teacher-int8", "student-int8",
    ]  # fmt: skip
    assert run.report.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert run.student.labels == run.teacher.labels == CLASSES
    assert run.model("student", "int8").precision == "int8"
    assert run.folder.read_record()["seed"] == 3
    assert repr(run).startswith(f"Run({run.path}): BenchResult: {run.claim.verdict}\n  teacher: ")
    assert kdtool.open_run(run.path) == run


def test_a_run_goes_on_where_it_was(run: kdtool.Run, capsys: pytest.CaptureFixture[str]) -> None:
    again = kdtool.run(out=run.path)
    assert again == run
    assert "complete, skipped" in capsys.readouterr().err
    with pytest.raises(ValueError, match="trained with other settings"):
        kdtool.run(out=run.path, set={"data.size": 40}, quiet=True)


def test_a_run_becomes_a_bundle_that_answers_alike(run: kdtool.Run, pictures: Path) -> None:
    folder = run.bundle(photographs=1, license="CC0-1.0", quiet=True)
    assert verify(folder, QUIET).images > 1
    assert "CC0-1.0" in (folder / "MODEL_CARD.md").read_text("utf-8")
    photo = pictures / "test" / "red" / "0.png"
    for place in (folder, folder.parent / "bundle.zip"):
        assert kdtool.load(place).predict(photo) == run.student.predict(photo)


def test_the_photographs_of_a_run_are_a_data_set_of_torch(run: kdtool.Run) -> None:
    data = run.data.torch("validation")
    images, labels = next(iter(DataLoader(data, batch_size=12, num_workers=2)))
    split = run.data.prepared.split("validation")
    assert labels.tolist() == split.labels.tolist()
    np.testing.assert_array_equal(images.numpy(), run.data.preprocess.normalize(np.asarray(split.images)))


def test_a_data_set_is_opened_by_each_worker(pictures: Path, tmp_path: Path) -> None:
    """Also where no decoded images are kept, and threads decode photographs."""
    prepared, _ = prepare(str(pictures), DataSettings(size=SIDE, cache="none"), 0, tmp_path, QUIET)
    data = kdtool.Data(prepared).torch("train")
    first = data[0]  # a thread works in this process from now on
    for context in ("fork", "spawn"):
        loader = DataLoader(data, batch_size=24, num_workers=1, multiprocessing_context=context)
        images, labels = next(iter(loader))
        assert labels.bincount().tolist() == [8, 8, 8]
        torch.testing.assert_close(images[0], first[0], rtol=0, atol=0)


def test_a_transform_sees_pixels_and_gives_pixels(prepared: Prepared) -> None:
    plain = kdtool.Data(prepared).torch("train")
    flipped = kdtool.Data(prepared).torch("train", transform=lambda image: image.flip(2))
    assert len(plain) == 24
    torch.testing.assert_close(flipped[5][0], plain[5][0].flip(2), rtol=0, atol=0)
    torch.testing.assert_close(plain[-1][0], plain[23][0], rtol=0, atol=0)
    with pytest.raises(IndexError):
        plain[24]
    with pytest.raises(ValueError, match=r"transform does not return a uint8 tensor"):
        kdtool.Data(prepared).torch("train", transform=lambda image: image.float())[0]
    with pytest.raises(DataError, match="no split 'dev'"):
        kdtool.Data(prepared).torch("dev")


def test_photographs_that_were_prepared_again_are_not_mixed(pictures: Path, tmp_path: Path) -> None:
    opened = kdtool.open_data(pictures, size=SIDE, out=tmp_path, quiet=True)
    images = opened.torch("train")
    kdtool.open_data(pictures, size=16, out=tmp_path, quiet=True)
    assert images[0][0].shape == (3, SIDE, SIDE)
    with pytest.raises(DataError, match="these photographs were prepared again with other settings"):
        opened.torch("train")


@pytest.mark.parametrize("seed", [-1, 2**32, "3"])
def test_a_wrong_seed_leaves_no_run(tmp_path: Path, seed: int) -> None:
    with pytest.raises(UsageError, match=r"seed is .*; allowed: a whole number, from 0 to 4294967295"):
        kdtool.run(seed=seed, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_losses_are_created_by_name_with_their_parameters() -> None:
    student, teacher, target = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    from kdtool.losses import kd_loss

    loss = kdtool.create_loss("kd", temperature=2.0)
    assert loss(student, teacher, target) == kd_loss(student, teacher, target, temperature=2.0)
    hints = kdtool.create_loss("fitnet")([(2, 4, 4)], [(3, 4, 4)])
    assert hints([torch.randn(2, 2, 4, 4)], [torch.randn(2, 3, 4, 4)]).ndim == 0
    assert next(iter(kdtool.list_losses())) == "kd"
    assert all(kdtool.list_losses().values())


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("kd", {"temperature": -1}, r"^temperature is -1; allowed: above 0\.\nExample: temperature=2$"),
        ("dkd", {"beta": -1.0}, r"^beta is -1\.0; allowed: 0 or more\.\nExample: beta=1$"),
        ("kd", {"temprature": 2.0}, r"^temprature: the loss 'kd' has no such parameter; allowed: temp"),
        ("kd", {"temperature": "warm"}, r"^temperature is 'warm'; allowed: a finite number\.\nThe def"),
        ("kd", {"temperature": 1e300}, r"^the loss 'kd' cannot take temperature=1e\+300"),
        ("vitkd", {"mask_ratio": 1.0}, r"^mask_ratio is 1\.0; allowed: between 0 and 1\."),
        ("hinton", {}, r"^name is 'hinton'; allowed: kd, .*, vitkd\.\nSee kdtool\.list_losses"),
    ],
)  # fmt: skip
def test_a_wrong_loss_is_a_value_error_that_names_the_argument(
    name: str, parameters: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kdtool.create_loss(name, **parameters)


def test_stages_that_do_not_fit_are_said_without_the_recipe() -> None:
    with pytest.raises(ValueError, match=r"^this loss compares feature maps; the student is a vision"):
        kdtool.create_loss("fitnet")([(4, 2)], [(4, 2)])


class Network(nn.Module):
    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


def test_a_network_from_anywhere_is_exported_and_gives_its_own_logits(pictures: Path, tmp_path: Path) -> None:
    network, path = Network(), tmp_path / "new" / "own.onnx"
    rule = kdtool.Preprocess(10, SIDE, mean=(0.4, 0.5, 0.6))
    assert kdtool.export(network, path, classes=CLASSES, preprocess=rule, images=pictures, quiet=True) == path
    assert network.training, "the caller's network changed its mode"
    model, photo = kdtool.load(path), pictures / "test" / "red" / "0.png"
    pixels = rule.read(photo.read_bytes(), "photo")
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(rule.normalize(pixels[None])))[0]
    np.testing.assert_allclose(model.logits(photo), expected.numpy(), atol=1e-5)
    info = onnx_info(path)
    assert info is not None
    assert (info.role, info.arch, info.classes, info.preprocess) == ("student", "Network", CLASSES, rule)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"size": 8, "classes": ["a", "b"]},
            r"network returns \(2, 3\) for 2 images; allowed: .* \(2, 2\)",
        ),
        ({"classes": CLASSES}, "size and preprocess: allowed is exactly one"),
        ({"size": 8, "preprocess": RULE, "classes": CLASSES}, "size and preprocess: allowed is exactly one"),
        ({"size": 8, "classes": CLASSES, "opset": 9}, "opset is 9: Input should be greater"),
        ({"size": 8, "classes": CLASSES, "role": "pupil"}, "role is 'pupil'; allowed: teacher, student"),
        ({"size": 8, "classes": []}, r"classes is \[\]; allowed: different names"),
        ({"size": "8", "classes": CLASSES}, "size is '8'; allowed: a whole number, from 1 to 4096"),
        ({"size": -1, "classes": CLASSES}, "size is -1; allowed: a whole number, from 1 to 4096"),
    ],
)
def test_wrong_arguments_of_export_are_named(arguments: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        kdtool.export(Network(), tmp_path / "own.onnx", **arguments)
    with pytest.raises(ValueError, match="network fails on images of shape"):
        kdtool.export(nn.Linear(3, 3), tmp_path / "own.onnx", classes=CLASSES, size=8)
    with pytest.raises(ValueError, match=r"network is a str; allowed: a torch\.nn\.Module"):
        kdtool.export("resnet", tmp_path / "own.onnx", classes=CLASSES, size=8)  # type: ignore[arg-type]  # wrong on purpose
    assert not list(tmp_path.iterdir())


class Branching(Network):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images)
        return logits if logits.sum() > 0 else -logits


def test_an_export_that_torch_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="Branching cannot be exported to ONNX with opset 18") as failed:
        kdtool.export(Branching(), tmp_path / "own.onnx", classes=CLASSES, size=SIDE, quiet=True)
    assert "data-dependent" in failed.value.message
    assert failed.value.message.isprintable()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """student.onnx, and foreign.onnx, whose input is called otherwise and which says nothing of itself."""
    (tmp_path / "student.onnx").write_bytes(classifier(ModelInfo("student", "tiny", CLASSES, RULE)))
    foreign = onnx.load_from_string(classifier(None))
    foreign.graph.input[0].name = foreign.graph.node[0].input[0] = "pixel_values"
    onnx.save(foreign, tmp_path / "foreign.onnx")
    return tmp_path


def test_photographs_with_splits_calibrate_and_measure(files: Path, pictures: Path) -> None:
    made = kdtool.quantize(files / "student.onnx", pictures, target="arm-dotprod", quiet=True)
    assert made.path == files / "student.int8.onnx"
    assert (made.target, made.images, made.accuracy_before, made.accuracy_after) == ("arm-dotprod", 12, 1, 1)
    assert (made.size_after, made.float_layers) == (made.path.stat().st_size, ())
    info = onnx_info(made.path)
    assert info is not None
    assert (info.precision, info.classes, info.notes["target"]) == ("int8", CLASSES, "arm-dotprod")
    assert info.notes["calibration"] == "minmax over 24 calibration images"
    assert kdtool.load(made.path).predict(pictures / "test" / "red" / "0.png").label == "red"


def test_photographs_without_splits_are_halved(
    files: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = kdtool.quantize(files / "student.onnx", pictures / "train", out=files / "x.onnx", quiet=True)
    assert (made.path, made.images) == (files / "x.onnx", 12)
    assert "train has no validation split; 12 of the photographs are taken." in made.notes[0]
    kdtool.quantize(files / "student.onnx", pictures / "train", out=files / "x.onnx")
    assert "Accuracy means nothing on photographs" in " ".join(capsys.readouterr().err.split())


def test_a_foreign_file_is_quantized_on_images_of_any_form(files: Path, pictures: Path) -> None:
    paths = sorted((pictures / "train" / "red").iterdir())
    images = [
        paths[0],
        str(paths[1]),
        paths[2].read_bytes(),
        Image.open(paths[3]),
        np.asarray(Image.open(paths[4])),
    ]
    foreign = files / "foreign.onnx"
    made = kdtool.quantize(foreign, images, classes=CLASSES, preprocess=RULE, quiet=True)
    assert (made.accuracy_before, made.accuracy_after, made.images) == (None, None, 0)
    assert kdtool.load(made.path).predict(paths[5]).label == "red"
    assert onnx.load(made.path).graph.input[0].name == "pixel_values"
    array = np.stack([np.asarray(Image.open(path)) for path in paths])
    for labels in (["red"] * 8, [2] * 8, np.full(8, 2)):
        made = kdtool.quantize(foreign, array, labels=labels, classes=CLASSES, preprocess=RULE, quiet=True)
        assert (made.images, made.accuracy_after) == (4, 1)
    made = kdtool.quantize(foreign, pictures / "train" / "red", classes=CLASSES, preprocess=RULE, quiet=True)
    assert made.images == 0


def test_too_much_loss_writes_nothing(
    files: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kdtool.export(Network(), files / "own.onnx", classes=CLASSES, size=SIDE, quiet=True)
    before = sorted(files.iterdir())
    answers = [Accuracy(12, 12), Accuracy(3, 12), Accuracy(9, 12)]
    found = iter(answers)
    for module in ("loose", "maker"):
        monkeypatch.setattr(f"kdtool.quant.{module}.top1", lambda *_: next(found))
    with pytest.raises(GateError, match=r"INT8 loses 25\.00 percentage points .* allowed is 1 \(max_drop\)"):
        kdtool.quantize(path, pictures, float_layers=1)
    assert sorted(files.iterdir()) == before
    assert "is kept in FP32; validation accuracy 75.00 %" in capsys.readouterr().err

    found = iter(answers)
    made = kdtool.quantize(path, pictures, float_layers=1, max_drop=25.0, quiet=True)
    assert (made.accuracy_after, len(made.float_layers)) == (0.75, 1)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("student", {"target": "toaster"}, "target is 'toaster': Input should be 'auto', 'x86-avx2'"),
        ("student", {"max_drop": -1}, "max_drop is -1: Input should be greater"),
        ("student", {"labels": ["red"]}, "labels: the folders of the photographs are their classes already"),
        ("student", {"out": "student.onnx"}, "out: .* is the model itself"),
        ("foreign", {}, "states neither its classes nor its preprocessing"),
        ("foreign", {"classes": ["a", "b", "c"], "preprocess": RULE}, r"^foreign\.onnx: .* the data: blue"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_quantize_are_named(
    files: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict, message: str
) -> None:
    monkeypatch.chdir(files)
    with pytest.raises((UsageError, DataError), match=message):
        kdtool.quantize(f"{name}.onnx", pictures, **arguments)


def test_labels_fit_the_images(files: Path) -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="labels: 2 for 3 images; allowed: one for each image, of blue"):
        kdtool.quantize(files / "student.onnx", images, labels=["red", "red"])
    with pytest.raises(ValueError, match="the model does not know pink"):
        kdtool.quantize(files / "student.onnx", images, labels=["red", "pink", "red"])
    with pytest.raises(DataError, match="There is one image"):
        kdtool.quantize(files / "student.onnx", images[:1], labels=["red"])
    with pytest.raises(DataError, match="There are no images"):
        kdtool.quantize(files / "student.onnx", [])


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["quantize", *map(str, words)])
    return int(stop.value.code or 0)


def test_the_command_quantizes_a_file(
    files: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(files / "student.onnx", "--data", pictures, "--set", "quantize.float_layers=0") == 0
    out, err = capsys.readouterr()
    assert out == f"{files / 'student.int8.onnx'}\n"
    assert "accuracy 100.00 % → 100.00 % (+0.00 percentage points, 12 images)" in err
    like = ("--like", files / "student.onnx", "--out", files / "new.onnx", "--calibration", "mse")
    assert command(files / "foreign.onnx", "--data", pictures, *like) == 0
    info = onnx_info(files / "new.onnx")
    assert info is not None
    assert info.notes["calibration"].startswith("mse over ")


def test_the_command_leaves_the_models_of_a_run(
    run: kdtool.Run, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run.folder.onnx_model("student", "int8").read_bytes()
    assert command(run.folder.onnx_model("student"), "--data", pictures) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"is a model of the run {run.path}" in said
    assert f"kdtool quantize {run.path}, or name another file" in said
    assert run.folder.onnx_model("student", "int8").read_bytes() == before
    out = tmp_path / "student.int8.onnx"
    elsewhere = ("--out", out, "--max-drop", 100)
    assert command(run.folder.onnx_model("student"), "--data", pictures, *elsewhere) == 0
    assert out.is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("student.onnx",), "quantization needs photographs to calibrate on"),
        (("foreign.onnx", "--data", "."), "states neither its classes nor its preprocessing"),
        (("student.onnx", "--data", ".", "--search"), "need a run, not a file"),
        (("student.onnx", "--data", ".", "--set", "student.epochs=3"), "no effect on a file"),
        (("student.onnx", "--data", ".", "--like", "foreign.onnx"), "foreign.onnx: the file states neither"),
        ((".", "--data", "."), "--data: no effect on a run"),
        (("--out", "x.onnx"), "--out: no effect on a run"),
    ],
)
def test_options_that_do_not_fit_are_said(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple,
    message: str,
) -> None:
    monkeypatch.chdir(files)
    assert command(*words) == 2
    assert message in " ".join(capsys.readouterr().err.split())
