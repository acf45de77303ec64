"""Several processes that train as one.

Each takes a share of every batch. What they know together is what one process would know: the outputs
of the whole batch, so that any loss of a batch is exact, also one that is no mean over images; the
statistics of batch normalization; the sum of the gradients. Files are written by the first alone.

`torchrun` and `accelerate launch` start them; accelerate sets the group up. Alone, every method is
what it says of one process, without a copy.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor

from kdtool.core.errors import ElsewhereError, KdtoolError, exit_code
from kdtool.core.quiet import quietly
from kdtool.machine.launch import process_count
from kdtool.train.together.batchnorm import SharedNormalization

PATIENCE = timedelta(days=1)  # the others wait while the first decodes photographs; the launcher sees deaths
CPU = torch.device("cpu")
T = TypeVar("T")
E = TypeVar("E", bound=KdtoolError)


@dataclass(frozen=True)
class Processes:
    """This process among `count`; the first has rank 0."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, length: int) -> slice:
        """Which of `length` things are this process's: contiguous, in order of rank, equal ± 1."""
        sizes = [len(part) for part in np.array_split(np.arange(length), self.count)]
        start = sum(sizes[: self.rank])
        return slice(start, start + sizes[self.rank])

    def whole(self, own: Tensor, length: int) -> Tensor:
        """(length, …) of all processes from the `share` of each, (n, …).

        The gradient flows through this process's rows alone: the parts of all processes add up to that
        of the whole.
        """
        if self.count == 1:
            return own
        rows = self.share(length)
        others = own.new_zeros((length, *own.shape[1:]))
        others[rows] = own.detach()
        dist.all_reduce(others)  # zeros elsewhere: exact
        return torch.cat([others[: rows.start], own, others[rows.stop :]])

    def add(self, figures: Tensor) -> None:
        """Replace `figures` by their sum over all processes."""
        if self.count > 1:
            sums = figures.to(self.device)
            dist.all_reduce(sums)
            figures.copy_(sums)

    def total(self, own: Tensor) -> Tensor:
        """The sum over all processes; the gradient is that of this process's part."""
        if self.count == 1:
            return own
        whole = own.detach().clone()
        dist.all_reduce(whole)
        return own + (whole - own.detach())

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over all processes."""
        if self.count == 1:
            return
        gradients = [one.grad for one in parameters if one.grad is not None]
        flat = torch.cat([one.reshape(-1) for one in gradients])
        dist.all_reduce(flat)
        start = 0
        for one in gradients:
            one.copy_(flat[start : start + one.numel()].view_as(one))
            start += one.numel()

    def any(self, *asked: int) -> tuple[int, ...]:
        """For each of `asked` the largest of any process, so that all decide alike."""
        if self.count == 1:
            return asked
        flags = torch.tensor(asked, device=self.device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return tuple(flags.tolist())

    def begin_alike(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite `tensors` with those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                dense = tensor.detach().contiguous()
                dist.broadcast(dense, 0)
                tensor.detach().copy_(dense)

    def once(self, action: Callable[[], T]) -> T:
        """What `action` returns in the first process, in all of them; the others wait.

        Raises:
            ElsewhereError: in the others, where the first raised an error; that one is raised there.
        """
        if self.count == 1:
            return action()
        if not self.first:
            outcome: list[Any] = [None, None]
            dist.broadcast_object_list(outcome, 0, device=self.device)
            result, code = outcome
            if code is not None:
                raise ElsewhereError(code)
            return result  # type: ignore[no-any-return]  # what the first one's action returned
        try:
            result = action()
        except Exception as error:
            dist.broadcast_object_list([None, exit_code(error)], 0, device=self.device)
            raise
        dist.broadcast_object_list([result, None], 0, device=self.device)
        return result

    def alike(self, error: E) -> E | ElsewhereError:
        """Of an error that all processes raise: the first says it, the others leave in silence."""
        return error if self.first else ElsewhereError(error.exit_code)

    @contextmanager
    def as_one_batch(self) -> Iterator[None]:
        """Within the block batch normalization in training sees the whole batch."""
        if self.count == 1:
            yield
        else:
            with SharedNormalization():
                yield


@functools.cache
def processes() -> Processes:
    """This process's place among those that the launcher started; the group is set up on first use.

    Waits on the first process's files are as long as that takes; the launcher notices who died.
    """
    if process_count() == 1:
        return Processes(device=PartialState().device)
    with quietly():  # it sets threads and says so; `kdtool.machine.threads` decides on them
        state = PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)
    atexit.register(state.destroy_process_group)
    return Processes(state.process_index, state.num_processes, state.device)
