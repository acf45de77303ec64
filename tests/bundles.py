"""What tests of bundles share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from kdtool.bundle.page.runtime import WebRuntime
from kdtool.bundle.proof.golden import read_golden
from kdtool.cli import main

REMOTE = WebRuntime(None)  # at its pinned address: nothing to copy


def exit_code(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def ready(page: Page) -> Page:
    """The page of a bundle, once its first model is loaded."""
    page.wait_for_selector("body[data-ready]")
    return page


def answers(page: Page) -> dict[str, str]:
    """Model → the class on top."""
    columns = page.locator("#columns .column").all()
    return {
        column.locator("h3").inner_text(): column.locator("li bdi").first.inner_text() for column in columns
    }


def labels_of(bundle: Path) -> list[str]:
    labels: list[str] = json.loads((bundle / "bundle.json").read_text())["labels"]
    return labels


def best(bundle: Path, image: str, model: str = "model.onnx") -> str:
    """Python's top-1."""
    (vector,) = [vector for vector in read_golden(bundle).vectors if vector.image == image]
    return labels_of(bundle)[int(np.argmax(vector.logits[model]))]
