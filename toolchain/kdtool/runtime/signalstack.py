"""Stack that signal handlers run on."""

from __future__ import annotations

import ctypes
import sys

SS_DISABLE = 2


class _Stack(ctypes.Structure):
    """Struct `stack_t` of Linux."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def restore_signal_stack() -> None:
    """Make the signal handlers of this thread run on its usual stack again.

    On processors with AMX, OpenVINO gives the calling thread an alternative stack and frees it after the
    computation. The next Ctrl-C would then end the process with a segmentation fault.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).sigaltstack(ctypes.byref(_Stack(None, SS_DISABLE, 0)), None)
