"""A map over threads with results in order and a bounded number of items under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from kdtool.machine.threads import usable_threads

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4  # items under way per thread; bounds memory where the consumer is the slower one


def ordered_map(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map(function, items)` over the usable threads; Pillow and hashlib release the interpreter lock."""
    threads = usable_threads()
    under_way: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="kdtool-data")
    try:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) >= threads * AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
