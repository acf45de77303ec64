"""Several processes that train as one.

Each process takes a share of every batch. Together they compute the same as one process: the outputs of the
whole batch, so that every loss is exact, even one that is not a mean over images; the statistics of batch
normalization; the sum of the gradients. Only the first process writes files.

`torchrun` and `accelerate launch` start the processes; accelerate sets up the group. With one process all
methods work too, without copies.
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

PATIENCE = timedelta(days=1)  # the first may decode photographs for hours; the launcher notices a crash
CPU = torch.device("cpu")
T = TypeVar("T")
E = TypeVar("E", bound=KdtoolError)


@dataclass(frozen=True)
class Processes:
    """Place of this process in a group of `count` processes; the first has rank 0."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, length: int) -> slice:
        """Slice of `length` items that belongs to this process: contiguous, in order of rank, equal ± 1."""
        sizes = [len(part) for part in np.array_split(np.arange(length), self.count)]
        start = sum(sizes[: self.rank])
        return slice(start, start + sizes[self.rank])

    def gather(self, part: Tensor, length: int) -> Tensor:
        """Gather the whole batch (length, …) from the `share` (n, …) of each process.

        The gradient flows only through the rows of this process; the sum over all processes is the gradient
        of the whole batch.
        """
        if self.count == 1:
            return part
        rows = self.share(length)
        gathered = part.new_zeros((length, *part.shape[1:]))
        gathered[rows] = part.detach()
        dist.all_reduce(gathered)  # exact, because each row is zero in all processes but one
        return torch.cat([gathered[: rows.start], part, gathered[rows.stop :]])

    def sum_in_place(self, figures: Tensor) -> None:
        """Replace `figures` by their sum over all processes."""
        if self.count > 1:
            sums = figures.to(self.device)
            dist.all_reduce(sums)
            figures.copy_(sums)

    def sum(self, part: Tensor) -> Tensor:
        """Sum `part` over all processes; the gradient flows only through the part of this process."""
        if self.count == 1:
            return part
        total = part.detach().clone()
        dist.all_reduce(total)
        return part + (total - part.detach())

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over all processes."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def largest(self, *values: int) -> tuple[int, ...]:
        """Largest of each value over all processes, so that all processes decide the same."""
        if self.count == 1:
            return values
        largest = torch.tensor(values, device=self.device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return tuple(largest.tolist())

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite `tensors` with those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                dense = tensor.detach().contiguous()
                dist.broadcast(dense, 0)
                tensor.detach().copy_(dense)

    def once(self, action: Callable[[], T]) -> T:
        """Run `action` in the first process and return its result in all processes; the others wait.

        Raises:
            ElsewhereError: in the other processes, if `action` raised an error in the first one.
        """
        if self.count == 1:
            return action()
        if not self.first:
            outcome: list[Any] = [None, None]
            dist.broadcast_object_list(outcome, 0, device=self.device)
            result, code = outcome
            if code is not None:
                raise ElsewhereError(code)
            return result  # type: ignore[no-any-return]  # the result of `action` in the first process
        try:
            result = action()
        except Exception as error:
            dist.broadcast_object_list([None, exit_code(error)], 0, device=self.device)
            raise
        dist.broadcast_object_list([result, None], 0, device=self.device)
        return result

    def alike(self, error: E) -> E | ElsewhereError:
        """Return an error that all processes raise; only the first one prints its message."""
        return error if self.first else ElsewhereError(error.exit_code)

    @contextmanager
    def as_one_batch(self) -> Iterator[None]:
        """Make batch normalization in training use the whole batch within the block."""
        if self.count == 1:
            yield
        else:
            with SharedNormalization():
                yield


@functools.cache
def processes() -> Processes:
    """Place of this process among those that the launcher started; the first call sets up the group.

    The processes wait for files of the first one as long as necessary; the launcher notices a crash.
    """
    if process_count() == 1:
        return Processes(device=PartialState().device)
    with quietly():  # accelerate prints about threads; `kdtool.machine.threads` sets their number
        state = PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)
    atexit.register(state.destroy_process_group)
    return Processes(state.process_index, state.num_processes, state.device)
