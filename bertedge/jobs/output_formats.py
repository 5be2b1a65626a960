"""Formats of an output that grows at its end: JSON Lines, CSV and NumPy's."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertedge.errors import UsageError
from bertedge.heads.verb import RowAnswers
from bertedge.jobs.block_answers import AnsweredBlock
from bertedge.jobs.json_text import json_bytes
from bertedge.jobs.row_tables import Block, ListedRows, Table
from bertedge.scratch import sync_file

#: Bytes of the header of a ``.npy`` file; there is room for any number of rows.
NPY_HEADER = 128


@dataclass(frozen=True, kw_only=True)
class OutputColumns:
    """The columns of an output.

    Attributes:
        carried: those of the input.
        names: those of the answers, in the order of ``rows.names``.
        rows: how answers become columns.
        none: the answers to no texts; vectors are an array of shape (0, D).
    """

    carried: tuple[str, ...]
    names: tuple[str, ...]
    rows: RowAnswers
    none: Any

    def values(self, answer: Any) -> dict[str, Any]:
        """The columns of an answer: name -> value."""
        return dict(zip(self.names, self.rows.columns(answer), strict=True))


class OutputFormat:
    """How rows and answers become bytes.

    The bytes of all blocks, one after the other behind a header, are the file. So an interrupted file is cut where its
    last complete block ends, and goes on.
    """

    suffixes: tuple[str, ...] = ()

    def __init__(self, columns: OutputColumns, suffix: str = "") -> None:
        self.columns, self.suffix = columns, suffix

    def begin(self, table: Table | None, partial: Path | None) -> None:
        """Learn what the columns hold.

        Args:
            table: the first rows of this run; None if there are none.
            partial: what an earlier run wrote.
        """

    def fit(self, block: Block) -> Block:
        """Mark rows that cannot be written."""
        return block

    def header(self) -> bytes:
        """The bytes before the first row."""
        return b""

    def encode(self, block: AnsweredBlock) -> bytes:
        """The bytes of a block."""
        raise NotImplementedError

    def complete(self, partial: Path, path: Path, rows: int) -> None:
        """Make the file of its bytes, and give it its name.

        Args:
            partial: the header and all blocks.
            rows: how many the input has.
        """
        os.replace(partial, path)


class JsonLines(OutputFormat):
    """An object a row."""

    suffixes = (".jsonl", ".ndjson")

    def fit(self, block: Block) -> Block:
        names = set(self.columns.names)
        clashes = [names & row.keys() for row in _listed(block.table)]
        return block.without({i: f"has a column {min(one)!r} already" for i, one in enumerate(clashes) if one})

    def encode(self, block: AnsweredBlock) -> bytes:
        pairs = zip(block.block.table.rows(), block.answers, strict=True)
        return b"".join(json_bytes({**row, **self.columns.values(answer)}) + b"\n" for row, answer in pairs)


class Csv(OutputFormat):
    """Comma separated values; lists and mappings are written as JSON."""

    suffixes = (".csv", ".tsv")

    def fit(self, block: Block) -> Block:
        known = set(self.columns.carried)
        others = [row.keys() - known for row in _listed(block.table)]
        reason = "has a column {!r}, which the first rows lack; a .jsonl output takes any"
        return block.without({i: reason.format(min(one)) for i, one in enumerate(others) if one})

    def header(self) -> bytes:
        return self._lines([[*self.columns.carried, *self.columns.names]])

    def encode(self, block: AnsweredBlock) -> bytes:
        pairs = zip(block.block.table.rows(), block.answers, strict=True)
        return self._lines([[*self._carried(row), *self.columns.values(answer).values()] for row, answer in pairs])

    def _carried(self, row: Mapping[str, Any]) -> list[Any]:
        return [row.get(name) for name in self.columns.carried]

    def _lines(self, rows: Sequence[Sequence[Any]]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t" if self.suffix == ".tsv" else ",", lineterminator="\n")
        writer.writerows([[_cell(value) for value in row] for row in rows])
        return text.getvalue().encode("utf-8", "backslashreplace")


class Npy(OutputFormat):
    """The vectors alone, float32 of shape (rows, D); NaN in rows that have no answer."""

    suffixes = (".npy",)

    def __init__(self, columns: OutputColumns, suffix: str = "") -> None:
        super().__init__(columns, suffix)
        if not isinstance(columns.none, np.ndarray) or columns.none.ndim != 2:
            raise UsageError(".npy holds one vector for each row, and the answers are others", "write .jsonl")
        self._width = columns.none.shape[1]

    def header(self) -> bytes:
        return self._header(0)

    def encode(self, block: AnsweredBlock) -> bytes:
        vectors = np.full((block.block.count, self._width), np.nan, dtype="<f4")
        if len(block.answers):
            vectors[block.block.places] = np.asarray(block.answers)
        return vectors.tobytes()

    def complete(self, partial: Path, path: Path, rows: int) -> None:
        with open(partial, "r+b") as file:
            file.write(self._header(rows))
        sync_file(partial)
        os.replace(partial, path)

    def _header(self, rows: int) -> bytes:
        """The header of version 1.0 of the format, always of the same length."""
        start = np.lib.format.magic(1, 0)
        room = NPY_HEADER - len(start) - 2
        text = repr({"descr": "<f4", "fortran_order": False, "shape": (rows, self._width)})
        return start + room.to_bytes(2, "little") + text.ljust(room - 1).encode("ascii") + b"\n"


def _listed(table: Table) -> list[dict[str, Any]]:
    """The rows of a table whose rows may have different columns."""
    return table.values if isinstance(table, ListedRows) else []


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    text = json_bytes(value).decode("utf-8")
    return "" if text == "null" else json.loads(text) if text.startswith('"') else text
