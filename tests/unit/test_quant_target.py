"""From a processor's flags to the scheme of its INT8."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtool.calibration.ranges import METHODS
from kdtool.machine.cpu import int8_kind, int8_target
from kdtool.quant.target import SCHEMES, int8_scheme
from kdtool.recipe.choices import Calibration, Int8Target

HOSTS = {
    "x86-avx2": ("x86_64", "flags\t: fpu avx avx2 avx512f avx512bw"),
    "x86-vnni": ("x86_64", "flags\t: fpu avx2 avx512_vnni"),
    "arm": ("aarch64", "Features\t: fp asimd evtstrm crc32 cpuid"),  # Raspberry Pi 4
    "arm-dotprod": ("aarch64", "Features\t: fp asimd atomics asimddp"),  # Raspberry Pi 5
}


@pytest.mark.parametrize("target", HOSTS)
def test_each_target_is_one_that_a_processor_answers(target: str, tmp_path: Path) -> None:
    machine, flags = HOSTS[target]
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    assert int8_target(tmp_path, machine) == target


@pytest.mark.parametrize(
    ("machine", "flags", "kind"),
    [
        ("arm64", (), "arm-dotprod"),  # Apple's, which say nothing
        ("aarch64", (), "arm"),
        ("x86_64", (), "x86-avx2"),
        ("AMD64", ("avx_vnni",), "x86-vnni"),
    ],
)
def test_a_host_of_a_result_is_of_the_same_kinds(machine: str, flags: tuple[str, ...], kind: str) -> None:
    assert int8_kind(flags, machine) == kind


def test_no_processor_is_the_web() -> None:
    assert set(SCHEMES) == {*HOSTS, Int8Target.WEB}


def test_this_host_has_a_target() -> None:
    assert int8_target() in SCHEMES


@pytest.mark.parametrize("target", SCHEMES)
def test_every_scheme_has_signed_weights_per_channel_and_asymmetric_activations(target: str) -> None:
    scheme = int8_scheme(target)
    assert scheme.target == target
    assert (scheme.weight, scheme.per_channel) == ("int8", True)
    assert "asymmetric activations" in str(scheme)
    assert scheme.reason
    assert str(scheme).startswith("QDQ, S8S8" if target.startswith("arm") else "QDQ, U8S8")
    assert ("7 bits" in str(scheme)) == (target == "x86-avx2")


def test_the_range_is_reduced_only_where_sums_saturate() -> None:
    assert [target for target in SCHEMES if int8_scheme(target).reduce_range] == ["x86-avx2"]


@pytest.mark.parametrize("target", SCHEMES)
@pytest.mark.parametrize("reduce_range", [True, False])
def test_the_users_word_counts(target: str, reduce_range: bool) -> None:
    scheme = int8_scheme(target, reduce_range)
    assert scheme.reduce_range is reduce_range
    assert "by hand" in scheme.reason
    assert ("7 bits" in str(scheme)) == reduce_range


def test_every_choice_has_its_entry() -> None:
    assert set(SCHEMES) == set(Int8Target) - {Int8Target.AUTO}
    assert set(METHODS) == set(Calibration)
