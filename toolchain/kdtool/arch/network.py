"""Build, load and save a network."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from kdtool.arch import FAMILIES
from kdtool.arch.published import Normalization, WeightsFile
from kdtool.core.errors import ModelFileError, SetupError, UsageError
from kdtool.core.files import write_bytes
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.spelling import assigned
from kdtool.recipe.choices import IMAGENET, SCRATCH

SHOWN = 5


def family_of(arch: str) -> Any:
    """Return the family that builds `arch`.

    Raises:
        UsageError: no family has this network; the message names similar networks.
    """
    for family in FAMILIES:
        if family.handles(arch):
            return family
    known = [name for family in FAMILIES for name in family.names()]
    near = ", ".join(difflib.get_close_matches(arch, known, n=SHOWN))
    raise UsageError(
        f"No network is called {arch!r}{near and '; similar names: '}{near}.",
        f"Allowed: {'; '.join(family.ALLOWED for family in FAMILIES)}.",
    )


def build(
    arch: str, num_classes: int, size: int, weights: str = SCRATCH, section: str = "teacher"
) -> nn.Module:
    """Build a network for `num_classes` with a new head.

    On pretrained weights the new head starts at zero, so that its first gradients do not bring random noise
    into features that are already good.

    Args:
        weights: `none` (random, from torch's generator), `imagenet`, or a file with weights of the same
            network. The file may be for any number of classes and any input size; the position embeddings
            of a transformer are interpolated.
        section: section of the recipe that names the weights, for messages.

    Returns:
        logits = network(images): (B, 3, size, size) float → (B, num_classes).

    Raises:
        UsageError: the network is unknown.
        SetupError: the ImageNet weights cannot be downloaded.
        ModelFileError: the file does not fit the network.
    """
    family = family_of(arch)
    network: nn.Module = family.build(arch, num_classes, size)
    if weights == SCRATCH:
        return network
    if weights == IMAGENET:
        source, state = f"the ImageNet weights of {arch}", _pretrained(family, arch, section)
    else:
        source, state = weights, read_weights(Path(weights))[0]
    state = family.resized(network, state)
    head = _head(family, arch, num_classes, size)
    fresh = network.state_dict()
    merged = {name: torch.zeros_like(fresh[name]) if name in head else state.get(name) for name in fresh}
    body = {name: value for name, value in merged.items() if value is not None}
    extra = {name: value for name, value in state.items() if name not in fresh and not _auxiliary(name)}
    load_exactly(network, body | extra, source)
    return network


def _pretrained(family: Any, arch: str, section: str) -> dict[str, Tensor]:
    """Load the published weights; the hint of the error names the option of the section."""
    try:
        state: dict[str, Tensor] = family.pretrained(arch)
    except SetupError as error:
        field = f"{section}.weights"
        raise SetupError(
            error.message,
            f"Connect to the internet once, or copy the file there; any other place will do with "
            f"{assigned({field: 'FILE'})}. From scratch: {assigned({field: SCRATCH})}",
        ) from error
    return state


def published_weights(arch: str, weights: str) -> WeightsFile | None:
    """Return the file that `build` would load or download; None if the weights are none or a file."""
    return family_of(arch).published(arch) if weights == IMAGENET else None


def normalization_of(arch: str, weights: str) -> Normalization | None:
    """Mean and std of the pixels that `weights` were trained on; None if there are none (from scratch).

    A file that kdtool wrote states them. For another file, those of the published weights are assumed.

    Raises:
        UsageError: the network is unknown.
        ModelFileError: the file is broken.
    """
    if weights == SCRATCH:
        return None
    family = family_of(arch)
    if weights != IMAGENET and Path(weights).suffix == ".safetensors" and Path(weights).is_file():
        info = ModelInfo.from_metadata(read_weights(Path(weights))[1], Path(weights))
        if info is not None:
            return info.preprocess.mean, info.preprocess.std
    known: Normalization = family.normalization(arch)
    return known


def load_exactly(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load `state`, which must have all tensors of the network and no others.

    Args:
        source: name of the file or of the weights, for the message.

    Raises:
        ModelFileError: the message names the tensors that are missing, unexpected or of another shape.
    """
    needed = network.state_dict()
    differences = {
        "missing": [name for name in needed if name not in state],
        "unexpected": [name for name in state if name not in needed],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(needed[name].shape)}"
            for name in needed
            if name in state and state[name].shape != needed[name].shape
        ],
    }
    if any(differences.values()):
        lines = [f"  {kind}: {_shorten(names)}" for kind, names in differences.items() if names]
        raise ModelFileError(
            "\n".join([f"{source} does not fit the network.", *lines]),
            "Check that the architecture is the one for which the file was made.",
        )
    load_state(network, state)


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state that may have lost the versions of the modules, which no file of tensors keeps.

    A module such as torchvision's MNASNet refuses a state of an unknown version. A state without versions is
    one that kdtool saved, from a network of this version.
    """
    known = getattr(state, "_metadata", None) or getattr(network.state_dict(), "_metadata", None)
    complete = OrderedDict(state)
    complete._metadata = known  # type: ignore[attr-defined]  # where torch keeps the versions
    network.load_state_dict(complete)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a weights file: safetensors, or a torch pickle with tensors only.

    Raises:
        ModelFileError: the file is missing or broken, or the pickle contains more than tensors.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file.", "Give a .safetensors, .pt or .pth file with weights.")
    if path.suffix != ".safetensors":
        return _read_pickle(path), {}
    try:
        with safe_open(path, framework="pt") as stream:
            state = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (no mapping)
            return state, dict(stream.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path}: not a readable safetensors file ({error}).",
            "Copy the file again from its source, or train again.",
        ) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Read a pickle with `weights_only`, so that no code in the file can run; all pickles are read here."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the bytes can make the unpickler raise any error
        raise ModelFileError(
            f"{path}: refused; not a plain file of weights ({type(error).__name__}).",
            "If you trust it, convert it to safetensors: safetensors.torch.save_file(state_dict, FILE).",
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ModelFileError(
            f"{path}: contains more than a state dict.", "Save only network.state_dict() and try again."
        )
    return state


def save_network(path: Path, state: Mapping[str, Tensor], info: ModelInfo) -> None:
    """Write weights and their record durably to a safetensors file."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_bytes(path, save(tensors, metadata=info.to_metadata()))


