"""Values as JSON, fast: by orjson where it is installed, otherwise by the standard library with the same values."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from bertedge.records import finite

try:
    import orjson
except ModuleNotFoundError:
    orjson = None  # type: ignore[assignment]


def json_bytes(value: Any) -> bytes:
    """A value as JSON in UTF-8, without white space.

    Arrays are lists, and float32 numbers have as few digits as tell them apart. NaN and infinity are null, dates are
    written as in ISO 8601, bytes in base 64.
    """
    if orjson is not None:
        options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATETIME
        try:
            return orjson.dumps(value, default=_plain, option=options)
        except orjson.JSONEncodeError:  # whole numbers of more than 64 bits, halves of surrogate pairs
            pass
    return standard_json(value)


def standard_json(value: Any) -> bytes:
    """The same by the standard library. Half of a surrogate pair is written as an escape."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        plain = json.loads(json.dumps(value, default=_plain))
        text = json.dumps(finite(plain), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), separators=(",", ":")).encode("ascii")


def _plain(value: Any) -> Any:
    """A value of a type that JSON lacks."""
    if isinstance(value, np.ndarray):
        return _listed(value)
    if isinstance(value, np.generic):
        return _listed(value) if isinstance(value, np.floating) else value.item()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _listed(array: Any) -> Any:
    """Numbers as Python's; the shortest digits of a float32 are those of another float64 than its own value."""
    if array.dtype == np.float32:
        return np.asarray(array).astype(str).astype(np.float64).tolist()
    return array.tolist()
