"""What doctor finds in an installation and a machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fixtures.hosts import MACHINE, levels
from kdtool.doctor import installation as doctor
from kdtool.doctor.installation import check_installation, check_machine
from kdtool.runtime import DEFAULT, RUNTIMES, load_runtime


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {"": ("numpy", "onnxruntime", "pillow>=13", "pydantic"), "train": ("torch>=2.10", "onnx")}
    monkeypatch.setattr(
        doctor,
        "required",
        lambda extra="": {r.name: r.specifier for r in map(Requirement, needed.get(extra, ()))},
    )
    found = {"python": "3.11", "pillow": "12.1", "numpy": "2.0", "torch": "2.14.1+cpu"}
    monkeypatch.setattr(doctor, "versions_of", lambda _: found)
    text = levels(check_installation())
    assert "broken packages: Missing: onnxruntime, pydantic" in text
    assert "warning packages: pillow is 12.1, allowed is >=13." in text
    assert "note training: Not installed: onnx." in text
    assert 'pip install "kdtool[train]"' in text
    assert "torch" not in text.replace(f"torch {found['torch']}", "")


@pytest.mark.parametrize("name", RUNTIMES)
def test_doctor_lists_every_runtime(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(doctor, "_onnxruntime_loads", lambda _: ())

    def runtimes() -> str:
        return next(one.text for one in check_installation() if one.about == "runtimes")

    assert f"{name} {load_runtime(name).version()}" in runtimes()
    monkeypatch.setattr(doctor, "versions_of", lambda _: {"python": "3.11"})
    extra = "kdtool" if name == DEFAULT else f'"kdtool[{name}]"'
    assert f"{name} not installed (pip install {extra})" in runtimes()


def test_doctor_tries_onnxruntime_in_a_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'Illegal instruction' >&2\nexit 132\n")
    broken.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(broken))
    assert "cannot be loaded on" in levels(check_installation())
    assert "Illegal instruction" in levels(check_installation())
    monkeypatch.setattr(doctor.sys, "executable", str(tmp_path / "absent"))
    assert "broken onnxruntime" in levels(check_installation())


def test_doctor_of_32_bits_and_piwheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(doctor, "_pip_settings", lambda: "extra-index-url = piwheels")
    assert "pip uses piwheels" in levels(check_installation())
    monkeypatch.setattr(doctor.sys, "maxsize", 2**31 - 1)
    assert "broken python: This Python is 32-bit" in levels(check_installation())


def test_doctor_of_a_hot_full_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "DISK_WANTED", 1 << 60)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    host = replace(MACHINE, temperature_c=85.0, throttling=("throttled",))
    text = levels(check_machine(host, tmp_path, "U8S8"))
    for part in ("warning heat: 85 °C", "warning power", "warning disk", "ok int8: U8S8"):
        assert part in text
    assert "note threads: OMP_NUM_THREADS=1 is set and limits" in text
    assert "kdtool run DATA --out DIR" in text
