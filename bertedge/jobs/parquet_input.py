"""Rows of a Parquet file, in their own types."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        return self.table.column(name).to_pylist()

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
    values = column.to_pylist()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if value is None else base64.b64encode(value).decode("ascii") for value in values]
    return values


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
    for groups, rows, size in _chunks(file.metadata, _text_columns(file)):
        if done + rows <= start:
            done += rows
            continue
        for batch in file.iter_batches(batch_size=size, row_groups=groups):
            done += batch.num_rows
            if done > start and batch.num_rows:
                yield _block(pa.Table.from_batches([batch]), done, total)


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


def _text_columns(file: Any) -> list[int]:
    """The places of columns that may be texts among the columns of the file's metadata."""
    texts = {field.name for field in file.schema_arrow if pa.types.is_string(field.type) or _is_other_text(field.type)}
    return [place for place in range(len(file.schema)) if file.schema.column(place).path in texts]


def _is_other_text(kind: Any) -> bool:
    return pa.types.is_large_string(kind) or (pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))


def _chunks(metadata: Any, texts: Sequence[int]) -> Iterator[tuple[list[int], int, int]]:
    """Row groups that are read together: small ones that follow each other, or one large one.

    Yields:
        The row groups, their rows, and the rows of a block of them.
    """
    most = np.array([row_tables.BLOCK_ROWS, row_tables.BLOCK_BYTES, ROW_BYTES])
    groups: list[int] = []
    sizes = np.zeros(3, dtype=np.int64)
    for place in range(metadata.num_row_groups):
        group = metadata.row_group(place)
        text = max((group.column(column).total_uncompressed_size for column in texts), default=0)
        own = np.array([group.num_rows, text, group.total_byte_size])
        if groups and (sizes + own > most).any():
            yield groups, int(sizes[0]), _rows_of_block(sizes, most)
            groups, sizes = [], np.zeros_like(sizes)
        groups.append(place)
        sizes = sizes + own
    if groups:
        yield groups, int(sizes[0]), _rows_of_block(sizes, most)


def _rows_of_block(sizes: NDArray[np.int64], most: NDArray[np.int64]) -> int:
    """As many as the limits allow, if all rows are of one size."""
    return max(int((most * sizes[0] // np.maximum(sizes, 1)).min()), 1)
