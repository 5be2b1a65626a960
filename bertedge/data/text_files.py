"""Text files as users have them: compressed, through a pipe, in another encoding. They are opened as text, or refused.

Memory and disk are limited: devices are refused, pipes have a limit, and long lines are read in parts.
"""

from __future__ import annotations

import atexit
import bz2
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from bertedge.errors import CorpusError
from bertedge.files import FRESH_COPY, GIT_LFS, PLACEHOLDERS, sha256
from bertedge.scratch import temporary_folder

#: Characters of a line that are read at once.
BLOCK = 4096
#: Bytes at the beginning of a file that show its format and encoding.
BEGINNING = 2**20
#: The most bytes that are read from a pipe; they go to a temporary file, because most texts are read twice.
PIPE_LIMIT = 2**28
#: Compressed files: suffix, first bytes, and how to open them.
COMPRESSED: dict[str, tuple[bytes, Callable[[IO[bytes]], Any]]] = {
    ".gz": (b"\x1f\x8b", gzip.open),
    ".bz2": (b"BZh", bz2.open),
    ".xz": (b"\xfd7zXZ\x00", lzma.open),
}
TEXT_HINT = "write its text to a file: one sentence a line; or JSON Lines or CSV with a column 'text'"
#: Formats that are not text: offset, bytes at that offset, name.
OTHER_FORMATS = (
    (0, b"PAR1", "Parquet"),
    (0, b"ARROW1", "Arrow"),
    (0, b"PK\x03\x04", "ZIP (also used by Excel and Word)"),
    (0, b"\xd0\xcf\x11\xe0", "Excel or Word"),
    (0, b"%PDF", "PDF"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
    (0, b"7z\xbc\xaf", "7-Zip"),
    (0, b"SQLite format 3\x00", "SQLite"),
    (0, b"\x93NUMPY", "NumPy"),
    (257, b"ustar", "tar"),
)
#: Byte order marks, the longer ones first.
MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
#: The bytes above ASCII that Windows-1252 uses for letters, quotation marks and dashes.
LATIN = bytes(range(0xA0, 0x100)) + b"\x80\x84\x85\x8c\x91\x92\x93\x94\x96\x97\x9c"


class TextFile:
    """An open text file.

    Attributes:
        path: as the user wrote it, for messages.
        suffix: of the name without the compression's, in lower case.
        beginning: the first text in it; :meth:`parts` begins with the same text.
        lines_read: lines that were read to their end.
    """

    def __init__(self, path: Path, file: Any, beginning: bytes) -> None:
        self.path, self._file, self.lines_read = path, io.TextIOWrapper(file, encoding="utf-8"), 0
        self.suffix = suffix_of(path)
        self.beginning = io.StringIO(beginning.decode("utf-8", errors="replace"), newline=None).read()

    def parts(self) -> Iterator[str]:
        """Lines with their line feed; a line of more than :data:`BLOCK` characters in several parts.

        Raises:
            CorpusError: there is a NUL character, so it is not text.
        """
        while part := self._file.readline(BLOCK):
            if "\0" in part:
                raise CorpusError(
                    f"{self.path}: is not text: holds NUL bytes{self.where()}",
                    "if it is text, remove them: tr -d '\\000' < FILE > NEW",
                )
            self.lines_read += part.endswith("\n")
            yield part

    def where(self) -> str:
        """How far the file was read, for messages."""
        return f" after line {self.lines_read}" if self.lines_read else ""


def suffix_of(path: Path) -> str:
    """The suffix of a text's name without the compression's, in lower case: ``.csv`` of ``reviews.CSV.gz``."""
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return name.suffix.lower()


def local_file(path: Path) -> Path:
    """The path of a regular file with the same bytes: the path itself, or a copy of what a pipe delivers.

    A path of ``-`` is the standard input.

    Raises:
        CorpusError: it is missing, a folder or a device, or the pipe delivers too much.
    """
    source, status, delivered = source_of(path)
    return _copy_of_pipe(source, (status.st_dev, status.st_ino)) if delivered else path


def source_of(path: Path) -> tuple[Path, os.stat_result, bool]:
    """What is to be opened to read a path, its status, and whether its bytes can be read only once, as from a pipe.

    A path of ``-`` is the standard input.

    Raises:
        CorpusError: it is missing, a folder or a device.
    """
    source = Path("/dev/stdin") if str(path) == "-" and not path.exists() else path
    try:
        status = os.stat(source)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})", "check the path") from error
    handed_over = str(source) == "/dev/stdin" or str(source.parent) in ("/dev/fd", "/proc/self/fd")
    if stat.S_ISDIR(status.st_mode):
        raise CorpusError(f"{path}: cannot be read (it is a folder)", "name a file")
    delivered = stat.S_ISFIFO(status.st_mode) or (handed_over and stat.S_ISREG(status.st_mode))
    if not delivered and not stat.S_ISREG(status.st_mode):
        raise CorpusError(f"{path}: is a device, not a file of text", "name a file")
    return source, status, delivered


