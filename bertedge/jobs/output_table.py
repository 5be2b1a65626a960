"""The formats of outputs, by the suffix of the file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from bertedge.errors import UsageError, nearest
from bertedge.jobs.output_formats import Csv, JsonLines, Npy, OutputColumns, OutputFormat

PARQUET = (".parquet", ".pq")
FORMATS: dict[str, type[OutputFormat]] = {suffix: kind for kind in (JsonLines, Csv, Npy) for suffix in kind.suffixes}


def format_of(path: Path | None) -> Callable[[OutputColumns], OutputFormat]:
    """What makes the format of an output; a stream is JSON Lines.

    Raises:
        UsageError: there is no such format.
        MissingExtraError: Parquet needs pyarrow.
    """
    suffix = ".jsonl" if path is None else path.suffix.lower()
    if suffix in PARQUET:
        kind = import_module("bertedge.jobs.parquet_output").Parquet
    elif suffix in FORMATS:
        kind = FORMATS[suffix]
    else:
        raise UsageError(f"{path}: is not a format to write", nearest(suffix, [*FORMATS, *PARQUET]))
    return partial(kind, suffix=suffix)
