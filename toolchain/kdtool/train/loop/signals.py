"""SIGTERM and Ctrl-C: finish the step, save, stop; a second signal stops at once.

Of several processes each may hear the same request twice, from a scheduler and from the launcher that passes
it on: there a second signal counts after a moment only.
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


class StopAsked(Exception):  # noqa: N818 (no error: what was asked for happens)
    """Leave what is under way, in all processes alike; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """Which signal asked to stop, 0 while none has."""

    signal_number = 0

    def leave_if_asked(self, group: Processes) -> None:
        """Raise StopAsked in all processes of `group` where any has been asked."""
        (number,) = group.any(self.signal_number)
        if number:
            raise StopAsked(number)


NEVER = StopRequest()


@contextlib.contextmanager
def graceful_stop() -> Iterator[StopRequest]:
    """Within the block a first signal only sets the request; unseen by the block, it is raised after it."""
    request = StopRequest()
    echo = ECHO_SECONDS if process_count() > 1 else 0.0
    heard = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set handlers; the caller's own stay in force
        return

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signal's signature)
        nonlocal heard
        if not request.signal_number:
            request.signal_number, heard = number, time.monotonic()
        elif time.monotonic() - heard >= echo:
            os._exit(128 + number)

    previous = {number: signal.signal(number, note) for number in STOPPERS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if request.signal_number:
        signal.raise_signal(request.signal_number)
