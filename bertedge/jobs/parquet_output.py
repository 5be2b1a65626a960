"""Parquet. Until the end, rows are kept in Arrow's own format, which can grow."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertedge.errors import MissingExtraError
from bertedge.jobs.arrow_types import arrow_array
from bertedge.jobs.block_answers import AnsweredBlock
from bertedge.jobs.json_text import json_bytes
from bertedge.jobs.output_formats import OutputFormat
from bertedge.jobs.row_tables import Block, Table
from bertedge.scratch import scratch_file, sync_file

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    raise MissingExtraError("pyarrow", "data") from error

from bertedge.jobs.parquet_input import ArrowRows

#: Rows of a row group, unless they have more bytes.
GROUP_ROWS, GROUP_BYTES = 2**16, 2**23


class Parquet(OutputFormat):
    """Columns with types: those of the input, and float32 lists for vectors.

    Columns of JSON objects get the types of the first rows. If these differ, or are all null, the column is text, with
    other values as JSON.
    """

    suffixes = (".parquet", ".pq")
    #: The types of the input's columns.
    _schema: Any = None
    #: The shape of vectors.
    _shape: tuple[int, ...] = (0,)

    def begin(self, table: Table | None, partial: Path | None) -> None:
        none = self.columns.none
        self._shape = none.shape[1:] if isinstance(none, np.ndarray) else (0,)
        names = self.columns.carried
        if partial is not None and partial.stat().st_size:
            with open(partial, "rb") as file:
                whole = pa.ipc.open_stream(file).schema
            self._schema = pa.schema([whole.field(name) for name in names])
        elif isinstance(table, ArrowRows):
            self._schema = table.table.schema
        else:
            rows = table.rows() if table is not None else []
            self._schema = pa.schema([(name, _type_of([row.get(name) for row in rows])) for name in names])

    def fit(self, block: Block) -> Block:
        if isinstance(block.table, ArrowRows):
            return block
        known = set(self._schema.names)
        reasons: dict[int, str] = {}
        for index, row in enumerate(block.table.rows()):
            if other := row.keys() - known:
                reasons[index] = f"has a column {min(other)!r}, which the first rows lack"
        for field in self._schema:
            for index, error in _unfit(block.table.column(field.name), field.type):
                reasons.setdefault(index, f"column {field.name!r}: {error}, but the first rows hold {field.type}")
        return block.without(reasons)

    def encode(self, block: AnsweredBlock) -> bytes:
        answers = [self.columns.rows.columns(answer) for answer in block.answers]
        columns = list(zip(*answers, strict=True)) if answers else [()] * len(self.columns.names)
        if not answers and not isinstance(self.columns.none, np.ndarray) and np.ndarray in self.columns.rows.types:
            return b""  # the shape of vectors is not known yet
        if answers and isinstance(answers[0][0], np.ndarray):
            self._shape = answers[0][0].shape
        table = self._carried(block.block.table)
        for name, kind, values in zip(self.columns.names, self.columns.rows.types, columns, strict=True):
            table = table.append_column(name, arrow_array(values, kind, self._shape))
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return sink.getvalue()

    def complete(self, partial: Path, path: Path, rows: int) -> None:
        with scratch_file(path) as whole:
            self._write(partial, whole)
            sync_file(whole)
            os.replace(whole, path)
        partial.unlink()

    def _carried(self, table: Table) -> Any:
        if isinstance(table, ArrowRows):
            return table.table
        columns = [pa.array(_as_type(table.column(field.name), field.type), field.type) for field in self._schema]
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _write(self, partial: Path, whole: Path) -> None:
        kinds = dict(zip(self.columns.names, self.columns.rows.types, strict=True))
        tables = _tables(partial)
        first = next(tables, None)
        if first is None:
            first = (self._schema if self._schema is not None else pa.schema([])).empty_table()
            for name, kind in kinds.items():
                first = first.append_column(name, arrow_array((), kind, self._shape))
        # vectors have few equal numbers, so a dictionary would only cost time
        others = [name for name in first.column_names if kinds.get(name) is not np.ndarray]
        with pq.ParquetWriter(whole, first.schema, use_dictionary=others) as writer:
            for group in _groups(first, tables):
                writer.write_table(group, row_group_size=group.num_rows or None)
                del group  # before the next one is read


def _tables(partial: Path) -> Iterator[Any]:
    """The table of each block."""
    with open(partial, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while file.tell() < size:
            with pa.ipc.open_stream(file) as stream:
                yield stream.read_all()


def _groups(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    """Tables joined to row groups."""
    held, rows, size = [first], first.num_rows, first.nbytes
    for table in others:
        if rows + table.num_rows > GROUP_ROWS or size + table.nbytes > GROUP_BYTES:
            whole, held = pa.concat_tables(held), []
            yield whole
            del whole
            rows = size = 0
        held.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
    yield pa.concat_tables(held)


def _type_of(values: Sequence[Any]) -> Any:
    """The type of a column of JSON values."""
    try:
        kind = pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.string()
    return pa.string() if _holds_null(kind) else kind


def _holds_null(kind: Any) -> bool:
    """Whether a type, or a part of it, is that of null alone."""
    parts = [kind.field(place).type for place in range(kind.num_fields)]
    return pa.types.is_null(kind) or any(map(_holds_null, parts))


def _as_type(values: Sequence[Any], kind: Any) -> Sequence[Any]:
    if not pa.types.is_string(kind):
        return values
    return [one if one is None or isinstance(one, str) else json_bytes(one).decode("utf-8") for one in values]


def _unfit(values: Sequence[Any], kind: Any) -> Iterator[tuple[int, str]]:
    """The values that a column cannot hold: index and reason."""
    try:
        pa.array(_as_type(values, kind), kind)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError) as error:
        if len(values) == 1:
            yield 0, f"holds {str(error)[:60]}"
            return
        middle = len(values) // 2
        yield from _unfit(values[:middle], kind)
        yield from ((middle + index, reason) for index, reason in _unfit(values[middle:], kind))
