"""Every feature loss on the stages of networks: which it compares, what it teaches, what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdtool.arch.features import FeatureExtractor, feature_stages
from kdtool.arch.network import build
from kdtool.core.errors import UsageError
from kdtool.core.featurestage import FeatureStage
from kdtool.losses import FEATURE_LOSSES, feature_loss, pair_stages

SIZE = 64
CNN_LOSSES = [name for name in FEATURE_LOSSES if len(FEATURE_LOSSES[name].EXAMPLE[0]) == 3]
CNN_PAIRS = [
    ("resnet18", "resnet34"),
    ("timm/test_resnet", "timm/test_efficientnet"),
    ("resnet18", "timm/tf_efficientnet_lite0"),
]
VIT_PAIRS = [
    ("timm/test_vit", "timm/test_vit2"),
    ("timm/test_vit", "timm/deit_tiny_distilled_patch16_224"),
    ("timm/test_vit", "timm/test_vit"),
]


def step(name: str, student_arch: str, teacher_arch: str) -> tuple[list[tuple[str, str]], Tensor, nn.Module]:
    """The chosen names, the loss of one batch after its backward pass, and the student."""
    torch.manual_seed(0)
    student, teacher = build(student_arch, 3, SIZE).train(), build(teacher_arch, 3, SIZE).eval()
    pairs = pair_stages(name, feature_stages(student, SIZE), feature_stages(teacher, SIZE))
    loss = feature_loss(name, {})([one.shape for one, _ in pairs], [other.shape for _, other in pairs])
    images = torch.randn(4, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    with (
        FeatureExtractor(student, [one for one, _ in pairs]) as ours,
        FeatureExtractor(teacher, [other for _, other in pairs]) as theirs,
    ):
        student(images)
        with torch.no_grad():
            teacher(images)
        value = loss(ours.take(), theirs.take())
    value.backward()
    return [(one.name, other.name) for one, other in pairs], value, student


@pytest.mark.parametrize("student, teacher", CNN_PAIRS)
@pytest.mark.parametrize("name", CNN_LOSSES)
def test_a_cnn_learns_from_a_cnn(name: str, student: str, teacher: str) -> None:
    _, value, network = step(name, student, teacher)
    assert value.item() > 0
    assert next(network.parameters()).grad.abs().max() > 0


@pytest.mark.parametrize("student, teacher", VIT_PAIRS)
def test_a_transformer_learns_from_a_transformer(student: str, teacher: str) -> None:
    names, value, network = step("vitkd", student, teacher)
    assert names == [("blocks.0", "blocks.0"), ("blocks.1", "blocks.1"), ("norm", "norm")]
    assert value.item() > 0
    assert network.blocks[-1].mlp.fc1.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "name, chosen",
    [
        ("fitnet", [("layer2", "blocks.2")]),
        (
            "attention_transfer",
            list(
                zip(
                    ["layer1", "layer2", "layer3", "layer4"],
                    ["blocks.1", "blocks.2", "blocks.4", "bn2"],
                    strict=True,
                )
            ),
        ),
        (
            "reviewkd",
            list(
                zip(
                    ["layer1", "layer2", "layer3", "layer4"],
                    ["blocks.1", "blocks.2", "blocks.4", "bn2"],
                    strict=True,
                )
            ),
        ),
    ],
)
def test_stages_are_chosen_by_resolution(name: str, chosen: list[tuple[str, str]]) -> None:
    found = [
        feature_stages(build(arch, 3, SIZE), SIZE) for arch in ("resnet18", "timm/tf_efficientnet_lite0")
    ]
    assert [(one.name, other.name) for one, other in pair_stages(name, *found)] == chosen


def cnn(*sides: int) -> list[FeatureStage]:
    return [FeatureStage(f"layer{side}", (8, side, side), SIZE // side) for side in sides]


def vit(patches: int = 16) -> list[FeatureStage]:
    return [FeatureStage(name, (patches, 8), 16) for name in ("blocks.0", "blocks.1", "norm")]


def shapes_of(found: list[FeatureStage]) -> list[tuple[int, ...]]:
    return [stage.shape for stage in found]


def test_named_stages_are_paired_in_order() -> None:
    pairs = pair_stages("fitnet", cnn(16, 8), cnn(16, 8), ["layer8", "layer16"], ["layer16", "layer16"])
    assert [(one.name, other.name) for one, other in pairs] == [("layer8", "layer16"), ("layer16", "layer16")]


def test_unknown_stage_names_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"student_stages: no stage is called 'layer9'; allowed: layer16, layer8"
    ):
        pair_stages("fitnet", cnn(16, 8), cnn(16, 8), ["layer9"], ["layer8"])
    with pytest.raises(
        UsageError, match=r"teacher_stages: .*'layer9'.*\n.*features\.teacher_stages=\[\"layer8\"\]"
    ):
        pair_stages("fitnet", cnn(16, 8), cnn(16, 8), ["layer8"], ["layer9"])


def test_as_many_stages_of_one_as_of_the_other() -> None:
    with pytest.raises(UsageError, match="1 student_stages and 0 teacher_stages; allowed: the same number"):
        pair_stages("fitnet", cnn(16, 8), cnn(16, 8), ["layer8"])


@pytest.mark.parametrize("name", CNN_LOSSES)
def test_maps_are_not_compared_with_patches(name: str) -> None:
    with pytest.raises(UsageError, match=r"compares feature maps; the teacher is a vision transformer"):
        pair_stages(name, cnn(16, 8), vit())
    with pytest.raises(UsageError, match=r"the student is a vision transformer\.\n.*name=vitkd"):
        feature_loss(name, {})(shapes_of(vit()), shapes_of(vit()))


@pytest.mark.parametrize("name", CNN_LOSSES)
def test_networks_without_a_common_size_say_theirs(name: str) -> None:
    with pytest.raises(
        UsageError, match=r"no feature maps of the same size; the student has layer16 16×16; the teacher has "
    ):
        pair_stages(name, cnn(16), cnn(12, 6))


def test_patches_are_not_compared_with_maps() -> None:
    with pytest.raises(UsageError, match=r"compares patch tokens; the teacher is not a vision transformer"):
        pair_stages("vitkd", vit(), cnn(16))
    with pytest.raises(UsageError, match=r"the student is not a vision transformer\.\n.*name=reviewkd"):
        feature_loss("vitkd", {})(shapes_of(cnn(16, 8)), shapes_of(vit()[:2]))


@pytest.mark.parametrize("patches, others", [(16, 9), (12, 12)])
def test_patches_must_lie_on_one_square_grid(patches: int, others: int) -> None:
    with pytest.raises(UsageError, match=rf"{patches} patches, the teacher {others}; allowed"):
        feature_loss("vitkd", {})(shapes_of(vit(patches)), shapes_of(vit(others)))
