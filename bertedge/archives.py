"""Zip archives (``.npz``, ``pytorch_model.bin``, wheels) that are checked before they are unpacked.

The directory of a zip archive declares the size of every member. These sizes are compared with the size of the file and
with what the caller expects. So a damaged or hostile file costs neither time nor memory: it is an error of two lines.
"""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bertedge.errors import BertEdgeError, FileError
from bertedge.files import FRESH_COPY, placeholder
from bertedge.printable import shortened

#: Deflate cannot compress by more than this factor (zlib's technical notes: 1032), apart from some bytes of overhead.
MOST_DEFLATED, OVERHEAD = 1032, 1024
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: Header of a member: the signature, skipped fields, and the lengths of its name and of its extra field.
LOCAL_HEADER = struct.Struct("<4s22xHH")
#: Largest number of members. The largest models have a few thousand tensors.
MOST_MEMBERS = 100_000
#: Bytes per read.
CHUNK = 2**20
#: First bytes of files that are often given instead of an archive.
OTHER_KINDS = {
    b"": "is empty",
    b"\x93NUMPY": "is a single array (.npy), expected an archive (.npz)",
}
#: Exceptions of :mod:`zipfile`, zlib and numpy's header parser for damaged files.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
    EOFError, NotImplementedError, RuntimeError, ValueError, SyntaxError, TypeError, OverflowError,
)  # fmt: skip


class Archive:
    """An open zip archive whose directory is valid; made by :func:`open_archive`.

    Attributes:
        sizes: name of a member -> its unpacked size in bytes.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, fail: Failure) -> None:
        self.path, self._archive, self._fail = path, archive, fail
        self.sizes = {member.filename: member.file_size for member in archive.infolist()}

    def __contains__(self, name: str) -> bool:
        return name in self.sizes

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member as a seekable file. Its checksum is compared when it is read to the end.

        Raises:
            BertEdgeError: it is missing or damaged. The class is the one given to :func:`open_archive`.
        """
        if name not in self.sizes:
            raise self._fail(f"has no {name}")
        with self._fail.on_damage(f"{name} is damaged"), self._archive.open(name) as member:
            yield member

    def read(self, name: str, *, most: int) -> bytes:
        """Read a member.

        Args:
            most: largest allowed unpacked size in bytes.

        Raises:
            BertEdgeError: it is missing, too large or damaged.
        """
        size = self.sizes.get(name, 0)
        if size > most:
            raise self._fail(f"{name} has {size} bytes, expected {most} at most")
        with self.open(name) as member:
            return read_exactly(member, size)

    def place(self, name: str) -> tuple[int, int]:
        """Find an uncompressed member in the file: its offset and its size, in bytes.

        The member's own header is read, since its length may differ from that in the directory.

        Raises:
            BertEdgeError: it is missing, compressed or damaged.
        """
        if name not in self.sizes:
            raise self._fail(f"has no {shortened(name)}")
        member, file = self._archive.getinfo(name), self._archive.fp
        if member.compress_type != zipfile.ZIP_STORED or file is None:
            raise self._fail(f"{shortened(name)} is compressed, expected it uncompressed")
        with self._fail.on_damage(f"{shortened(name)} is damaged"):
            file.seek(member.header_offset)
            magic, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            start = member.header_offset + LOCAL_HEADER.size + name_length + extra_length
            if magic != b"PK\x03\x04" or start + member.file_size > file.seek(0, os.SEEK_END):
                raise EOFError
        return start, member.file_size

    def check(self, *, most: int) -> None:
        """Read every member to its end, so that each checksum is compared. Nothing is kept in memory.

        Args:
            most: largest allowed unpacked size of all members together, in bytes.

        Raises:
            BertEdgeError: a member is damaged, or they are too large.
        """
        self._require_at_most(most)
        for name in self.sizes:
            with self.open(name) as member:
                while member.read(CHUNK):
                    pass

    def extract_all(self, folder: Path, *, most: int) -> None:
        """Unpack all members into a folder. No member can be written outside of it.

        Args:
            most: largest allowed unpacked size of all members together, in bytes.
        """
        self._require_at_most(most)
        for name in self.sizes:
            with self._fail.on_damage(f"{name} is damaged"):
                self._archive.extract(name, folder)

    def _require_at_most(self, most: int) -> None:
        total = sum(self.sizes.values())
        if total > most:
            raise self._fail(f"has {total} bytes unpacked, expected {most} at most")


