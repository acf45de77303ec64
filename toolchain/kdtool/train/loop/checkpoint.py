"""Checkpoints of one training, written durably and verified by a hash.

A checkpoint is one safetensors file with the network, helper layers, averaged and best weights, and the
optimizer; its metadata has the scalars as JSON. The file name contains the step and a hash. The newest
checkpoint whose hash is right is loaded; a damaged one is renamed to `*.torn`. Two checkpoints are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from kdtool.arch.network import load_state
from kdtool.core.files import sha256_bytes, write_bytes
from kdtool.core.screen import Screen
from kdtool.train.together.processes import processes

KEPT = 2
NETWORK, HELPERS, AVERAGE, BEST, OPTIMIZER = "network.", "helpers.", "average.", "best.", "optimizer."


@dataclass
class Progress:
    """Progress of a training, counted by the loop.

    Attributes:
        epoch: current epoch, from 0.
        step: number of finished batches of this epoch.
        loss_sum, correct, labelled, seen: sum of the losses, number of correct images, of images with a label
            and of all images in this epoch.
        rows: one dictionary for each finished epoch: the rows of history.csv.
        seconds: time spent in this epoch so far.
        best_epoch: index into `rows` of the best epoch; −1 before the end of the first epoch.
        sound: True if the network of the best epoch is sound (`kdtool.train.loop.evaluate.Evaluation`).
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    labelled: int = 0
    seen: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    sound: bool = False


@dataclass
class TrainingState:
    """Complete state of a training between two steps.

    Attributes:
        helpers: the training criterion, because it may contain helper layers that train too.
        average: exponential moving average of the network (by timm), if there is one.
        best: weights of the best epoch.
    """

    network: nn.Module
    helpers: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    def modules(self) -> dict[str, nn.Module]:
        """Modules with weights: prefix in a checkpoint → module."""
        modules = {NETWORK: self.network, HELPERS: self.helpers}
        return modules if self.average is None else {**modules, AVERAGE: self.average}


class Checkpoints:
    """Checkpoints of one training in one folder.

    With several processes only the first reads and writes them; `load` gives all processes the same state.

    Args:
        folder: folder of the checkpoints; None means that nothing is saved.
        key: hash of all inputs that must be equal to resume; a checkpoint with another key is not used.
    """

    def __init__(self, folder: Path | None, key: str, screen: Screen) -> None:
        self._folder, self._key, self._screen = folder, key, screen

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint durably and delete all but the last two."""
        if self._folder is None:
            return
        tensors = {
            prefix + name: value
            for prefix, module in state.modules().items()
            for name, value in module.state_dict().items()
        }
        tensors |= {BEST + name: value for name, value in state.best.items()}
        moments = state.optimizer.state_dict()["state"]
        tensors |= {
            f"{OPTIMIZER}{index}.{k}": v for index, entry in moments.items() for k, v in entry.items()
        }
        progress = state.progress
        metadata = {
            "key": self._key, "progress": json.dumps(progress.__dict__), "torch": torch.__version__,
        }  # fmt: skip
        payload = serialized(tensors, metadata)
        total = f"{progress.epoch:05d}-{progress.step:07d}"
        write_bytes(self._folder / f"{total}-{sha256_bytes(payload)[:16]}.safetensors", payload)
        self._keep(KEPT)

    def settle(self) -> None:
        """Keep only the newest checkpoint at the end of training; more epochs can start from it."""
        self._keep(1)

    def load(self, state: TrainingState) -> None:
        """Restore the newest intact checkpoint into `state`; without one, `state` stays unchanged."""
        payload = processes().once(self._newest)
        if payload is None:
            return
        tensors, metadata = load(payload), _metadata(payload)
        self._warn_of_version(metadata.get("torch", torch.__version__))
        for prefix, module in state.modules().items():
            load_state(module, _under(tensors, prefix))
        _restore_optimizer(state.optimizer, _under(tensors, OPTIMIZER))
        state.best = _under(tensors, BEST)
        state.progress = Progress(**json.loads(metadata["progress"]))

    def _warn_of_version(self, version: str) -> None:
        if version != torch.__version__:
            self._screen.warn(
                f"The checkpoint was made with torch {version}, this is {torch.__version__}. The training "
                "continues; the last digits of its results may differ."
            )

    def _newest(self) -> bytes | None:
        """Read the newest intact checkpoint; rename damaged files, delete checkpoints of another training."""
        for path in self._all():
            payload = path.read_bytes()
            if sha256_bytes(payload)[:16] != path.stem.rsplit("-", 1)[-1]:
                aside = path.rename(path.with_suffix(".torn"))
                self._screen.warn(
                    f"{path} is damaged; it was renamed to {aside.name}. The training continues from the "
                    "checkpoint before it, or from the beginning."
                )
                continue
            if _metadata(payload)["key"] == self._key:
                return payload
            path.unlink()  # other data or another teacher: it can never be resumed
        return None

    def _keep(self, number: int) -> None:
        for old in self._all()[number:]:
            old.unlink()

    def _all(self) -> list[Path]:
        if self._folder is None:
            return []
        return sorted(self._folder.glob("*.safetensors"), reverse=True)


def serialized(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Serialize copies of the tensors, because safetensors refuses tied weights, which share memory."""
    copies = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    return save(copies, metadata)


def _metadata(payload: bytes) -> dict[str, Any]:
    """Metadata of a safetensors file, which begins with an 8-byte length and a JSON header."""
    length = int.from_bytes(payload[:8], "little")
    header: dict[str, dict[str, Any]] = json.loads(payload[8 : 8 + length])
    return header.get("__metadata__", {"key": ""})


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:  # another memory layout changes the last bit
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
