"""Checkpoints of one training, durable and self-verifying.

A checkpoint is one safetensors file: network, helper layers, averaged and best weights, optimizer, and
the scalars as JSON in its metadata. Its name carries its step and its hash; the newest that verifies is
loaded, one that does not is set aside as `*.torn`. Two are kept.
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

from kdtool.core.files import sha256_bytes, write_bytes
from kdtool.core.screen import Screen
from kdtool.train.together.processes import processes

KEPT = 2
NETWORK, HELPERS, AVERAGE, BEST, OPTIMIZER = "network.", "helpers.", "average.", "best.", "optimizer."


@dataclass
class Progress:
    """How far a training is; what the loop counts.

    Attributes:
        epoch: the one under way, from 0; step: batches of it already done.
        loss_sum, correct, seen: over the images of this epoch so far.
        rows: one dictionary an epoch, the rows of history.csv.
        seconds: time spent in this epoch so far.
        best_epoch: index into rows, −1 before the first.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1


@dataclass
class TrainingState:
    """All that a training is, between two steps.

    Attributes:
        helpers: the training criterion, for the layers of its own that it trains.
        average: the exponential moving average of the network (timm's), where there is one.
        best: the weights of the best epoch.
    """

    network: nn.Module
    helpers: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    def modules(self) -> dict[str, nn.Module]:
        """What has weights, by its prefix in a checkpoint."""
        own = {NETWORK: self.network, HELPERS: self.helpers}
        return own if self.average is None else {**own, AVERAGE: self.average}


class Checkpoints:
    """The checkpoints of one training in one folder.

    Of several processes the first alone reads and writes them; `load` gives all of them the same.

    Args:
        folder: None keeps nothing.
        key: hash of what must be the same for a training to go on; a checkpoint of another is not used.
    """

    def __init__(self, folder: Path | None, key: str, screen: Screen) -> None:
        self._folder, self._key, self._screen = folder, key, screen

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint durably and drop all but the last two."""
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
        """Training is over: keep the newest alone, from which it can be extended."""
        self._keep(1)

    def load(self, state: TrainingState) -> None:
        """Restore the newest checkpoint that verifies into `state`; where there is none, leave it."""
        payload = processes().once(self._newest)
        if payload is None:
            return
        tensors, metadata = load(payload), _metadata(payload)
        self._say_of_versions(metadata.get("torch", torch.__version__))
        for prefix, module in state.modules().items():
            module.load_state_dict(_under(tensors, prefix))
        _restore_optimizer(state.optimizer, _under(tensors, OPTIMIZER))
        state.best = _under(tensors, BEST)
        state.progress = Progress(**json.loads(metadata["progress"]))

    def _say_of_versions(self, made: str) -> None:
        if made != torch.__version__:
            self._screen.warn(
                f"The checkpoint was made with torch {made}, this is {torch.__version__}: the training goes "
                "on, and may end in other last digits than it would have there."
            )

    def _newest(self) -> bytes | None:
        """The newest checkpoint that verifies; what does not is set aside, what is another's removed."""
        for path in self._all():
            payload = path.read_bytes()
            if sha256_bytes(payload)[:16] != path.stem.rsplit("-", 1)[-1]:
                aside = path.rename(path.with_suffix(".torn"))
                self._screen.warn(
                    f"{path} is torn or altered; set aside as {aside.name}, going on from the one "
                    "before it, or from the beginning."
                )
                continue
            if _metadata(payload)["key"] == self._key:
                return payload
            path.unlink()  # of other data or another teacher: never to be resumed
        return None

    def _keep(self, number: int) -> None:
        for old in self._all()[number:]:
            old.unlink()

    def _all(self) -> list[Path]:
        if self._folder is None:
            return []
        return sorted(self._folder.glob("*.safetensors"), reverse=True)


def serialized(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The tensors as safetensors; copies, since tied weights share memory and safetensors refuses that."""
    own = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    return save(own, metadata)


def _metadata(payload: bytes) -> dict[str, Any]:
    """The metadata of safetensors bytes: an 8-byte length, then a JSON header."""
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
        if value.shape == parameter.shape:  # the memory layout too, or the arithmetic differs in the last bit
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
