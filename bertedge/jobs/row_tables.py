"""Rows of an input: what was read, what could not be read, and how far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bertedge.bounds import Bytes, Count

#: A block ends after so many rows, or after so many bytes of text.
BLOCK_ROWS, BLOCK_BYTES = 2048, 2**19


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that has no answer.

    Attributes:
        line: where it begins in its file, from 1; in Parquet, the number of the row.
        readable: whether the row itself could be read.
    """

    line: int
    reason: str
    readable: bool = False


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far an input was read.

    Attributes:
        offset: bytes, after the decompression.
        line: lines; in Parquet, rows.
        checksum: CRC-32 of these bytes where they can be read only once, otherwise 0.
    """

    offset: Bytes = 0
    line: Count = 0
    checksum: Count = 0


class Table(Protocol):
    """Rows with columns."""

    def __len__(self) -> int: ...

    @property
    def names(self) -> Sequence[str]:
        """The columns that any of the rows has."""
        ...

    def column(self, name: str) -> list[Any]:
        """The values of a column; None where a row lacks it."""
        ...

    def keep(self, places: Sequence[int]) -> Table:
        """The rows at these places."""
        ...

    def rows(self) -> list[dict[str, Any]]:
        """Each row as a mapping of its own columns, with values that JSON has."""
        ...


@dataclass(frozen=True)
class ListedRows:
    """Rows as mappings; each may have other columns.

    Attributes:
        header: the columns of all rows, where the file says so.
    """

    values: list[dict[str, Any]]
    header: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def names(self) -> Sequence[str]:
        return self.header or list(dict.fromkeys(name for row in self.values for name in row))

    def column(self, name: str) -> list[Any]:
        return [row.get(name) for row in self.values]

    def keep(self, places: Sequence[int]) -> ListedRows:
        return ListedRows([self.values[place] for place in places], self.header)

    def rows(self) -> list[dict[str, Any]]:
        return self.values


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows that are read, answered and written together.

    Attributes:
        table: the rows that could be read so far.
        lines: where each of them begins.
        places: its place among all rows of the block, from 0.
        bad: the other rows.
        position: where the next block begins.
        share: of the input that was read up to there; None if its size is not known.
    """

    table: Table
    lines: list[int]
    places: list[int]
    bad: list[BadRow]
    position: Position
    share: float | None = None

    @property
    def count(self) -> int:
        """All rows of the block."""
        return len(self.lines) + len(self.bad)

    def without(self, reasons: dict[int, str]) -> Block:
        """The block with some rows marked as bad.

        Args:
            reasons: the index of a row in ``table`` -> why it has no answer.
        """
        if not reasons:
            return self
        kept = [index for index in range(len(self.lines)) if index not in reasons]
        bad = [BadRow(line=self.lines[index], reason=reason, readable=True) for index, reason in reasons.items()]
        return replace(
            self,
            table=self.table.keep(kept),
            lines=[self.lines[index] for index in kept],
            places=[self.places[index] for index in kept],
            bad=sorted([*self.bad, *bad], key=lambda row: row.line),
        )
