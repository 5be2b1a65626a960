"""Write records (dataclasses) as JSON and read them back, with checks of every type and range."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from bertedge.bounds import MOST_WHOLE
from bertedge.errors import CheckpointError, FileError, UsageError
from bertedge.files import read_text, refuse_placeholder, write_text
from bertedge.printable import shortened

Record = TypeVar("Record")
EDITED = "was the file edited by hand? write it again"


def to_json(record: Any) -> Any:
    """Turn a dataclass and everything in it into plain JSON values. Tuples become lists.

    A field with the metadata ``{"stored": False}``, such as an array, is left out, and :func:`from_json` refuses it.
    """
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: to_json(getattr(record, f.name)) for f in dataclasses.fields(record) if _is_stored(f)}
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_json(value) for value in record]
    return record


def _is_stored(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata.get("stored", True))


def finite(value: Any) -> Any:
    """Replace every float that is NaN or infinite by None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(kind: type[Record], raw: Any, where: str = "$") -> Record:
    """Build the dataclass ``kind`` from parsed JSON.

    A dataclass may have a method ``flaw()`` that checks the whole record. It returns a message, or None.

    Args:
        where: the path of ``raw`` in its file, for messages.

    Raises:
        FileError: a key is unknown or missing, a value has the wrong type, a number is out of its range
            (:mod:`bertedge.bounds`), or ``flaw()`` returns a message.
    """
    return typing.cast(Record, _value(kind, raw, where))


def _value(kind: Any, raw: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        value = _value(args[0], raw, where)
        for bound in args[1:]:
            if not bound.allows(value):
                raise _mismatch(where, raw, str(bound))
        return value
    if kind is Any:
        return raw
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, raw, where)
    if origin in (typing.Union, types.UnionType):
        if raw is None and type(None) in args:
            return None
        return _value(_member(tuple(a for a in args if a is not type(None)), raw, where), raw, where)
    if origin is typing.Literal:
        if raw not in args:
            raise _mismatch(where, raw, " or ".join(map(repr, args)))
        return raw
    if origin in (list, tuple):
        if not isinstance(raw, list):
            raise _mismatch(where, raw, "a list")
        return origin(_value(args[0], item, f"{where}[{i}]") for i, item in enumerate(raw))
    if origin in (dict, Mapping):
        if not isinstance(raw, dict):
            raise _mismatch(where, raw, "an object")
        return {key: _value(args[1], item, f"{where}.{shortened(key)}") for key, item in raw.items()}
    if kind is float and raw is None:
        return math.nan  # written as null
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        try:
            return float(raw)
        except OverflowError as error:
            raise _mismatch(where, raw, "a number of ordinary size") from error
    if not isinstance(raw, kind) or (kind in (int, float) and isinstance(raw, bool)):
        raise _mismatch(where, raw, kind.__name__)
    if kind is int and abs(raw) >= MOST_WHOLE:
        raise _mismatch(where, raw, "a number of ordinary size")
    return raw


def _member(kinds: tuple[Any, ...], raw: Any, where: str) -> Any:
    """Choose the type of a value. If several dataclasses are allowed, their field ``name`` tells which it is."""
    if len(kinds) == 1:
        return kinds[0]
    by_name = {name: kind for kind in kinds for name in typing.get_args(typing.get_type_hints(kind)["name"])}
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or name not in by_name:
        raise _mismatch(where, raw, f"an object whose name is {' or '.join(map(repr, by_name))}")
    return by_name[name]


def _dataclass(kind: type, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise _mismatch(where, raw, "an object")
    hints, fields = _fields(kind)
    unknown = raw.keys() - {f.name for f in fields}
    if unknown:
        raise FileError(
            f"{where}: unknown key {', '.join(sorted(map(shortened, map(repr, unknown))))}",
            EDITED,
        )
    required = {f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
    missing = required - raw.keys()
    if missing:
        raise FileError(f"{where}: missing key {', '.join(sorted(map(repr, missing)))}", "write the file again")
    values = {name: _value(hints[name], value, f"{where}.{name}") for name, value in raw.items()}
    try:
        record = kind(**values)
    except (UsageError, CheckpointError) as error:  # the file is wrong, not an argument or a model
        raise FileError(f"{where}: {error.message}", EDITED) from error
    flaw = record.flaw() if hasattr(record, "flaw") else None
    if flaw is not None:
        raise FileError(f"{where}: {flaw}", EDITED)
    return record


@functools.cache
def _fields(kind: type) -> tuple[dict[str, Any], tuple[dataclasses.Field[Any], ...]]:
    """The types of a dataclass's fields by name, and the fields that are read; a file may hold thousands of records."""
    fields = tuple(f for f in dataclasses.fields(kind) if f.init and _is_stored(f))
    return typing.get_type_hints(kind, include_extras=True), fields


def _mismatch(where: str, raw: Any, expected: str) -> FileError:
    shown = reprlib.repr(raw)[:60]  # limits the depth as well as the length
    return FileError(f"{where}: {shown} is not {expected}", EDITED)


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        FileError: it cannot be read or is not JSON.
    """
    refuse_placeholder(path)
    try:
        return json.loads(read_text(path))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: is not JSON ({error})", "was it cut off or edited by hand? write it again") from error


def write_json(path: Path, value: Any) -> None:
    """Write records or plain values as indented JSON, completely or not at all. NaN and infinity become null."""
    text = json.dumps(finite(to_json(value)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # a lone surrogate, as in a file name that is not UTF-8, has no UTF-8 bytes; JSON can spell it as "\udc80"
    write_text(path, text.encode("utf-8", errors="backslashreplace").decode("utf-8"))
