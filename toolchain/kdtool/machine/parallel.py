"""Map over threads, with the results in order and a limit of the items in work at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from kdtool.machine.threads import usable_threads

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4  # items in work per thread; limits the memory if the consumer is slower than the threads


def ordered_map(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `function(item)` for each item, in order, computed by all usable threads.

    Threads help because Pillow and hashlib release the interpreter lock.
    """
    threads = usable_threads()
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="kdtool-data")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= threads * AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
