"""The lines of a file or a pipe as bytes, and how far they were read."""

from __future__ import annotations

import io
import os
import select
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bertedge.data.columns import LONGEST_ROW
from bertedge.errors import CorpusError
from bertedge.jobs.row_tables import Position

#: Bytes that are skipped at once.
BLOCK = 2**20
#: Seconds after which a read from a pipe looks whether it is to stop.
LOOK_S = 0.2
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class StoppablePipe(io.RawIOBase):
    """A pipe whose reads end, as at the end of the file, once ``stopped`` is set."""

    def __init__(self, path: Path, stopped: threading.Event) -> None:
        self._file, self._stopped = io.FileIO(path), stopped

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while os.name != "nt" and not select.select([self._file], [], [], LOOK_S)[0]:
            if self._stopped.is_set():
                return 0
        return self._file.readinto(buffer) or 0

    def close(self) -> None:
        self._file.close()
        super().close()


class ByteLines:
    """Iterates over the lines of an open file, with the line feed at their end.

    A line that is too long is skipped: it is an empty line, and :attr:`overlong` counts it.

    Args:
        file: is read from its beginning.
        checked: keep a checksum of all bytes, because they cannot be read again.

    Attributes:
        offset, number, checksum: as in :class:`Position`.
        overlong: lines that were too long.
    """

    def __init__(self, file: Any, *, checked: bool = False) -> None:
        self._file, self._checked = file, checked
        self.offset = self.number = self.checksum = self.overlong = 0

    @property
    def position(self) -> Position:
        """After the last line that was read."""
        return Position(offset=self.offset, line=self.number, checksum=self.checksum)

    def skip_to(self, position: Position) -> None:
        """Go on where an earlier run ended.

        Raises:
            CorpusError: the bytes before that are not those that it read.
        """
        if not self._checked:
            self._file.seek(position.offset)
            self.offset = position.offset
        while self.offset < position.offset:
            if not (part := self._file.read(min(BLOCK, position.offset - self.offset))):
                break
            self._count(part)
        if (self.offset, self.checksum) != (position.offset, position.checksum):
            raise CorpusError(
                "the standard input is not that of the unfinished run",
                "send the same rows from their beginning, or start again with --force",
            )
        self.number = position.line

    def __iter__(self) -> Iterator[bytes]:
        while line := self._file.readline(LONGEST_ROW):
            begins = not self.offset
            self._count(line)
            if len(line) == LONGEST_ROW and not line.endswith(b"\n"):
                self._skip_line()
                line = b"\n"
            line = line.removeprefix(BYTE_ORDER_MARK) if begins else line
            if line:
                self.number += 1
                yield line

    def _skip_line(self) -> None:
        self.overlong += 1
        while part := self._file.readline(BLOCK):
            self._count(part)
            if part.endswith(b"\n"):
                return

    def _count(self, part: bytes) -> None:
        self.offset += len(part)
        if self._checked:
            self.checksum = zlib.crc32(part, self.checksum)
