"""Building, loading and saving networks; files of weights as users have them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kdtool.arch import FAMILIES, timm
from kdtool.arch.network import build, load_network, parameter_count, read_weights, save_network
from kdtool.core.errors import ModelFileError, SetupError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess

ARCH = "timm/test_resnet"
INFO = ModelInfo("teacher", ARCH, ("a", "b", "c"), Preprocess(32, 32))


class Payload:
    """The code that a hostile pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("owned",))


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "vit_b_32", ARCH, "timm/test_vit"])
def test_a_new_head_on_weights_from_a_file(arch: str, tmp_path: Path) -> None:
    """The file has another number of classes, such as ImageNet's: the body is loaded, the head is new."""
    size = 32
    source = build(arch, 7, size)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    network = build(arch, 3, size, str(tmp_path / "weights.safetensors"))
    ours, theirs = network.state_dict(), source.state_dict()
    head = {name for name in ours if ours[name].shape != theirs[name].shape}
    assert 0 < len(head) <= 4
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if name not in head)
    assert network.eval()(torch.zeros(2, 3, size, size)).shape == (2, 3)


def test_a_head_of_the_same_size_is_new_too(tmp_path: Path) -> None:
    """The classes differ even if their number is the same."""
    source = build(ARCH, 3, 32)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    network = build(ARCH, 3, 32, str(tmp_path / "weights.safetensors"))
    assert not torch.equal(network.state_dict()["fc.weight"], source.state_dict()["fc.weight"])


def test_a_new_head_on_brought_weights_starts_at_zero(tmp_path: Path) -> None:
    """Then the first gradients reach the head only, and no random head damages the features."""
    torch.manual_seed(0)
    save_file(build("timm/test_resnet", 7, 32).state_dict(), tmp_path / "weights.safetensors")
    network = build("timm/test_resnet", 3, 32, str(tmp_path / "weights.safetensors"))
    logits = network(torch.randn(2, 3, 32, 32))
    assert logits.eq(0).all()
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    moved = {name for name, weight in network.named_parameters() if weight.grad.any()}
    assert moved == {"fc.weight", "fc.bias"}
    assert build("timm/test_resnet", 3, 32).get_classifier().weight.any(), "from scratch it is drawn"


@pytest.mark.parametrize(
    "arch, name, sizes, prefix",
    [
        ("timm/deit_tiny_patch16_224", "pos_embed", (64, 32), 1),
        ("timm/deit_tiny_distilled_patch16_224", "pos_embed", (32, 64), 2),
        ("vit_b_32", "encoder.pos_embedding", (64, 96), 1),
    ],
)
def test_a_transformers_weights_fit_another_input_size(
    tmp_path: Path, arch: str, name: str, sizes: tuple[int, int], prefix: int
) -> None:
    """The position embeddings are interpolated; those of class and distillation tokens stay."""
    state = build(arch, 3, sizes[0]).state_dict()
    state[name] = torch.full_like(state[name], 0.25)  # interpolated, a constant stays one
    state[name][:, :prefix] = 0.75
    save_file(state, tmp_path / "weights.safetensors")
    network = build(arch, 3, sizes[1], str(tmp_path / "weights.safetensors"))
    positions = network.state_dict()[name]
    assert positions.shape != state[name].shape
    assert positions[:, :prefix].eq(0.75).all()
    torch.testing.assert_close(positions[:, prefix:], torch.full_like(positions[:, prefix:], 0.25))


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_plain_pickle_of_tensors_is_read(tmp_path: Path, suffix: str) -> None:
    source = build(ARCH, 3, 32)
    torch.save(source.state_dict(), tmp_path / f"weights{suffix}")
    build(ARCH, 3, 32, str(tmp_path / f"weights{suffix}"))


@pytest.mark.parametrize("content", [Payload(), {"weight": Payload()}])
def test_a_pickle_with_code_is_refused(
    tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "hostile.pt")
    with pytest.raises(ModelFileError, match="refused; not a plain file of weights"):
        read_weights(tmp_path / "hostile.pt")
    assert "owned" not in capsys.readouterr().out


