"""Checkpoints of a training: the restored state, the choice of the file, and the number of kept files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fixtures.screens import Recorder
from kdtool.train.loop import fit
from kdtool.train.loop.checkpoint import Checkpoints, Progress, TrainingState


def trained(steps: int) -> TrainingState:
    """State of a small network after `steps` steps of Adam, with other best weights."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    state = TrainingState(network, nn.Linear(2, 1), None, torch.optim.Adam(network.parameters(), lr=0.1))
    for _ in range(steps):
        state.optimizer.zero_grad()
        network(torch.ones(4, 3)).square().sum().backward()
        state.optimizer.step()
    state.best = {name: value.detach() + 1 for name, value in network.state_dict().items()}
    state.progress = Progress(epoch=1, step=steps, rows=[{"epoch": 1}], best_epoch=0)
    return state


def contents(state: TrainingState) -> dict[str, object]:
    """Content of a state by name; tensors as lists, so that two states can be compared to the bit."""
    tensors = {
        f"{prefix}{name}": value
        for prefix, module in state.modules().items()
        for name, value in module.state_dict().items()
    }
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
    return {name: value.tolist() for name, value in tensors.items()} | {"progress": state.progress}


def loaded(folder: Path, key: str = "key", screen: Recorder | None = None) -> TrainingState:
    state = trained(0)
    Checkpoints(folder, key, screen or Recorder()).load(state)
    return state


def test_everything_comes_back_from_the_newest_and_two_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "key", Recorder())
    for steps in (1, 2, 10):
        checkpoints.save(trained(steps))
    assert len(list(tmp_path.iterdir())) == 2
    assert contents(loaded(tmp_path)) == contents(trained(10))
    assert contents(loaded(tmp_path)) != contents(trained(2))
    checkpoints.settle()
    assert len(list(tmp_path.iterdir())) == 1
    assert contents(loaded(tmp_path)) == contents(trained(10))


def test_a_torn_one_is_set_aside_for_the_one_before(tmp_path: Path) -> None:
    checkpoints, screen = Checkpoints(tmp_path, "key", Recorder()), Recorder()
    for steps in (1, 2):
        checkpoints.save(trained(steps))
    newest = max(tmp_path.iterdir())
    payload = bytearray(newest.read_bytes())
    payload[-1] ^= 1
    newest.write_bytes(payload)
    assert contents(loaded(tmp_path, screen=screen)) == contents(trained(1))
    assert newest.with_suffix(".torn").is_file()
    assert "is damaged" in screen.warned[0]


def test_one_of_another_key_is_removed_and_never_resumed(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "of other data", Recorder()).save(trained(2))
    untouched = trained(0)
    assert contents(loaded(tmp_path)) == contents(untouched)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("seconds", "interval"), [(0.1, 60.0), (0.6, 60.0), (3.0, 300.0)])
def test_a_slow_disk_is_asked_more_rarely(seconds: float, interval: float) -> None:
    assert fit.checkpoint_interval(seconds) == pytest.approx(interval)


def test_without_an_interval_every_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)
    assert fit.checkpoint_interval(3.0) == 0.0
