"""From a processor's flags to the recipe of its INT8."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from kdtool.cli import quantize as cli
from kdtool.machine.cpu import int8_kind, int8_target
from kdtool.quant.calibration.ranges import METHODS
from kdtool.quant.target import TARGETS, int8_recipe
from kdtool.recipe.settings import QuantizeSettings

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
    assert set(TARGETS) == {*HOSTS, "web"}


def test_this_host_has_a_target() -> None:
    assert int8_target() in TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_every_recipe_has_signed_weights_per_channel_and_asymmetric_activations(target: str) -> None:
    recipe = int8_recipe(target)
    assert recipe.target == target
    assert (recipe.weight, recipe.per_channel) == ("int8", True)
    assert "asymmetric activations" in str(recipe)
    assert recipe.reason
    assert str(recipe).startswith("QDQ, S8S8" if target.startswith("arm") else "QDQ, U8S8")
    assert ("7 bits" in str(recipe)) == (target == "x86-avx2")


def test_the_range_is_reduced_only_where_sums_saturate() -> None:
    assert [target for target in TARGETS if int8_recipe(target).reduce_range] == ["x86-avx2"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reduce_range", [True, False])
def test_the_users_word_counts(target: str, reduce_range: bool) -> None:
    recipe = int8_recipe(target, reduce_range)
    assert recipe.reduce_range is reduce_range
    assert "by hand" in recipe.reason
    assert ("7 bits" in str(recipe)) == reduce_range


def test_recipe_and_command_line_offer_every_target_and_method() -> None:
    fields = QuantizeSettings.model_fields
    assert set(get_args(fields["target"].annotation)) == set(cli.TARGETS) == {"auto", *TARGETS}
    assert set(get_args(fields["calibration"].annotation)) == set(cli.METHODS) == set(METHODS)