def test_a_pickle_of_more_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "more.pt")
    with pytest.raises(ModelFileError, match="contains more than a state dict"):
        read_weights(tmp_path / "more.pt")


@pytest.mark.parametrize("payload", [b"", b"garbage", b"\xff" * 64])
@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pt"])
def test_broken_files(tmp_path: Path, payload: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(payload)
    with pytest.raises(ModelFileError, match="broken"):
        read_weights(tmp_path / name)


def test_a_file_of_another_network_is_refused_with_the_differences(tmp_path: Path) -> None:
    save_file(build("timm/test_vit", 3, 32).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ModelFileError, match=r"(?s)does not fit.*missing: .*unexpected: ") as caught:
        build(ARCH, 3, 32, str(tmp_path / "weights.safetensors"))
    assert "in all)" in str(caught.value), "long lists are cut and counted"


def test_shapes_that_differ_are_named(tmp_path: Path) -> None:
    state = build(ARCH, 3, 32).state_dict()
    name = next(name for name in state if state[name].ndim == 4)
    save_file(state | {name: torch.zeros(1, 2, 3, 4)}, tmp_path / "weights.safetensors")
    with pytest.raises(ModelFileError, match=rf"of another shape: {name} \(1, 2, 3, 4\) instead of"):
        build(ARCH, 3, 32, str(tmp_path / "weights.safetensors"))


def test_a_saved_network_says_what_it_is(tmp_path: Path) -> None:
    network = build(ARCH, 3, 32)
    save_network(tmp_path / "model.safetensors", network.state_dict(), INFO)
    loaded, info = load_network(tmp_path / "model.safetensors")
    assert info == INFO
    assert not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    assert parameter_count(loaded) == parameter_count(network)


def test_bare_weights_are_no_trained_model(tmp_path: Path) -> None:
    save_file(build(ARCH, 3, 32).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="but not the classes and preprocessing"):
        load_network(tmp_path / "model.safetensors")


def test_a_record_that_does_not_fit_its_weights(tmp_path: Path) -> None:
    five = dataclasses.replace(INFO, classes=("a", "b", "c", "d", "e"))
    save_network(tmp_path / "model.safetensors", build(ARCH, 3, 32).state_dict(), five)
    with pytest.raises(ModelFileError, match="of another shape"):
        load_network(tmp_path / "model.safetensors")


def test_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    save_file(build(ARCH, 3, 32).state_dict(), tmp_path / "model.safetensors", metadata={"kdtool": "{}"})
    with pytest.raises(ModelFileError, match="its kdtool metadata cannot be read"):
        load_network(tmp_path / "model.safetensors")


@pytest.mark.parametrize("arch, near", [("resnet81", "resnet18"), ("timm/resnet1O1", "timm/resnet101")])
def test_an_unknown_network_names_the_nearest(arch: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"No network is called '{arch}'; similar names: .*{near}"):
        build(arch, 3, 32)


def test_every_family_builds_from_its_own_names() -> None:
    for family in FAMILIES:
        names = family.names()
        assert names
        assert family.ALLOWED
        assert all(family.handles(name) for name in names[:20])
        assert not family.handles("no-such-network")


def test_timm_offline_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(SetupError, match=r"pretrained weights of timm/resnet18 .* cannot be downloaded"):
        timm.pretrained("timm/resnet18")


@pytest.mark.parametrize("arch", ["mnasnet0_5", "mnasnet1_0"])
def test_a_network_that_asks_for_its_version_is_loaded(arch: str, tmp_path: Path) -> None:
    """No file of tensors keeps the versions of modules, which MNASNet reads."""
    network = build(arch, 3, 64)
    info = ModelInfo("student", arch, ("a", "b", "c"), Preprocess(64, 64))
    save_network(tmp_path / "model.safetensors", network.state_dict(), info)
    loaded, _ = load_network(tmp_path / "model.safetensors")
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
