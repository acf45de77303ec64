"""Exceptions of kdtool, in one tree; the command line turns each of them into its exit code.

    KdtoolError
    ├── UsageError       2  a wrong argument, field or recipe; also a ValueError
    ├── DataError        3  the photographs cannot be used for training
    ├── ModelFileError   4  a model file is broken, hostile or does not fit
    ├── SetupError       5  the environment: disk, permission, network, a missing extra
    ├── GateError        6  a numeric gate failed: NaN, parity, INT8, the claim under --check
    ├── LockedError      7  another process holds the folder of the run
    ├── ElsewhereError      the first of several processes failed and prints why; its exit code
    └── Interrupted         130 or 143: a signal asked to stop, and the work is saved

Every message names the file or field, the given value and the allowed values; `hint` is the next
command. Any other exception is a defect of kdtool itself (exit 1).
"""

from __future__ import annotations


class KdtoolError(Exception):
    """Base of all expected failures.

    Args:
        message: the problem, with the file or field that has it.
        hint: the next step, usually a command.

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
    """An argument, a field or a recipe is wrong."""

    exit_code = 2


class DataError(KdtoolError):
    """The photographs, or a file with measured data, cannot be used."""

    exit_code = 3


class ModelFileError(KdtoolError):
    """A model file is broken, hostile or does not fit."""

    exit_code = 4


class SetupError(KdtoolError):
    """The environment prevents the work: disk, permission, network, a missing package."""

    exit_code = 5


class GateError(KdtoolError):
    """A number is outside its limit: NaN, parity, the accuracy of INT8, a claim under --check."""

    exit_code = 6


class LockedError(KdtoolError):
    """Another process works in the folder of the run."""

    exit_code = 7


class ElsewhereError(KdtoolError):
    """The first of several processes failed and prints why; this process ends with the same exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("The first process failed.")
        self.exit_code = exit_code


class Interrupted(KdtoolError):  # noqa: N818 (no error: everything is saved)
    """A signal asked to stop; the step was completed and saved."""

    def __init__(self, signal_number: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.exit_code = 128 + signal_number


def exit_code(error: Exception) -> int:
    """Exit code of a process that ends with `error`: 5 also for OSError and MemoryError, 1 for a defect."""
    if isinstance(error, KdtoolError):
        return error.exit_code
    return SetupError.exit_code if isinstance(error, OSError | MemoryError) else KdtoolError.exit_code


def pip_install(extra: str = "") -> str:
    """Command that installs kdtool, with the packages of `extra`."""
    return f'pip install "kdtool[{extra}]"' if extra else "pip install kdtool"


def missing_extra(package: str, wanted_by: str, extra: str = "train") -> SetupError:
    """Make the error of a command that needs a package of `extra`, which is not installed."""
    return SetupError(
        f"{wanted_by} needs the package '{package}', which is not installed.",
        f"Install it: {pip_install(extra)}",
    )