@contextmanager
def open_archive(
    path: Path, *, error: type[BertEdgeError] = FileError, hint: str = FRESH_COPY, most_members: int = MOST_MEMBERS
) -> Iterator[Archive]:
    """Open a zip archive and check its directory. Nothing is unpacked.

    A compressed member may declare at most 1,032 times its bytes in the file, a stored member at most its own bytes.

    Args:
        error: class of the errors that are raised.
        hint: their second line.

    Raises:
        BertEdgeError: the file is missing, is not a zip archive or is damaged; a name occurs twice; a member is
            encrypted, has an unusual compression, or declares more bytes than it can hold.
    """
    fail, other = Failure(path, error, hint), placeholder(path)
    if other is not None:
        raise error(f"{path}: is {other[0]}, not the file itself", other[1])
    with fail.on_damage("is not a zip archive or is damaged"):
        file = open(path, "rb")  # noqa: SIM115 (the next block closes it, and some of its errors are not about this file)
    with file:
        with fail.on_damage("is not a zip archive or is damaged"):
            _check_start(file.read(32), fail)
            archive = zipfile.ZipFile(file)
            _check_directory(archive, os.fstat(file.fileno()).st_size, most_members, fail)
        yield Archive(path, archive, fail)


@dataclass(frozen=True)
class Failure:
    """Makes the errors about one file."""

    path: Path
    kind: type[BertEdgeError]
    hint: str

    def __call__(self, words: str) -> BertEdgeError:
        return self.kind(f"{self.path}: {words}", self.hint)

    @contextmanager
    def on_damage(self, words: str) -> Iterator[None]:
        """Turn exceptions of libraries about damaged files into an error of this class."""
        try:
            yield
        except BertEdgeError:
            raise
        except OSError as problem:
            raise self(f"cannot be read ({problem.strerror or problem})") from problem
        except DAMAGE as problem:
            reason = " ".join(str(problem).split())[:100] or "it ends too early"
            raise self(f"{words} ({reason})") from problem


def _check_start(head: bytes, fail: Failure) -> None:
    for magic, words in OTHER_KINDS.items():
        if head.startswith(magic) and (magic or not head):
            raise fail(words)


def _check_directory(archive: zipfile.ZipFile, size: int, most_members: int, fail: Failure) -> None:
    members = archive.infolist()
    if len(members) > most_members:
        raise fail(f"has {len(members)} members, expected {most_members} at most")
    twice = [name for name, count in Counter(member.filename for member in members).items() if count > 1]
    if twice:
        raise fail(f"has {shortened(twice[0])} twice")
    if sum(member.compress_size for member in members) > size:  # zip bombs have overlapping members
        raise fail("has members that are larger than the file")
    for member in members:
        if member.flag_bits & 1 or member.compress_type not in METHODS:
            raise fail(f"{shortened(member.filename)} is encrypted or compressed in an unusual way")
        held = member.compress_size
        most = held if member.compress_type == zipfile.ZIP_STORED else MOST_DEFLATED * held + OVERHEAD
        if member.file_size > most:
            raise fail(f"{shortened(member.filename)} has {member.file_size} bytes, more than the file can hold")


def read_exactly(member: IO[bytes], size: int) -> bytes:
    """Read all bytes of a member, so that its checksum is compared. Raises EOFError if it has another size."""
    data = member.read(size)
    if len(data) != size or member.read(1):  # reading past the end compares the checksum
        raise EOFError
    return data
