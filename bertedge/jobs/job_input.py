"""An input of rows: a file of any kind that bertedge reads, or a pipe."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

from bertedge.data.text_files import BEGINNING, decompressed, read_errors, require_text, source_of, suffix_of
from bertedge.errors import CorpusError
from bertedge.jobs import row_tables
from bertedge.jobs.byte_lines import ByteLines, StoppablePipe
from bertedge.jobs.line_rows import Rows, rows_reader
from bertedge.jobs.row_tables import BadRow, Block, ListedRows, Position

PARQUET = (".parquet", ".pq")


@dataclass(frozen=True, kw_only=True)
class JobInput:
    """Where rows come from.

    Attributes:
        path: as the user wrote it; ``-`` is the standard input.
        source: what is opened.
        delivered: whether its bytes can be read only once.
        mark: of a file: its size and the time of its last change.
        stopped: ends waiting for a pipe.
    """

    path: Path
    source: Path
    delivered: bool
    mark: tuple[int, int] | None
    stopped: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, path: Path) -> JobInput:
        """Raises CorpusError if it cannot be read."""
        source, status, delivered = source_of(path)
        return cls(path=path, source=source, delivered=delivered, mark=None if delivered else _mark(status))

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return "standard input" if str(self.path) == "-" else str(self.path)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What tells it apart from another input, and from an earlier content of the same file."""
        if self.mark is None:
            return {"pipe": True}  # its checksum is compared instead
        with read_errors(self.path), open(self.source, "rb") as file:
            beginning = hashlib.sha256(file.read(BEGINNING)).hexdigest()
        return {"bytes": self.mark[0], "modified_ns": self.mark[1], "beginning_sha256": beginning}

    def require_unchanged(self) -> None:
        """Raises CorpusError if the file was changed since the job began."""
        if self.mark is not None and self.mark != _mark(os.stat(self.source)):
            raise CorpusError(
                f"{self.path}: was changed while it was read",
                "copy it first; the rows so far are kept, and --force starts again",
            )

    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """The rows from a position on. A pipe is read from its beginning all the same.

        Raises:
            CorpusError: it cannot be read, is damaged, has another format, or was changed meanwhile.
        """
        if suffix_of(self.path) in PARQUET and not self.delivered:
            from bertedge.jobs.parquet_input import parquet_blocks

            blocks = parquet_blocks(self.source, start or Position())
        else:
            blocks = self._blocks_of_lines(start or Position())
        with read_errors(self.path):
            for block in blocks:
                self.require_unchanged()
                yield block
            self.require_unchanged()

    def _blocks_of_lines(self, start: Position) -> Iterator[Block]:
        with self._opened() as (raw, file, beginning):
            require_text(self.path, beginning)
            try:
                reader, header = rows_reader(suffix_of(self.path), beginning)
            except CorpusError as error:
                raise CorpusError(f"{self.path}: {error.message}", error.hint) from error
            lines = ByteLines(file, checked=self.delivered)
            if start.offset:
                lines.skip_to(start)
            elif header:
                next(iter(lines), None)
            size = self.mark[0] if self.mark else 0
            yield from _blocks(reader(lines), header, lines, lambda: raw.tell() / size if size else None)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any, bytes]]:
        """The file, the file with its content, and the beginning of that."""
        if self.delivered:
            pipe: Any = BufferedReader(StoppablePipe(self.source, self.stopped), BEGINNING)
            with pipe, decompressed(pipe) as file:
                content = file if isinstance(file, BufferedReader) else BufferedReader(file)
                yield pipe, content, content.peek(1)
            return
        with open(self.source, "rb") as raw, decompressed(raw) as file:
            beginning = file.read(BEGINNING)
            file.seek(0)
            yield raw, file, beginning


def _mark(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _blocks(
    rows: Rows, header: tuple[str, ...], lines: ByteLines, share: Callable[[], float | None]
) -> Iterator[Block]:
    """Rows in blocks of a limited size. The same position always begins the same block.

    A file without rows is a block that has its columns.
    """
    values: list[dict[str, Any]] = []
    numbers: list[int] = []
    places: list[int] = []
    bad: list[BadRow] = []
    begun = lines.offset

    def block() -> Block:
        return Block(
            table=ListedRows(values, header),
            lines=numbers,
            places=places,
            bad=bad,
            position=lines.position,
            share=share(),
        )

    for row in rows:
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            places.append(len(numbers) + len(bad))
            numbers.append(row[0])
            values.append(row[1])
        if len(numbers) + len(bad) >= row_tables.BLOCK_ROWS or lines.offset - begun >= row_tables.BLOCK_BYTES:
            yield block()
            values, numbers, places, bad, begun = [], [], [], [], lines.offset
    if numbers or bad or (header and lines.number <= 1):
        yield block()
