"""A student that starts from weights starts from its linear probe, with the pixels that the weights know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdtool import pipeline
from kdtool.arch.network import build, load_network
from kdtool.core.errors import SetupError, UsageError
from kdtool.core.screen import QUIET
from kdtool.runs.record import Job
from kdtool.runs.stage import read_manifest
from kdtool.train.loop.evaluate import predict
from kdtool.train.settings import network_preprocess
from kdtool.train.stage import optimization_of, training_examples
from kdtool.train.stored import FEATURES, stored_answers
from kdtool.train.teaching import softlabels
from kdtool.train.teaching.teacher import open_teacher
from kdtool.train.views.batch import Examples, plain_examples

CPU = torch.device("cpu")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TINY = [
    "data.size=32",
    "teacher.arch=resnet18",
    "teacher.weights=none",
    "teacher.epochs=1",
    "student.epochs=1",
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(build("resnet18", 1000, 32).state_dict(), file)
    return file


def _job(out: Path, *changes: str) -> Job:
    return pipeline.start("digits", out, "digits", [*TINY, *changes], 0, QUIET)


def test_student_starts_from_its_probe(tmp_path: Path, weights: Path) -> None:
    changes = (
        f"student.weights={weights}",
        "student.train=head",
        f"teacher.weights={weights}",
        "teacher.train=head",
    )
    job = pipeline.check(_job(tmp_path / "run", *changes), student=True)
    prepared = pipeline.prepare(job)
    pipeline.teach(job, prepared)
    pipeline.distill(job, prepared, baseline=False)
    assert job.run.trained_roles() == ("teacher", "student", "probe")
    teacher, student, probe = (
        load_network(job.run.weights(role)) for role in ("teacher", "student", "probe")
    )
    for _, info in (teacher, student, probe):
        assert (info.preprocess.mean, info.preprocess.std) == IMAGENET
    given = build("resnet18", 10, 32, str(weights))
    for network, _ in (teacher, student, probe):  # only the head was trained
        for name, value in given.state_dict().items():
            assert name.startswith("fc.") or torch.equal(network.state_dict()[name], value), name
    assert torch.equal(teacher[0].fc.weight, probe[0].fc.weight)  # the same network, so the same probe
    assert not torch.equal(student[0].fc.weight, probe[0].fc.weight)
    manifest = read_manifest(job.run.role("probe") / "manifest.json")
    assert manifest is not None
    assert manifest.result["validation_accuracy"] > 0.5  # random features, linear: digits are easy
    before = job.run.weights("student").stat().st_mtime_ns
    pipeline.distill(job, prepared, baseline=False)
    assert job.run.weights("student").stat().st_mtime_ns == before


def test_a_network_from_scratch_has_the_statistics_of_the_photographs(tmp_path: Path) -> None:
    job = _job(tmp_path / "run")
    prepared = pipeline.prepare(job)
    assert network_preprocess(prepared, job.recipe.student) == prepared.preprocess


def test_a_frozen_teacher_answers_from_stored_features(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its probe saw is not seen again; photographs without labels are, and other ones."""
    job = _job(tmp_path / "run", f"teacher.weights={weights}", "teacher.train=head")
    prepared = pipeline.prepare(job)
    pipeline.teach(job, prepared)
    teacher = open_teacher(job.run, prepared)
    both = replace(prepared, unlabelled=prepared).for_student
    plain = {name: plain_examples(both, name, teacher.info.preprocess) for name in ("train", "validation")}
    expected = {name: predict(teacher.network, part, CPU) for name, part in plain.items()}
    seen: list[range] = []

    def counted(network: nn.Module, examples: Examples, device: torch.device, *rest: Any) -> Any:
        seen.append(rest[1])
        return predict(network, examples, device, *rest)

    monkeypatch.setattr(softlabels, "predict", counted)
    number = prepared.counts["train"]
    task = training_examples(both, job.recipe.student, seed=0)
    stored = softlabels.store_soft_labels(teacher, both, task, tmp_path / "soft", QUIET)
    assert [image for images in seen for image in images] == list(range(number, 2 * number))
    for name, logits in expected.items():
        np.testing.assert_allclose(stored.logits[name][:, 0], logits, atol=1e-4)

    other = pipeline.prepare(pipeline.start("digits", tmp_path / "other", "digits", TINY, 1, QUIET))
    place = job.run.role("teacher")
    assert stored_answers(place, teacher.network, teacher.info, prepared).keys() == plain.keys()
    assert not stored_answers(place, teacher.network, teacher.info, other)
    (place / "probe" / FEATURES).unlink()
    assert not stored_answers(place, teacher.network, teacher.info, prepared)


@pytest.mark.parametrize(
    ("field", "mend"),
    [
        ("train=head", "--student-weights imagenet"),
        ("freeze_norm=true", "--set student.freeze_norm=auto"),
    ],
)
def test_frozen_parts_need_weights(tmp_path: Path, field: str, mend: str) -> None:
    with pytest.raises(UsageError, match="would stay random") as error:
        pipeline.check(_job(tmp_path / "run", f"student.{field}"), student=True)
    assert error.value.hint == mend


def test_statistics_are_kept_if_the_network_starts_from_weights(tmp_path: Path) -> None:
    job = _job(tmp_path / "run", "student.freeze_norm=auto")
    pipeline.check(job, student=True)
    scratch = job.recipe.student
    assert not optimization_of(scratch).freeze_norm
    pretrained = scratch.model_copy(update={"weights": "imagenet"})
    assert optimization_of(pretrained).freeze_norm


def test_missing_weights_name_the_option_and_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    job = _job(tmp_path / "run", "student.weights=imagenet")
    with pytest.raises(SetupError, match=r"resnet18-.*pth from https.*kept in .*checkpoints") as error:
        pipeline.check(job, student=True)
    assert "--student-weights FILE" in error.value.hint
    pipeline.check(job, student=True, download=False)  # --dry-run checks everything else
