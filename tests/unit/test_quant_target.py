"""From a processor's flags to the recipe of its INT8."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtool.core.cpu import int8_target
from kdtool.quant.target import TARGETS, int8_recipe

HOSTS = {
    "x86": ("x86_64", "flags\t: fpu avx avx2 avx512f avx512bw"),
    "x86-vnni": ("x86_64", "flags\t: fpu avx2 avx512_vnni"),
    "arm": ("aarch64", "Features\t: fp asimd evtstrm crc32 cpuid"),  # Raspberry Pi 4
    "arm-dotprod": ("aarch64", "Features\t: fp asimd atomics asimddp"),  # Raspberry Pi 5
}


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_is_one_that_a_processor_answers(target: str, tmp_path: Path) -> None:
    machine, flags = HOSTS[target]
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    assert int8_target(tmp_path, machine) == target


def test_this_host_has_a_target() -> None:
    assert int8_target() in TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_every_recipe_is_signed_per_channel_and_says_why(target: str) -> None:
    recipe = int8_recipe(target)
    assert recipe.target == target
    assert (recipe.weight, recipe.per_channel) == ("int8", True)
    assert recipe.symmetric == (recipe.activation == "int8")
    assert recipe.reason
    assert str(recipe).startswith("U8S8" if target.startswith("x86") else "S8S8")


def test_the_range_is_reduced_only_where_sums_saturate() -> None:
    assert [target for target in TARGETS if int8_recipe(target).reduce_range] == ["x86"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reduce_range", [True, False])
def test_the_users_word_counts(target: str, reduce_range: bool) -> None:
    recipe = int8_recipe(target, reduce_range)
    assert recipe.reduce_range is reduce_range
    assert "by hand" in recipe.reason
    assert ("7 bits" in str(recipe)) == reduce_range
