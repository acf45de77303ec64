"""SIGTERM and Ctrl-C: finish the step, save, stop; a second signal stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from kdtool.train.processes import Processes

STOPPERS = (signal.SIGINT, signal.SIGTERM)


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
    """Within the block a first signal only sets the request."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set handlers; the caller's own stay in force
        return

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signal's signature)
        if request.signal_number:
            os._exit(128 + number)
        request.signal_number = number

    previous = {number: signal.signal(number, note) for number in STOPPERS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
