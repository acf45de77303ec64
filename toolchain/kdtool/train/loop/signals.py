"""SIGTERM and Ctrl-C: finish the step, save and stop. A second signal stops at once.

With several processes, each may get the same request twice: from a scheduler, and from the launcher that
passes it on. Therefore a second signal counts only after a short time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from kdtool.machine.launch import process_count
from kdtool.train.together.processes import Processes

STOPPERS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 2.0


class StopAsked(Exception):  # noqa: N818 (not an error, but a request of the user)
    """Request to stop, raised in all processes; `number` is the number of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """Record of a signal: `signal_number` is 0 until a signal asks to stop."""

    signal_number = 0

    def raise_if_asked(self, group: Processes) -> None:
        """Raise StopAsked in all processes of `group` if any of them got a signal."""
        (number,) = group.largest(self.signal_number)
        if number:
            raise StopAsked(number)


NEVER = StopRequest()


@contextlib.contextmanager
def graceful_stop() -> Iterator[StopRequest]:
    """Record a first signal within the block; after the block it is raised again."""
    request = StopRequest()
    echo = ECHO_SECONDS if process_count() > 1 else 0.0
    first_signal = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set handlers; those of the caller stay active
        return

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signal's signature)
        nonlocal first_signal
        if not request.signal_number:
            request.signal_number, first_signal = number, time.monotonic()
        elif time.monotonic() - first_signal >= echo:
            os._exit(128 + number)

    previous = {number: signal.signal(number, handle) for number in STOPPERS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if request.signal_number:
        signal.raise_signal(request.signal_number)
