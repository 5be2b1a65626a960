"""Rows of a Parquet file, in their own types."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bertedge.errors import CorpusError, MissingExtraError
from bertedge.files import FRESH_COPY
from bertedge.jobs import row_tables
from bertedge.jobs.row_tables import Block, Position

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    raise MissingExtraError("pyarrow", "data") from error

#: Bytes of all columns after which a block ends.
ROW_BYTES = 2**24
#: Bytes that are read at once from a column.
BUFFER = 2**20


class ArrowRows:
    """Rows in Arrow's columns; see :class:`bertedge.jobs.row_tables.Table`.

    Attributes:
        table: a ``pyarrow.Table``.
    """

    def __init__(self, table: Any) -> None:
        self.table = table

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def names(self) -> Sequence[str]:
        return self.table.column_names

    def column(self, name: str) -> list[Any]:
        return _values(self.table.column(name))

    def keep(self, places: Sequence[int]) -> ArrowRows:
        return ArrowRows(self.table.take(pa.array(places, type=pa.int64())))

    def rows(self) -> list[dict[str, Any]]:
        columns = [_json_values(self.table.column(name)) for name in self.names]
        return [dict(zip(self.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _json_values(column: Any) -> list[Any]:
    """The values of a column: dates and decimals as text, bytes in base 64."""
    kind = column.type
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return pc.cast(column, pa.string()).to_pylist()
    values = _values(column)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if value is None else base64.b64encode(value).decode("ascii") for value in values]
    return values


def _values(column: Any) -> list[Any]:
    """The values of a column; bytes where a text is not UTF-8, which Parquet does not check."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError as error:
        if not _is_text(column.type):
            raise CorpusError(f"a column of {column.type} holds bytes that are not UTF-8", FRESH_COPY) from error
        return [_text_or_bytes(value) for value in pc.cast(column, pa.large_binary()).to_pylist()]


def _text_or_bytes(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def parquet_blocks(path: Path, start: Position) -> Iterator[Block]:
    """The rows of a file from a position on. The same position always begins the same block.

    Raises:
        CorpusError: it is not Parquet or damaged, or two columns have one name.
    """
    try:
        with pq.ParquetFile(path, buffer_size=BUFFER) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise CorpusError(f"{path}: has columns of the same name", "give each column another name")
            if not file.metadata.num_rows:
                yield _block(file.schema_arrow.empty_table(), 0, 1)
            yield from _blocks(file, start.line)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CorpusError(f"{path}: is not Parquet, or damaged ({str(error)[:100]})", FRESH_COPY) from error


def _blocks(file: Any, start: int) -> Iterator[Block]:
    done, total = 0, file.metadata.num_rows
    for groups, rows, size in _chunks(file.metadata):
        if done + rows <= start:
            done += rows
            continue
        for batch in file.iter_batches(batch_size=size, row_groups=groups):
            for piece in _pieces(pa.Table.from_batches([batch])):
                done += piece.num_rows
                if done > start:
                    yield _block(piece, done, total)


def _pieces(table: Any) -> Iterator[Any]:
    """Rows that have not too much text together."""
    text = max((column.nbytes for column in table.columns if _is_text(column.type)), default=0)
    count = -(-text // row_tables.BLOCK_BYTES)
    rows = -(-table.num_rows // max(count, 1))
    yield from (table.slice(begin, rows) for begin in range(0, table.num_rows, max(rows, 1)))


def _block(table: Any, end: int, total: int) -> Block:
    count = table.num_rows
    return Block(
        table=ArrowRows(table),
        lines=list(range(end - count + 1, end + 1)),
        places=list(range(count)),
        bad=[],
        position=Position(line=end),
        share=end / total,
    )


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _chunks(metadata: Any) -> Iterator[tuple[list[int], int, int]]:
    """Row groups that are read together: small ones that follow each other, or one large one.

    The sizes of single columns are not looked at: pyarrow ends the process where those of a damaged file are wrong.

    Yields:
        The row groups, their rows, and the rows that are read at once.
    """
    groups: list[int] = []
    rows = size = 0
    for place in range(metadata.num_row_groups):
        group = metadata.row_group(place)
        if groups and (rows + group.num_rows > row_tables.BLOCK_ROWS or size + group.total_byte_size > ROW_BYTES):
            yield groups, rows, _rows_at_once(rows, size)
            groups, rows, size = [], 0, 0
        groups.append(place)
        rows, size = rows + group.num_rows, size + group.total_byte_size
    if groups:
        yield groups, rows, _rows_at_once(rows, size)


def _rows_at_once(rows: int, size: int) -> int:
    """As many as the limits allow, if all rows are of one size."""
    return max(min(row_tables.BLOCK_ROWS, ROW_BYTES * rows // max(size, 1)), 1)
