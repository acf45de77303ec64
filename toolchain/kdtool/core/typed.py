"""Dataclasses from JSON: the type of every field is checked, and the error has all wrong fields."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Record = TypeVar("Record")


def parse_record(kind: type[Record], text: str | bytes, schema: int) -> Record:
    """Parse JSON text as the dataclass `kind`; its key `schema` must be the version `schema`.

    Raises:
        ValueError: not JSON, another version, or fields are missing or wrong (the message has all).
    """
    return typed(kind, parse_content(text, schema))


def parse_content(text: str | bytes, *schemas: int) -> dict[str, Any]:
    """Parse JSON text as an object; its key `schema` must be one of the versions `schemas`.

    Raises:
        ValueError: not JSON, or another version.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict) or content.get("schema") not in schemas:
        raise ValueError("written by another version of kdtool, or by something else")
    return content


def typed(kind: type[Record], content: Any) -> Record:
    """Convert a JSON value to the dataclass `kind`; unknown keys are ignored.

    The conversion is strict: a number in quotes, NaN and infinity are errors.

    Raises:
        ValueError: fields are missing or wrong (the message has all).
    """
    try:
        # JSON text, since pydantic in strict mode makes a tuple from a JSON array but not from a list.
        text = json.dumps(content, allow_nan=False)
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError("; ".join(_problem(problem) for problem in error.errors())) from None


def _problem(error: Any) -> str:
    field = ".".join(map(str, error["loc"])) or "the whole record"
    return f"{field}: {error['msg'].removeprefix('Value error, ')}"
