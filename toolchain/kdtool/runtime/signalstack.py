"""The stack that signal handlers run on."""

from __future__ import annotations

import ctypes
import sys

SS_DISABLE = 2


class _Stack(ctypes.Structure):
    """Linux's stack_t."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def use_own_stack_for_signals() -> None:
    """Have this thread's signal handlers run on its usual stack again.

    On processors with AMX, OpenVINO gives its caller's thread an alternative stack that does not outlive
    the work; the next Ctrl-C would then end the process with a segmentation fault.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).sigaltstack(ctypes.byref(_Stack(None, SS_DISABLE, 0)), None)
