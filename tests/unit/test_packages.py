"""What kdtool needs, read from its installed metadata."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kdtool.core.errors import SetupError
from kdtool.machine import packages
from kdtool.machine.packages import TRAIN, require_training, required, versions_of

METADATA = [
    "click>=8.5",
    "absent",
    "elsewhere; sys_platform == 'nowhere'",
    "numpy>=1.26; extra == 'train'",
    "openvino>=2025.0; extra == 'openvino'",
]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    required.cache_clear()
    yield
    required.cache_clear()


def test_an_extra_is_what_it_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "requires", lambda _: METADATA)
    assert {name: str(allowed) for name, allowed in required().items()} == {"click": ">=8.5", "absent": ""}
    assert list(required(TRAIN)) == ["numpy"]
    assert list(required("openvino")) == ["openvino"]
    assert list(versions_of()) == ["python", "click", "numpy"], "those that are not installed have no version"
    assert list(versions_of(("numpy", "absent"))) == ["python", "numpy"]


def test_the_training_extra_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    require_training("run")  # the tests have it
    monkeypatch.setattr(packages, "requires", lambda _: [*METADATA, "missing-package>=1; extra == 'train'"])
    required.cache_clear()
    with pytest.raises(SetupError, match="kdtool run needs the package 'missing-package'") as caught:
        require_training("run")
    assert 'pip install "kdtool[train]"' in caught.value.hint


def test_a_source_tree_that_is_not_installed_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(_: str) -> None:
        raise packages.PackageNotFoundError

    monkeypatch.setattr(packages, "requires", requires)
    require_training("run")
    assert list(versions_of()) == ["python"]
    monkeypatch.setattr(packages, "version", requires)
    with pytest.raises(SetupError, match="needs the package 'torch'"):
        require_training("run")
