"""Files and folders that are read with bounds, and written whole or not at all; hashes."""

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

#: Bytes of a text that is read at once; the largest are the ranges of a large model, with some tens of megabytes.
LARGEST_TEXT = 2**28
FRESH_COPY = "take a fresh copy of the file"
FILE_HINT = "check the path, its permissions and the free space on the disk"
GIT_LFS = b"version https://git-lfs.github.com/"
_WEB_PAGE = ("a web page", "download the file itself; on the hub that is its 'resolve' address, not 'blob'")
#: How a file starts that is in the place of the data -> what it is, and how to get the data.
PLACEHOLDERS = {
    GIT_LFS: ("a Git LFS pointer", "fetch the data: git lfs install && git lfs pull"),
    b"<!doctype html": _WEB_PAGE,
    b"<html": _WEB_PAGE,
}
PLACEHOLDER_BYTES = 64


def placeholder(path: Path) -> tuple[str, str] | None:
    """What a file is if it only stands in the place of the data, and a hint; None for data, and for no file."""
    try:
        if not path.is_file():  # a pipe can be read once only
            return None
        with open(path, "rb") as file:
            start = file.read(PLACEHOLDER_BYTES).lstrip().lower()
    except OSError:
        return None
    return next((found for beginning, found in PLACEHOLDERS.items() if start.startswith(beginning)), None)


def refuse_placeholder(path: Path) -> None:
    """Refuse a file that was not downloaded whole, such as a Git LFS pointer.

    Raises:
        FileError: it is one.
    """
    found = placeholder(path)
    if found is not None:
        raise FileError(f"{path}: is {found[0]}, not the file itself", found[1])


def read_text(path: Path) -> str:
    """The text of a file of ordinary size, in UTF-8.

    Raises:
        OSError: it cannot be read, or is larger than :data:`LARGEST_TEXT`, as devices are that never end.
        UnicodeDecodeError: it is not UTF-8.
    """
    data = bytearray()
    with open(path, "rb") as file:
        while block := file.read(2**16):  # a larger number is allocated before it is read
            data += block
            if len(data) > LARGEST_TEXT:
                raise OSError(errno.EFBIG, f"more than {LARGEST_TEXT // 2**20} MB", str(path))
    return io.StringIO(data.decode("utf-8"), newline=None).read()


def write_text(path: Path, text: str) -> None:
    """:func:`write_bytes` for text, as UTF-8."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))  # half a surrogate has no bytes


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; a device or a pipe (``/dev/stdout``) is written to as it is."""
    with _file_errors(path):
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path = Path(os.path.realpath(path))  # what a link points to, not the link
        _make_parent(path)
        settle(path)
        with scratch_file(path) as temporary:
            temporary.write_bytes(data)
            sync_file(temporary)
            os.replace(temporary, path)
            sync_folder(path.parent)


def require_writable(path: Path) -> None:
    """Find out, before long work, whether a file can be written; leaves nothing behind.

    Raises:
        FileError: the path is a folder or lies below a file, or its folder cannot be written to.
    """
    with _file_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if path.exists() and not path.is_file():  # opening a pipe to try it would end it for its reader
            return
        folder = Path(os.path.realpath(path)).parent
        while not folder.exists():  # it will be made
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
    """Yield a scratch folder beside ``path`` that takes its place when the block ends well.

    Whatever goes wrong, ``path`` is either what it was before or complete.

    Args:
        force: replace a folder that is there.
        marker: only replace a folder that holds a file of this name, so that ``--force`` never deletes a stranger's
            folder.
    """
    path = Path(os.path.abspath(path))
    with _file_errors(path):
        if path.is_symlink():
            path = Path(os.path.realpath(path))  # what it points to is replaced, not the link
        settle(path)
        check_replaceable(path, force=force, marker=marker)
        _make_parent(path)
        with scratch_folder(path) as scratch:
            yield scratch
            check_replaceable(path, force=force, marker=marker)  # somebody may have been faster
            swap(scratch, path)


@contextmanager
def alone_in(folder: Path, doing: str) -> Iterator[None]:
    """Make a folder, and keep other processes from working in it meanwhile, where the system can.

    A folder that was made here and is empty at the end is removed.

    Args:
        doing: what they would do there, for the message: "training".

    Raises:
        FileError: another one does, or it cannot be made.
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
                folder.rmdir()  # fails where something is in it
        if handle is not None:
            os.close(handle)  # which ends the lock


def check_replaceable(path: Path, *, force: bool, marker: str | None) -> None:
    """Refuse to write where something is, unless it may be replaced; see :func:`new_folder`.

    Raises:
        FileError: it may not.
    """
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() and not force:
        raise FileError(f"{path}: is already there", "choose another name, or replace it with --force")
    if path.exists() and marker and not (path / marker).is_file():
        raise FileError(f"{path}: is not something that bertedge wrote (no {marker})", "move it away by hand first")


def _make_parent(path: Path) -> None:
    make_folder(path.parent)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into a :class:`FileError` that names the file."""
    try:
        yield
    except BertEdgeError:
        raise
    except OSError as error:
        where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
        if where.parent == path.parent and where.name.startswith(f".{path.name}."):
            where = path  # users know nothing of the scratch name
        # numpy says only how many items of an array are on the disk
        reason = error.strerror or f"could not be written to the end ({error})"
        raise FileError(f"{where}: {reason}", FILE_HINT) from error
