"""The batches that frameworks give to a mapper: dictionaries of arrays, Arrow tables, and pandas data frames."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertedge.errors import UsageError, nearest
from bertedge.jobs.arrow_types import arrow_array
from bertedge.texts import described


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of answers, to be added to a batch.

    Attributes:
        kind: a type of :attr:`bertedge.heads.verb.RowAnswers.types`.
        shape: of one array, where ``kind`` is ``np.ndarray``.
        values: one for each row; None where a text of the row is null.
    """

    name: str
    kind: Any
    shape: tuple[int, ...] = ()
    values: Sequence[Any]


class BatchFormat(ABC):
    """One kind of batch. A batch is never changed: :meth:`extended` makes a new one."""

    @abstractmethod
    def names(self, batch: Any) -> list[str]:
        """The names of its columns."""

    @abstractmethod
    def values(self, batch: Any, name: str) -> list[Any]:
        """The values of a column as Python objects, with None for null."""

    @abstractmethod
    def extended(self, batch: Any, columns: Sequence[Column]) -> Any:
        """The batch with further columns."""


class Arrays(BatchFormat):
    """A dictionary of numpy arrays, or of lists, as of Ray Data and of Hugging Face's datasets."""

    def names(self, batch: Mapping[str, Any]) -> list[str]:
        return list(batch)

    def values(self, batch: Mapping[str, Any], name: str) -> list[Any]:
        column = np.asarray(batch[name], dtype=object)
        if not column.ndim:
            raise UsageError(f"column {name!r} is {described(batch[name])}, expected an array", "a batch has many rows")
        return [None if _is_nan(value) else value for value in column.tolist()]

    def extended(self, batch: Mapping[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
        return {**batch, **{column.name: _numpy(column) for column in columns}}


class Arrow(BatchFormat):
    """A ``pyarrow.Table`` or ``pyarrow.RecordBatch``."""

    def names(self, batch: Any) -> list[str]:
        return list(batch.schema.names)

    def values(self, batch: Any, name: str) -> list[Any]:
        return batch.column(name).to_pylist()

    def extended(self, batch: Any, columns: Sequence[Column]) -> Any:
        import pyarrow

        schema, arrays = batch.schema, list(batch.columns)
        for column in columns:
            arrays.append(arrow_array(column.values, column.kind, column.shape))
            schema = schema.append(pyarrow.field(column.name, arrays[-1].type))
        return type(batch).from_arrays(arrays, schema=schema)


class Pandas(BatchFormat):
    """A ``pandas.DataFrame``."""

    def names(self, batch: Any) -> list[str]:
        return list(batch.columns)

    def values(self, batch: Any, name: str) -> list[Any]:
        column = batch[name]
        return [
            None if missing else value for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)
        ]

    def extended(self, batch: Any, columns: Sequence[Column]) -> Any:
        import pandas

        dtypes = {float: "float64", int: "Int64"}
        made = {
            column.name: pandas.Series(_objects(column.values), index=batch.index, dtype=object).astype(
                dtypes.get(column.kind, object)
            )
            for column in columns
        }
        return batch.assign(**made)


def format_of(batch: Any) -> BatchFormat:
    """The kind of a batch.

    Raises:
        UsageError: it is none of them.
    """
    if isinstance(batch, Mapping):
        return Arrays()
    for package, names, kind in (("pyarrow", ("Table", "RecordBatch"), Arrow), ("pandas", ("DataFrame",), Pandas)):
        module = sys.modules.get(package)  # whoever has such a batch has imported its package
        if module is not None and isinstance(batch, tuple(getattr(module, name) for name in names)):
            return kind()
    raise UsageError(
        f"a batch is a {type(batch).__name__}, expected a dict of arrays, a pyarrow Table or a pandas DataFrame",
        'for instance {"text": np.array(["One.", "Two."])}',
    )


def texts_in(batch: Any, name: str) -> list[str | None]:
    """The texts of a column, with None for null.

    Raises:
        UsageError: the batch has no such column, or has it twice; or a value is not a text. The message gives its row.
    """
    kind = format_of(batch)
    names = kind.names(batch)
    if names.count(name) != 1:
        found = "no" if name not in names else "more than one"
        raise UsageError(f"a batch has {found} column {name!r}", nearest(name, map(str, names)))
    values = kind.values(batch, name)
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise UsageError(
                f"column {name!r}: row {row} of a batch is {described(value)}, expected a text",
                "make it a column of strings, or name another column",
            )
    return [value if value is None else str(value) for value in values]


def _numpy(column: Column) -> np.ndarray:
    """A column as an array of N rows: (N, D) for vectors, float64 for numbers, otherwise objects.

    numpy has no null. Vectors and numbers of rows without an answer are NaN, other values None.
    """
    values = column.values
    if column.kind is np.ndarray and len(column.shape) == 1:
        empty = np.full(column.shape, np.nan, np.float32)
        rows = [empty if value is None else value for value in values]
        return np.stack(rows) if rows else np.zeros((0, *column.shape), np.float32)
    if column.kind is float:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    if column.kind is int and None not in values:
        return np.array(values, np.int64)
    return _objects(values)


def _objects(values: Sequence[Any]) -> np.ndarray:
    """Values as they are; numpy would make a matrix of lists of one length."""
    made = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        made[row] = value
    return made


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))
