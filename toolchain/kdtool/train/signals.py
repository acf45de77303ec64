"""SIGTERM and Ctrl-C: finish the step, save, stop; a second signal stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOPPERS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Which signal asked to stop, 0 while none has."""

    signal_number = 0


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
