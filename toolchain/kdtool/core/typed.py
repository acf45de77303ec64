"""From JSON to a dataclass: every field's type checked, every wrong one named."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Record = TypeVar("Record")


def parse_record(kind: type[Record], text: str | bytes, schema: int) -> Record:
    """JSON text as the dataclass `kind`, where its key `schema` has the version wanted.

    Raises:
        ValueError: not JSON, of another version, or fields are missing or wrong (all are named).
    """
    return typed(kind, parse_content(text, schema))


def parse_content(text: str | bytes, *schemas: int) -> dict[str, Any]:
    """JSON text as an object, where its key `schema` has one of the versions wanted.

    Raises:
        ValueError: not JSON, or of another version.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict) or content.get("schema") not in schemas:
        raise ValueError("written by another version of kdtool, or by something else")
    return content


def typed(kind: type[Record], content: Any) -> Record:
    """What JSON holds as the dataclass `kind`; further keys are ignored.

    Strict: a number in quotes is no number, and neither is NaN or infinity.

    Raises:
        ValueError: fields are missing or wrong (all are named).
    """
    try:
        text = json.dumps(content, allow_nan=False)  # pydantic knows tuples from arrays in JSON text alone
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError("; ".join(_problem(one) for one in error.errors())) from None


def _problem(error: Any) -> str:
    field = ".".join(map(str, error["loc"])) or "the whole"
    return f"{field}: {error['msg'].removeprefix('Value error, ')}"