def text_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of the bytes of a text, also of one from a pipe.

    Raises:
        CorpusError: see :func:`local_file`.
    """
    return sha256(local_file(path))


@contextmanager
def open_text(path: Path) -> Iterator[TextFile]:
    """Open a UTF-8 text file, compressed or not. While it is open, read errors become a :class:`CorpusError`.

    Raises:
        CorpusError: it cannot be read, is not text, is damaged, or has another encoding.
    """
    text: TextFile | None = None
    try:
        with read_errors(path), open(local_file(path), "rb") as raw, decompressed(raw) as file:
            beginning = file.read(BEGINNING)
            file.seek(0)
            require_text(path, beginning)
            text = TextFile(path, file, beginning)
            yield text
    except UnicodeDecodeError as error:
        where = text.where() if text else ""
        raise CorpusError(f"{path}: not UTF-8{where}", _encoding_hint(error.object)) from error


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Errors of the system and of the decompression become a :class:`CorpusError`."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if not isinstance(error, OSError) or error.errno is None:  # as gzip and bz2 raise it
            raise CorpusError(f"{path}: the compressed file is damaged or cut off", FRESH_COPY) from error
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})", "check the path") from error


def decompressed(raw: io.BufferedReader) -> Any:
    """A file that reads what a file holds, which is compressed or not."""
    beginning = raw.peek(1)
    for magic, opener in COMPRESSED.values():
        if beginning.startswith(magic):
            return opener(raw)
    return raw


def require_text(path: Path, beginning: bytes) -> None:
    """Refuse a file whose first bytes are not text.

    Raises:
        CorpusError: names the format or the encoding.
    """
    if beginning.startswith(GIT_LFS):
        pointer, hint = PLACEHOLDERS[GIT_LFS]
        raise CorpusError(f"{path}: is {pointer}, not the file itself", hint)
    for start, magic, name in OTHER_FORMATS:
        if beginning.startswith(magic, start):
            raise CorpusError(f"{path}: is not text: its format is {name}", TEXT_HINT)
    encoding = next((name for mark, name in MARKS if beginning.startswith(mark)), None)
    zeros = [beginning[start::2].count(0) for start in (0, 1)]
    if encoding is None and max(zeros) > max(0.15 * len(beginning), 1) and min(zeros) < 0.1 * max(zeros):
        encoding = "UTF-16LE" if zeros[1] > zeros[0] else "UTF-16BE"
    if encoding is not None:
        raise CorpusError(f"{path}: is {encoding}, not UTF-8", _iconv(encoding))


def _encoding_hint(data: bytes) -> str:
    """A hint about bytes that are not UTF-8. Old European encodings are mostly ASCII, like UTF-8."""
    others = bytes(byte for byte in data if byte >= 0x80)
    if len(others) < 0.3 * len(data) and not others.translate(None, LATIN):
        return f"is it Latin-1 or Windows-1252? {_iconv('WINDOWS-1252')}"
    return _iconv("ENCODING")


def _iconv(encoding: str) -> str:
    return f"convert it: iconv -f {encoding} -t UTF-8 FILE > NEW"


#: Device and number of each pipe that this process read -> the copy.
_copies: dict[tuple[int, int], Path] = {}


def _copy_of_pipe(path: Path, pipe: tuple[int, int]) -> Path:
    if pipe in _copies:
        return _copies[pipe]
    opened = ExitStack()
    copy = opened.enter_context(temporary_folder()) / "text"
    atexit.register(partial(_close, opened, os.getpid()))
    with open(path, "rb") as source, open(copy, "wb") as target:
        while block := source.read(2**20):
            target.write(block)
            if target.tell() > PIPE_LIMIT:
                opened.close()
                raise CorpusError(
                    f"{path}: more than {PIPE_LIMIT // 2**20} MB came through the pipe",
                    "write the text to a file, and give the file",
                )
    _copies[pipe] = copy
    return copy


def _close(opened: ExitStack, process: int) -> None:
    if os.getpid() == process:  # a forked process also runs this at exit
        opened.close()
