"""The one tree of exceptions; the command line turns each into its exit code.

    KdtoolError
    ├── UsageError       2  a wrong argument, field or recipe; also a ValueError
    ├── DataError        3  the photographs are not what training needs
    ├── ModelFileError   4  a model file is broken, hostile or does not fit
    ├── SetupError       5  the surroundings: disk, permission, network, a missing extra
    ├── GateError        6  a numeric gate failed: NaN, parity, INT8, the claim under --check
    ├── LockedError      7  another process holds the run directory
    ├── ElsewhereError   as in the first of several processes, which says what is wrong
    └── Interrupted      130 or 143, the signal asked to stop and the work is saved

Every message names the file or field, what was given, what is allowed, and ends with the next
command in `hint`. Whatever is not a KdtoolError is a defect of kdtool itself (exit 1).
"""

from __future__ import annotations


class KdtoolError(Exception):
    """Base of all expected failures.

    Args:
        message: what is wrong, naming the file or field.
        hint: what to do next, usually a command.

    Example:
        try:
            run = kdtool.run("photographs/")
        except kdtool.KdtoolError as error:
            print(error.message, error.hint)
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(KdtoolError, ValueError):
    exit_code = 2


class DataError(KdtoolError):
    exit_code = 3


class ModelFileError(KdtoolError):
    exit_code = 4


class SetupError(KdtoolError):
    exit_code = 5


class GateError(KdtoolError):
    exit_code = 6


class LockedError(KdtoolError):
    exit_code = 7


class ElsewhereError(KdtoolError):
    """The first of several processes failed and says why; this one leaves with its exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("The first process failed.")
        self.exit_code = exit_code


class Interrupted(KdtoolError):  # noqa: N818 (no error: everything is saved)
    """A signal asked to stop; the step was finished and saved."""

    def __init__(self, signal_number: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.exit_code = 128 + signal_number


def exit_code(error: Exception) -> int:
    """The code that a process leaves with: 5 also where system or memory failed, 1 for a defect."""
    if isinstance(error, KdtoolError):
        return error.exit_code
    return SetupError.exit_code if isinstance(error, OSError | MemoryError) else KdtoolError.exit_code


def missing_extra(package: str, wanted_by: str) -> SetupError:
    """The error of a command whose optional packages are not installed."""
    return SetupError(
        f"{wanted_by} needs the package '{package}', which is not installed.",
        'Install the training extra: pip install "kdtool[train]"',
    )
