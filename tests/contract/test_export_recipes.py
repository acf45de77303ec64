"""Every network that a recipe names passes the gate, as training leaves it: heads averaged, helpers gone.

What onnxsim makes of such graphs goes through the gate in test_export_archs.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kdtool.arch.network import build, load_network, parameter_count, save_network, two_heads
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.exporters.compute.count import count_onnx
from kdtool.exporters.onnx import export_network
from kdtool.exporters.parity import BATCHES, check_parity, parity_images, worst
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.recipe.files import load_recipe, shipped_recipes
from kdtool.recipe.settings import ExportSettings, Recipe
from kdtool.runtime.onnxruntime import open_model
from kdtool.train.student import feature_distillation
from kdtool.train.teaching.features import OnlineTeacher

SETTINGS = ExportSettings()
SIZE = 64  # ResNets end in 2 × 2, transformers see 4 × 4 patches
CLASSES = ("a", "b", "c")
PREPROCESS = Preprocess(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
PIXELS = np.random.default_rng(0).integers(0, 256, (sum(BATCHES), SIZE, SIZE, 3), dtype=np.uint8)
RECIPES = [load_recipe(name) for name in shipped_recipes()]
ELSEWHERE = {"timm/tf_efficientnet_lite0", "timm/tf_efficientnet_lite2"}  # see test_export_archs.py
ARCHS = sorted(
    {arch for recipe in RECIPES for arch in (recipe.teacher.arch, recipe.student.arch)} - ELSEWHERE
)


def trained(arch: str) -> tuple[torch.nn.Module, bool]:
    """A network in the state of training, listened to by helper layers; and whether it has two heads."""
    torch.manual_seed(0)
    network = build(arch, len(CLASSES), SIZE)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:  # biases and norms, which begin as 0 and 1 and would hide a mistake
                parameter.add_(0.02 * torch.randn_like(parameter))
    for recipe in RECIPES:
        if recipe.student.arch == arch and recipe.student.features.name:
            hint(recipe, network)
    return network, two_heads(network)


def hint(recipe: Recipe, student: torch.nn.Module) -> None:
    """Listen to the student as the recipe's training does."""
    teacher = OnlineTeacher(build(recipe.teacher.arch, len(CLASSES), SIZE), PREPROCESS)
    helpers = feature_distillation(recipe.student.features, student, teacher, SIZE)
    assert {id(one) for one in helpers.parameters()}.isdisjoint(id(one) for one in student.parameters())


def mean_of_heads(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """By the network's parts: class head on the class token, distillation head on the distillation token."""
    tokens = network.forward_features(images)
    heads = network.head(tokens[:, 0]), network.head_dist(tokens[:, 1])
    assert (heads[0] - heads[1]).abs().max() > 0.01
    return sum(heads) / 2


def test_recipes_name_transformers_with_a_distillation_token() -> None:
    """What is tested below is there to be tested."""
    assert {"resnet18", "resnet34", "timm/deit_tiny_distilled_patch16_224"} <= set(ARCHS)
    assert any(recipe.student.features.name for recipe in RECIPES)


@pytest.mark.parametrize("arch", ARCHS)
def test_a_network_of_the_recipes_passes_the_gate(arch: str, tmp_path: Path) -> None:
    network, distilled = trained(arch)
    info = ModelInfo("student", arch, CLASSES, PREPROCESS)
    save_network(tmp_path / "model.safetensors", network.state_dict(), info)
    assert load_file(tmp_path / "model.safetensors").keys() == build(arch, 3, SIZE).state_dict().keys()
    network, info = load_network(tmp_path / "model.safetensors")
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(export_network(network, arch, SIZE, SETTINGS.opset), info))

    run, images = open_model(path).run, parity_images(PIXELS, PREPROCESS)
    parity = check_parity(network, run, images, SETTINGS.tolerance, path)
    assert [one.batch for one in parity] == list(BATCHES)
    assert worst(parity) <= SETTINGS.tolerance
    images = PREPROCESS.normalize(PIXELS[:4])
    logits = torch.from_numpy(run(images))
    assert logits.shape == (4, len(CLASSES))
    if distilled:
        with torch.no_grad():
            torch.testing.assert_close(
                logits, mean_of_heads(network, torch.from_numpy(images)), atol=1e-4, rtol=0
            )
    count = count_onnx(path)
    assert count.params == pytest.approx(parameter_count(network), rel=0.002)  # batch norms are folded
    assert not count.uncounted
