"""Read files up to a size limit, write files and folders completely or not at all, and hash them."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bertedge.errors import BertEdgeError, FileError
from bertedge.scratch import (
    lock_folder,
    make_folder,
    scratch_file,
    scratch_folder,
    settle,
    swap,
    sync_file,
    sync_folder,
)

#: Largest text file that is read into memory, in bytes. The ranges of a large model take some tens of megabytes.
LARGEST_TEXT = 2**28
FRESH_COPY = "take a fresh copy of the file"
FILE_HINT = "check the path, its permissions and the free space on the disk"
GIT_LFS = b"version https://git-lfs.github.com/"
_WEB_PAGE = ("a web page", "download the file itself; on the hub that is its 'resolve' address, not 'blob'")
#: First bytes of a placeholder, which is not the real file -> what it is, and how to get the real file.
PLACEHOLDERS = {
    GIT_LFS: ("a Git LFS pointer", "fetch the data: git lfs install && git lfs pull"),
    b"<!doctype html": _WEB_PAGE,
    b"<html": _WEB_PAGE,
}
PLACEHOLDER_BYTES = 64


def placeholder(path: Path) -> tuple[str, str] | None:
    """What a file is if it is only a placeholder, and a hint. None for real data, and if there is no file."""
    try:
        if not path.is_file():  # a pipe can be read only once
            return None
        with open(path, "rb") as file:
            start = file.read(PLACEHOLDER_BYTES).lstrip().lower()
    except OSError:
        return None
    return next((found for beginning, found in PLACEHOLDERS.items() if start.startswith(beginning)), None)


def refuse_placeholder(path: Path) -> None:
    """Refuse a placeholder instead of the real file, such as a Git LFS pointer.

    Raises:
        FileError: it is such a file.
    """
    found = placeholder(path)
    if found is not None:
        raise FileError(f"{path}: is {found[0]}, not the file itself", found[1])


def read_text(path: Path) -> str:
    """Read a text file in UTF-8.

    Raises:
        OSError: it cannot be read, or is larger than :data:`LARGEST_TEXT` (as an endless device is).
        UnicodeDecodeError: it is not UTF-8.
    """
    data = bytearray()
    with open(path, "rb") as file:
        while block := file.read(2**16):  # read() allocates the size it is asked for
            data += block
            if len(data) > LARGEST_TEXT:
                raise OSError(errno.EFBIG, f"more than {LARGEST_TEXT // 2**20} MB", str(path))
    text = data.decode("utf-8")
    return io.StringIO(text, newline=None).read() if "\r" in text else text


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8; see :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))  # a lone surrogate has no UTF-8 bytes


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file completely or not at all. A device or a pipe (``/dev/stdout``) is written directly."""
    with _file_errors(path):
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path = Path(os.path.realpath(path))  # replace the target of a link, not the link
        make_folder(path.parent)
        settle(path)
        with scratch_file(path) as temporary:
            temporary.write_bytes(data)
            sync_file(temporary)
            os.replace(temporary, path)
            sync_folder(path.parent)


def require_writable(path: Path) -> None:
    """Check before long work that a file can be written. Nothing is left behind.

    Raises:
        FileError: the path is a folder, lies below a file, or is in a folder that cannot be written.
    """
    with _file_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if path.exists() and not path.is_file():  # opening and closing a pipe would end it for its reader
            return
        folder = Path(os.path.realpath(path)).parent
        while not folder.exists():  # it will be created
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        with scratch_file(folder / path.name):
            pass


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with _file_errors(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_folder(path: Path, *, force: bool = False, marker: str | None = None) -> Iterator[Path]:
    """Yield a scratch folder that replaces ``path`` if the block ends without an error.

    After any error, ``path`` is unchanged.

    Args:
        force: replace an existing folder.
        marker: replace only a folder that contains a file of this name, so that ``--force`` never deletes a folder that
            bertedge did not write.
    """
    path = Path(os.path.abspath(path))
    with _file_errors(path):
        if path.is_symlink():
            path = Path(os.path.realpath(path))  # replace the target of the link, not the link
        settle(path)
        check_replaceable(path, force=force, marker=marker)
        make_folder(path.parent)
        with scratch_folder(path) as scratch:
            yield scratch
            check_replaceable(path, force=force, marker=marker)  # another process may have written it
            swap(scratch, path)


@contextmanager
def alone_in(folder: Path, doing: str) -> Iterator[None]:
    """Make a folder, and lock it against other processes if the system can.

    If the folder is new and empty at the end, it is removed.

    Args:
        doing: the work in the folder, for the message, such as "training".

    Raises:
        FileError: another process works there, or the folder cannot be made.
    """
    made = not folder.exists()
    with _file_errors(folder):
        try:
            handle = lock_folder(folder)
        except BlockingIOError as error:
            raise FileError(f"{folder}: another process is {doing} there", "wait for it, or stop it") from error
    try:
        yield
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()  # fails if it is not empty
        if handle is not None:
            os.close(handle)  # this ends the lock


def check_replaceable(path: Path, *, force: bool, marker: str | None) -> None:
    """Refuse to replace an existing path, unless that is allowed; see :func:`new_folder`.

    Raises:
        FileError: the path exists and must not be replaced.
    """
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() and not force:
        raise FileError(f"{path}: is already there", "choose another name, or replace it with --force")
    if path.exists() and marker and not (path / marker).is_file():
        raise FileError(f"{path}: is not something that bertedge wrote (no {marker})", "move it away by hand first")


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into a :class:`FileError` that names the file."""
    try:
        yield
    except BertEdgeError:
        raise
    except OSError as error:
        where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
        if where.parent == path.parent and where.name.startswith(f".{path.name}."):
            where = path  # users do not know the scratch name
        # numpy's error has no strerror, only the number of items that were written
        reason = error.strerror or f"could not be written to the end ({error})"
        raise FileError(f"{where}: {reason}", FILE_HINT) from error
