"""Zip archives (``.npz``, ``pytorch_model.bin``, wheels), checked before anything in them is unpacked.

A zip archive says how large its members are before it is unpacked. That is compared with what the file can hold and
with what the caller expects, so a damaged or hostile file is an error of two lines that costs neither time nor memory.
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

#: Deflate cannot shrink anything further than this (zlib's technical notes say 1032), some bytes of overhead aside.
MOST_DEFLATED, OVERHEAD = 1032, 1024
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What stands before a member's name: four letters, ..., the lengths of its name and of what follows it.
LOCAL_HEADER = struct.Struct("<4s22xHH")
#: Members of an archive; the largest models have a few thousand tensors.
MOST_MEMBERS = 100_000
#: Bytes that are read at once.
CHUNK = 2**20
#: First bytes of files that are often given in the place of an archive.
OTHER_KINDS = {
    b"": "is empty",
    b"\x93NUMPY": "is a single array (.npy), expected an archive (.npz)",
}
#: What :mod:`zipfile`, zlib and numpy's header parser raise for damaged files.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
    EOFError, NotImplementedError, RuntimeError, ValueError, SyntaxError, TypeError, OverflowError,
)  # fmt: skip


class Archive:
    """An open zip archive with a sound directory; made by :func:`open_archive`.

    Attributes:
        sizes: member's name -> bytes when unpacked.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, fail: Failure) -> None:
        self.path, self._archive, self._fail = path, archive, fail
        self.sizes = {member.filename: member.file_size for member in archive.infolist()}

    def __contains__(self, name: str) -> bool:
        return name in self.sizes

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A member as a seekable file; the checksum is compared when it was read to its end.

        Raises:
            BertEdgeError: it is not there, or damaged; of the kind given to :func:`open_archive`.
        """
        if name not in self.sizes:
            raise self._fail(f"has no {name}")
        with self._fail.on_damage(f"{name} is damaged"), self._archive.open(name) as member:
            yield member

    def read(self, name: str, *, most: int) -> bytes:
        """The bytes of a member.

        Args:
            most: bytes that it may have when unpacked.

        Raises:
            BertEdgeError: it is not there, larger, or damaged.
        """
        size = self.sizes.get(name, 0)
        if size > most:
            raise self._fail(f"{name} has {size} bytes, expected {most} at most")
        with self.open(name) as member:
            return read_exactly(member, size)

    def place(self, name: str) -> tuple[int, int]:
        """Where a member that is not compressed lies in the file: the bytes before it, and its own.

        Its own header, which may be longer than the directory says, tells where its bytes start.

        Raises:
            BertEdgeError: it is not there, compressed or damaged.
        """
        if name not in self.sizes:
            raise self._fail(f"has no {shortened(name)}")
        member, file = self._archive.getinfo(name), self._archive.fp
        if member.compress_type != zipfile.ZIP_STORED or file is None:
            raise self._fail(f"{shortened(name)} is compressed, expected it as it is")
        with self._fail.on_damage(f"{shortened(name)} is damaged"):
            file.seek(member.header_offset)
            magic, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            start = member.header_offset + LOCAL_HEADER.size + name_length + extra_length
            if magic != b"PK\x03\x04" or start + member.file_size > file.seek(0, os.SEEK_END):
                raise EOFError
        return start, member.file_size

    def check(self, *, most: int) -> None:
        """Read every member to its end, so that each checksum is compared; nothing is kept.

        Args:
            most: bytes that all of them may have together.

        Raises:
            BertEdgeError: one is damaged, or they are larger.
        """
        self._require_at_most(most)
        for name in self.sizes:
            with self.open(name) as member:
                while member.read(CHUNK):
                    pass

    def extract_all(self, folder: Path, *, most: int) -> None:
        """Unpack all members into a folder, where no name can lead out of it.

        Args:
            most: bytes that all of them may have together.
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
    """Open a zip archive and check its directory; nothing is unpacked.

    No member can take more memory than 1,032 times its part of the file, or, where it is stored as it is, than that.

    Args:
        error: the kind of error to raise.
        hint: its second line.

    Raises:
        BertEdgeError: the file is missing, no zip archive or damaged; a name is there twice; a member is encrypted, of
            an unusual compression, or said to be larger than its bytes can hold.
    """
    fail, other = Failure(path, error, hint), placeholder(path)
    if other is not None:
        raise error(f"{path}: is {other[0]}, not the file itself", other[1])
    with fail.on_damage("is not a zip archive or is damaged"):
        file = open(path, "rb")  # noqa: SIM115 (the block below closes it, whose errors are not all about this file)
    with file:
        with fail.on_damage("is not a zip archive or is damaged"):
            _check_start(file.read(32), fail)
            archive = zipfile.ZipFile(file)
            _check_directory(archive, os.fstat(file.fileno()).st_size, most_members, fail)
        yield Archive(path, archive, fail)


@dataclass(frozen=True)
class Failure:
    """Makes the errors of one file."""

    path: Path
    kind: type[BertEdgeError]
    hint: str

    def __call__(self, words: str) -> BertEdgeError:
        return self.kind(f"{self.path}: {words}", self.hint)

    @contextmanager
    def on_damage(self, words: str) -> Iterator[None]:
        """Turn what libraries raise for damaged files into an error of this kind."""
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
    if sum(member.compress_size for member in members) > size:  # members that overlap are how zip bombs are made
        raise fail("has members that are larger than the file")
    for member in members:
        if member.flag_bits & 1 or member.compress_type not in METHODS:
            raise fail(f"{shortened(member.filename)} is encrypted or compressed in an unusual way")
        held = member.compress_size
        most = held if member.compress_type == zipfile.ZIP_STORED else MOST_DEFLATED * held + OVERHEAD
        if member.file_size > most:
            raise fail(f"{shortened(member.filename)} has {member.file_size} bytes, more than the file can hold")


def read_exactly(member: IO[bytes], size: int) -> bytes:
    """All the bytes of a member, so that its checksum is compared; EOFError where there are more or fewer."""
    data = member.read(size)
    if len(data) != size or member.read(1):  # the last read compares the checksum
        raise EOFError
    return data
