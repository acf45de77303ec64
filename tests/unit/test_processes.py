"""Shares of a batch, and a group of one process; tests/integration has two processes."""

from __future__ import annotations

import pytest
import torch

from kdtool.cli import _explain
from kdtool.core.errors import ElsewhereError, GateError, UsageError
from kdtool.data.reader import Prepared
from kdtool.machine.launch import process_count, process_rank
from kdtool.recipe.settings import TeacherSettings
from kdtool.train.stage import Training, _require_shares
from kdtool.train.together.processes import Processes
from kdtool.train.views.order import reseed


@pytest.mark.parametrize("length, count", [(9, 2), (8, 3), (2, 2), (7, 1), (65, 8)])
def test_shares_are_the_batch_in_order(length: int, count: int) -> None:
    shares = [list(range(length))[Processes(rank, count).share(length)] for rank in range(count)]
    assert [index for share in shares for index in share] == list(range(length))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_nothing_is_copied_or_waited_for() -> None:
    alone, own = Processes(), torch.ones(3, requires_grad=True)
    assert alone.first
    assert alone.gather(own, 3) is own
    assert alone.sum(own) is own
    assert alone.largest(15, 0) == (15, 0)
    assert alone.once(lambda: "done") == "done"
    with pytest.raises(UsageError, match="own words"):
        alone.once(lambda: (_ for _ in ()).throw(UsageError("own words")))


def test_an_error_of_all_is_said_by_the_first() -> None:
    error = GateError("lost")
    assert Processes(0, 2).alike(error) is error
    silent = Processes(1, 2).alike(error)
    assert isinstance(silent, ElsewhereError)
    assert silent.exit_code == 6


def test_every_process_needs_an_image_of_every_batch(prepared: Prepared) -> None:
    settings = TeacherSettings(batch_size=4)
    training = Training("teacher", prepared.folder, settings, 0, 0)
    _require_shares(prepared, training, 4)
    with pytest.raises(UsageError, match=r"batch_size is 4 .* for 5 processes.*\n.*teacher.batch_size=10"):
        _require_shares(prepared, training, 5)


@pytest.mark.parametrize("world, rank, expected", [("", "", (1, 0)), ("1", "0", (1, 0)), ("4", "3", (4, 3))])
def test_the_launcher_is_heard(
    monkeypatch: pytest.MonkeyPatch, world: str, rank: str, expected: tuple[int, int]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", world)
    monkeypatch.setenv("RANK", rank)
    assert (process_count(), process_rank()) == expected


def test_the_first_process_says_what_is_wrong_and_the_others_what_concerns_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert _explain(ElsewhereError(6), debug=False) == 6
    assert capsys.readouterr().err == ""
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:2442")
    assert _explain(lost, debug=False) == 5
    said = capsys.readouterr().err
    assert "Process 1 of 2" in said
    assert "another process of this training has ended" in said
    assert _explain(RuntimeError("shapes differ"), debug=False) == 1


def test_what_a_network_draws_differs_between_processes_and_not_between_runs() -> None:
    drawn = []
    for rank in (0, 1, 0):
        reseed(7, 2, 5, rank)
        drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    reseed(7, 2, 5)
    assert torch.equal(torch.rand(4), drawn[0])