def load_network(path: Path) -> tuple[nn.Module, ModelInfo]:
    """Load a network that `save_network` saved, in eval mode, on the CPU.

    Raises:
        ModelFileError: the file is broken, kdtool did not write it, or its weights do not fit its record.
    """
    state, metadata = read_weights(path)
    info = _info(path, metadata)
    network: nn.Module = family_of(info.arch).build(info.arch, len(info.classes), info.preprocess.size)
    load_exactly(network, state, str(path))
    return network.eval(), info


def read_info(path: Path) -> ModelInfo:
    """Read the record of a network that `save_network` saved.

    Raises:
        ModelFileError: the file is broken, or kdtool did not write it.
    """
    return _info(path, read_weights(path)[1])


def _info(path: Path, metadata: Mapping[str, str]) -> ModelInfo:
    info = ModelInfo.from_metadata(metadata, path)
    if info is None:
        raise ModelFileError(
            f"{path}: contains weights, but not the classes and preprocessing of a trained model.",
            "A trained model is DIR/teacher/model.safetensors; to start from weights: "
            f"{assigned({'teacher.weights': 'FILE'})}",
        )
    return info


def classifier_of(network: nn.Module, arch: str, num_classes: int, size: int) -> str | None:
    """Name of the linear layer that turns features (B, D) into logits; None if the head is anything else."""
    owners = {name.rpartition(".")[0] for name in _head(family_of(arch), arch, num_classes, size)}
    if len(owners) != 1:
        return None
    (name,) = owners
    return name if name and isinstance(network.get_submodule(name), nn.Linear) else None


def two_heads(network: nn.Module) -> bool:
    """Make a transformer with a distillation token return the logits of both heads in training.

    Without this, timm averages the two heads in training too, and the token learns nothing different from
    the class token. In eval mode, and so in every export, the output is the mean of both heads.

    Returns:
        True if the network has a distillation token.
    """
    switch: Any = getattr(network, "set_distilled_training", None)
    if switch is None:
        return False
    switch(True)
    return True


def parameter_count(network: nn.Module) -> int:
    """Number of parameters, buffers not counted."""
    return sum(parameter.numel() for parameter in network.parameters())


def _head(family: Any, arch: str, num_classes: int, size: int) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    with torch.device("meta"):
        state, larger = (
            family.build(arch, classes, size).state_dict() for classes in (num_classes, num_classes + 1)
        )
    return {name for name in state if state[name].shape != larger[name].shape}


def _auxiliary(name: str) -> bool:
    """True for the auxiliary heads of Inception and GoogLeNet, which kdtool builds without them."""
    return name.startswith(("aux1.", "aux2.", "AuxLogits."))


def _shorten(names: list[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
