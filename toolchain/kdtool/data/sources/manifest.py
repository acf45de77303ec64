"""A list of photo files with their classes: CSV or JSON lines, `path,label[,split]`.

Paths are relative to the folder of the manifest. Without splits, validation and test are carved out of train;
otherwise every line has a split.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import stat
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from kdtool.core.errors import DataError
from kdtool.core.text import printable
from kdtool.data.findings.finding import SHOWN
from kdtool.data.listing import SPLIT_NAMES, SPLITS, Listing, Sample

SUFFIXES = (".csv", ".jsonl")
FIELDS = ("path", "label", "split")
FORM = "Each line: path,label or path,label,split; split is train, validation or test."

Row = tuple[int, dict[str, Any]]


def handles(data: str | None) -> bool:
    """True if DATA is a CSV or JSONL file."""
    return data is not None and data.lower().endswith(SUFFIXES) and Path(data).is_file()


def load(data: str | None) -> Listing:
    """Read the manifest.

    Raises:
        DataError: the manifest cannot be read, or lines are wrong (each is named).
    """
    path = Path(str(data))
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        cause = (error.strerror or error) if isinstance(error, OSError) else "not UTF-8"
        raise DataError(
            f"{path}: the manifest cannot be read ({cause}).", f"Write it again, as UTF-8. {FORM}"
        ) from error
    problems: list[str] = []
    read = _csv_rows if path.suffix.lower() == ".csv" else _jsonl_rows
    rows = list(read(text, problems))
    samples = [sample for row in rows if (sample := _sample(path.parent, row, problems))]
    with_split = [line for line, row in rows if row.get("split")]
    if with_split and len(with_split) < len(rows):
        first = next(line for line, row in rows if not row.get("split"))
        problems.append(
            f"line {first}: no split, but line {with_split[0]} has one; allowed are all lines or none."
        )
    if problems:
        more = [f"  … and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError(
            "\n".join(
                [f"{path}: {len(problems)} line(s) are wrong.", *map("  {}".format, problems[:SHOWN]), *more]
            ),
            FORM,
        )
    present = {sample.split for sample in samples} | {"train"}
    classes = {
        split: tuple(sorted({sample.label for sample in samples if sample.split == split}))
        for split in SPLITS
        if split in present
    }
    carve = tuple(split for split in SPLITS if split not in present)
    return Listing(str(data), tuple(samples), classes, carve)


def _csv_rows(text: str, problems: list[str]) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if not _check_fields(1, list(reader.fieldnames or ()), problems):
            return
        for row in reader:
            if None in row:
                problems.append(
                    f"line {reader.line_num}: more fields than the header has (quote a comma in a path)."
                )
            else:
                yield reader.line_num, dict(row)
    except csv.Error as error:
        problems.append(f"after line {reader.line_num}: not CSV ({error}).")


def _jsonl_rows(text: str, problems: list[str]) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.append(f"line {number}: not JSON ({error}).")
            continue
        if not isinstance(row, dict):
            problems.append(f"line {number}: not a JSON object.")
        elif _check_fields(number, list(row), problems):
            yield number, row


def _check_fields(line: int, fields: list[str], problems: list[str]) -> bool:
    missing = [field for field in FIELDS[:2] if field not in fields]
    unknown = [field for field in fields if field not in FIELDS]
    for field in missing:
        problems.append(f"line {line}: the field '{field}' is missing.")
    for field in unknown:
        problems.append(
            f"line {line}: the field '{printable(field)}' is unknown; allowed are {', '.join(FIELDS)}."
        )
    return not missing and not unknown


def _sample(folder: Path, row: Row, problems: list[str]) -> Sample | None:
    line, fields = row
    wrong = [
        f"line {line}: the field '{field}' {fault}."
        for field in fields
        if (fault := _fault(field, fields[field]))
    ]
    split = None if wrong else SPLIT_NAMES.get((fields.get("split") or "train").lower())
    if split is None:
        allowed = ", ".join(SPLIT_NAMES)
        problems += wrong or [f"line {line}: split is {fields['split']!r}; allowed is one of {allowed}."]
        return None
    path = folder / fields["path"]
    return Sample(fields["path"], str(fields["label"]), split, partial(_read, path))


def _fault(field: str, value: Any) -> str:
    """Say why `value` is not a path, label or split; empty if it is one."""
    if value in (None, ""):
        return "" if field == "split" else "is empty"
    if isinstance(value, int | float) and field == "label":
        return ""
    if not isinstance(value, str):
        return "is not text"
    if "\0" in value or any(unicodedata.category(char) == "Cs" for char in value):
        return "has a NUL or half of a surrogate pair, which no file name can have"
    return ""


def _read(path: Path) -> bytes:
    """Read a regular file; a pipe or a device might never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return path.read_bytes()
