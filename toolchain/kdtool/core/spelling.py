"""Spelling of arguments in messages: options for the command line, keyword arguments for Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum

# Argument or field of a recipe → its option, if the option has another name.
OPTIONS = {
    "data": "DATA", "images": "DATA", "classes and preprocess": "--like FILE", "targets": "--target",
    "bench.claim": "--claim", "bench.judged": "--judge", "bench.reference": "--against",
    "data.cache": "--cache", "data.skip_bad": "--skip-bad", "data.allow_leaks": "--allow-leaks",
    "student.arch": "--student", "teacher.trained": "--teacher", "teacher.weights": "--teacher-weights",
    "student.weights": "--student-weights", "data.unlabelled": "--unlabelled",
}  # fmt: skip
SECTIONS = ("export", "quantize", "bench")  # their fields are arguments of functions
Caller = Enum("Caller", ["COMMAND_LINE", "RUN", "FUNCTION"])  # RUN: kdtool.run takes fields in `set`
_caller: ContextVar[Caller] = ContextVar("caller")


@contextmanager
def called_from(caller: Caller) -> Iterator[None]:
    """Spell arguments for `caller` in the block or decorated function, unless a caller is known already."""
    token = _caller.set(_caller.get(caller))
    try:
        yield
    finally:
        _caller.reset(token)


def argument(name: str) -> str:
    """Name of an argument: `--role` or `role`."""
    return OPTIONS.get(name, f"--{name}") if _on_command_line() else name


def assigned(values: Mapping[str, object]) -> str:
    """Spell arguments, and fields of a recipe as `section.key`, with their values (`...`: any value).

    {"out": "DIR", "export.opset": 20} is `--out DIR --set export.opset=20` on the command line,
    `out="DIR", set={"export.opset": 20}` for kdtool.run and `out="DIR", opset=20` for other functions.
    """
    if _on_command_line():
        return " ".join(_option(name, value) for name, value in values.items())
    in_run = _caller.get() == Caller.RUN
    fields = [name for name in values if "." in name and (in_run or name.split(".")[0] not in SECTIONS)]
    spelled = [f"{name.split('.')[-1]}={_literal(values[name])}" for name in values if name not in fields]
    if fields:
        by_set = "set={" + ", ".join(f'"{name}": {_literal(values[name])}' for name in fields) + "}"
        spelled.append(by_set if in_run else f"kdtool.run({by_set})")
    return ", ".join(spelled)


def _on_command_line() -> bool:
    return _caller.get(Caller.COMMAND_LINE) == Caller.COMMAND_LINE


def _option(name: str, value: object) -> str:
    import shlex  # here, as json below: errors alone need both, and every command imports this module

    is_field = "." in name and name not in OPTIONS
    words = ["--set", f"{name}={_text(value)}"] if is_field else [argument(name), _text(value)]
    if value is True and not is_field:
        words.pop()
    return " ".join(word if "…" in word else shlex.quote(word) for word in words)


def _text(value: object) -> str:
    return "…" if value is ... else str(value).lower() if isinstance(value, bool) else str(value)


def _literal(value: object) -> str:
    """Python literal; text may be a value as it stands after `--set`, such as `[1, 2]`."""
    import json

    try:
        return repr(json.loads(_text(value)))
    except ValueError:
        return "…" if value is ... else json.dumps(_text(value), ensure_ascii=False)
