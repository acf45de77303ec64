"""Stages of the networks of torchvision and timm; outputs compared with the extractors of these libraries."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from kdtool.arch.features import FeatureExtractor, feature_stages
from kdtool.arch.network import build
from kdtool.core.errors import UsageError
from kdtool.core.featurestage import FeatureStage

SIZE = 64
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
CNNS = {
    "resnet18": ["relu", *LAYERS],
    "mobilenet_v3_small": [f"features.{place}" for place in (0, 1, 3, 8, 12)],
    "efficientnet_b0": [f"features.{place}" for place in (1, 2, 3, 5, 8)],
    "shufflenet_v2_x0_5": ["conv1", "maxpool", "stage2", "stage3", "conv5"],
    "squeezenet1_1": [f"features.{place}" for place in (1, 4, 7, 12)],
    "convnext_tiny": [f"features.{place}" for place in (1, 3, 5, 7)],
    "swin_t": ["features.1", "features.3", "features.5", "permute"],
    "timm/test_resnet": ["act1", *LAYERS],
    "timm/test_efficientnet": [*(f"blocks.{place}" for place in range(4)), "bn2"],
    "timm/tf_efficientnet_lite0": [*(f"blocks.{place}" for place in (0, 1, 2, 4)), "bn2"],
    "timm/mobilenetv3_small_050": ["bn1", *(f"blocks.{place}" for place in (0, 1, 3, 5))],
    "timm/test_convnext": ["stages.0", "stages.1", "stages.2", "norm_pre"],
}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def maps(arch: str) -> list[str]:
    return [stage.name for stage in feature_stages(build(arch, 3, SIZE), SIZE)]


@pytest.mark.parametrize("arch", CNNS)
def test_the_stages_of_a_cnn_are_the_last_module_at_each_resolution(arch: str) -> None:
    assert maps(arch) == CNNS[arch]


@pytest.mark.parametrize("arch", ["test_resnet", "test_convnext", "test_mambaout", "test_nfnet"])
def test_channels_and_reductions_are_those_timm_states(arch: str) -> None:
    """`test_mambaout` puts its channels last; for 64 pixels one output is a cube, 16 × 16 × 16."""
    info = timm.create_model(arch, features_only=True).feature_info
    stated = dict(zip(info.reduction(), info.channels(), strict=True))
    found = feature_stages(build(f"timm/{arch}", 3, SIZE), SIZE)
    assert {stage.reduction: stage.shape[0] for stage in found if stage.reduction > 2} == {
        reduction: channels for reduction, channels in stated.items() if reduction > 2
    }
    assert all(stage.shape[1:] == (SIZE // stage.reduction,) * 2 for stage in found)


def test_a_map_with_the_channels_last_is_turned(images: torch.Tensor) -> None:
    network = build("timm/test_mambaout", 3, SIZE).eval()
    found = feature_stages(network, SIZE)
    with FeatureExtractor(network, found) as extractor:
        network(images)
        features = extractor.take()
    _, expected = network.forward_intermediates(images)
    assert all(stage.channels_last for stage in found)
    for feature, stage, reference in zip(features, found, expected, strict=True):
        assert feature.shape[1:] == stage.shape
        torch.testing.assert_close(feature, reference)


@pytest.mark.parametrize("arch", ["timm/test_vit", "timm/test_vit4", "timm/deit_tiny_distilled_patch16_224"])
def test_patch_tokens_of_timm_come_without_class_and_distillation_tokens(
    arch: str, images: torch.Tensor
) -> None:
    network = build(arch, 3, SIZE).eval()
    found = feature_stages(network, SIZE)
    depth = len(network.blocks)
    assert [stage.name for stage in found] == [*(f"blocks.{block}" for block in range(depth)), "norm"]
    assert {stage.shape for stage in found} == {(16, network.embed_dim)}
    with FeatureExtractor(network, found) as extractor:
        network(images)
        *blocks, norm = extractor.take()
    final, expected = network.forward_intermediates(images, output_fmt="NLC", norm=False)
    for block, reference in zip(blocks, expected, strict=True):
        torch.testing.assert_close(block, reference)
    torch.testing.assert_close(norm, final[:, network.num_prefix_tokens :])


def test_patches_are_kept_where_the_class_token_comes_late(images: torch.Tensor) -> None:
    """XCiT adds the class token after the blocks, before the norm."""
    network = build("timm/xcit_nano_12_p16_224", 3, SIZE).eval()
    found = feature_stages(network, SIZE)
    assert {stage.shape for stage in found} == {(16, 128)}
    assert [stage.prefix_tokens for stage in found] == [0] * 12 + [1]
    with FeatureExtractor(network, found) as extractor:
        network(images)
        features = extractor.take()
    expected = network.forward_intermediates(images, output_fmt="NLC", intermediates_only=True)
    for block, reference in zip(features[:-1], expected, strict=True):
        torch.testing.assert_close(block, reference)


def test_patch_tokens_of_torchvision_come_without_the_class_token(images: torch.Tensor) -> None:
    network = build("vit_b_32", 3, SIZE).eval()
    found = feature_stages(network, SIZE)
    assert [stage.name for stage in found] == [
        *(f"encoder.layers.encoder_layer_{block}" for block in range(12)),
        "encoder.ln",
    ]
    with FeatureExtractor(network, found) as extractor:
        network(images)
        features = extractor.take()
    expected = create_feature_extractor(network, ["encoder.ln"])(images)["encoder.ln"]
    torch.testing.assert_close(features[-1], expected[:, 1:])
    assert all(feature.shape == (2, 4, 768) for feature in features)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small"])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_features_are_what_the_stages_put_out(
    arch: str, memory: torch.memory_format, images: torch.Tensor
) -> None:
    network = build(arch, 3, SIZE).eval().to(memory_format=memory)
    found = feature_stages(network, SIZE)
    expected = create_feature_extractor(network, maps(arch))(images)
    with FeatureExtractor(network, found) as extractor:
        network(images.to(memory_format=memory))
        features = extractor.take()
    for feature, stage in zip(features, found, strict=True):
        assert feature.shape[1:] == stage.shape
        torch.testing.assert_close(feature, expected[stage.name])


def test_a_module_that_works_in_place_afterwards_does_not_change_the_feature(images: torch.Tensor) -> None:
    network = build("resnet18", 3, SIZE).eval()
    with FeatureExtractor(network, [FeatureStage("layer1.0.bn1", (64, 16, 16), 4)]) as extractor:
        network(images)
        (feature,) = extractor.take()
    assert (feature < 0).any(), "the ReLU after it works in place"


@pytest.mark.parametrize("arch", ["resnet18", "timm/test_efficientnet", "timm/test_vit"])
def test_looking_for_stages_leaves_no_trace(arch: str) -> None:
    network = build(arch, 3, SIZE).train()
    next(network.children()).eval()  # a frozen part must stay frozen
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    random = torch.get_rng_state()
    feature_stages(network, SIZE)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert hooks(network) == 0


def test_hooks_change_nothing_and_come_off(images: torch.Tensor) -> None:
    network = build("timm/test_resnet", 3, SIZE).eval()
    expected, names = network(images), list(network.state_dict())
    found = feature_stages(network, SIZE)
    with FeatureExtractor(network, found):
        assert hooks(network) == len(found)
        assert torch.equal(network(images), expected)
        assert list(network.state_dict()) == names
    assert hooks(network) == 0


def test_the_students_features_are_in_its_graph_and_the_teachers_in_none(images: torch.Tensor) -> None:
    network = build("timm/test_resnet", 3, SIZE).train()
    with FeatureExtractor(network, feature_stages(network, SIZE)[-1:]) as extractor:
        network(images)
        (feature,) = extractor.take()
        feature.sum().backward()
        assert network.layer1[0].conv1.weight.grad is not None
        assert network.fc.weight.grad is None
        with torch.no_grad():
            network(images)
        assert not extractor.take()[0].requires_grad


def test_a_copy_of_the_network_is_not_heard(images: torch.Tensor) -> None:
    """The moving average of the weights is such a copy."""
    network = build("timm/test_resnet", 3, SIZE).eval()
    with FeatureExtractor(network, feature_stages(network, SIZE)[-1:]) as extractor:
        average = copy.deepcopy(network)
        average(images)
        with pytest.raises(RuntimeError, match="before a forward pass"):
            extractor.take()


def test_features_are_taken_once(images: torch.Tensor) -> None:
    network = build("timm/test_resnet", 3, SIZE).eval()
    with FeatureExtractor(network, feature_stages(network, SIZE)[-1:]) as extractor:
        network(images)
        extractor.take()
        with pytest.raises(RuntimeError, match="before a forward pass"):
            extractor.take()


def test_a_network_without_stages_is_named() -> None:
    with pytest.raises(UsageError, match=r"MlpMixer has no stage .*\n.*a recipe without student\.features"):
        feature_stages(build("timm/mixer_s32_224", 3, 224), 224)


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())
