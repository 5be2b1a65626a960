"""Scratch files and folders: written next to the path that they become, locked while their process lives.

Names next to ``name``, each with 16 random hexadecimal digits::

    .name.<hex>        being written
    .name.<hex>.new    whole, about to take the place of ``name``
    .name.<hex>.old    what was in its place before

The kernel ends a lock together with its process, however that ends. So scratch without a lock was left by a process
that was killed, and :func:`settle` may remove it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

NEW, OLD = ".new", ".old"
SCRATCH = rf"\.(?P<of>.+)\.[0-9a-f]{{16}}({NEW}|{OLD})?"
TEMPORARY = re.compile("bertedge-[0-9a-f]{16}")
#: More files than these are not written to the disk one by one.
MANY_FILES = 200
#: Of renameat2(2): the current folder as the start of relative paths, and the flag that exchanges two names.
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def scratch_name(path: Path) -> Path:
    """A hidden name that is not taken; known before anything bears it, so that Ctrl-C in between leaves nothing."""
    return path.parent / f".{path.name}.{secrets.token_hex(8)}"


def is_scratch(name: str, of: str) -> bool:
    """Whether ``name`` is the name of scratch of a file or folder named ``of``."""
    match = re.fullmatch(SCRATCH, name, re.DOTALL)
    return match is not None and match["of"] == of


@contextmanager
def scratch_file(path: Path) -> Iterator[Path]:
    """An empty, locked file next to ``path``; removed at the end unless it was moved."""
    scratch = scratch_name(path)
    with _locked_scratch(scratch, lambda: os.close(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))):
        yield scratch


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty, locked folder next to ``path``; removed at the end unless it was moved."""
    scratch = scratch_name(path)
    with _locked_scratch(scratch, scratch.mkdir):
        yield scratch


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for intermediate files, in the system's place for them, which only this user may read.

    Removed at the end; those that killed processes of this user left are removed at the start.
    """
    place = Path(tempfile.gettempdir())
    with suppress(OSError):
        for name in sorted(entry.name for entry in os.scandir(place) if TEMPORARY.fullmatch(entry.name)):
            _remove_if_left(place / name)
    folder = place / f"bertedge-{secrets.token_hex(8)}"
    with _locked_scratch(folder, lambda: folder.mkdir(mode=0o700)):
        yield folder


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):  # alive, or another user's
        handle = lock(folder)
        if handle is not None:
            _remove(folder)
            os.close(handle)


@contextmanager
def _locked_scratch(scratch: Path, make: Callable[[], None]) -> Iterator[None]:
    handle = None
    try:
        while handle is None:
            make()
            with suppress(FileNotFoundError, BlockingIOError):  # removed by a process that settles, before the lock
                handle = lock(scratch)
                break
        yield
    finally:
        _remove(scratch)
        if handle is not None:
            os.close(handle)


def lock(path: Path) -> int | None:
    """An open handle that holds the lock of a file or folder; None where the system has no such locks.

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: it is not there, or no longer.
    """
    if fcntl is None:
        return None
    while True:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                raise
            return None  # a file system without locks
        try:
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except FileNotFoundError:
            os.close(handle)
            raise
        os.close(handle)  # another file has taken the place in between


def lock_folder(folder: Path) -> int | None:
    """Make a folder if it is not there, and lock it; see :func:`lock`.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    while True:
        make_folder(folder)
        with suppress(FileNotFoundError):  # removed by the process that had it until now
            return lock(folder)


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, if it is not there.

    Raises:
        NotADirectoryError: a file is in the way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # "file exists" would be odd to read where a folder was wanted
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def settle(path: Path) -> None:
    """Clear what killed processes left next to a path; what they had finished takes its place if that is empty.

    Scratch of living processes stays. Errors are ignored: whoever writes there next will see them.
    """
    with suppress(OSError):
        names = sorted(entry.name for entry in os.scandir(path.parent) if is_scratch(entry.name, path.name))
        for name in names:
            _settle_one(path.parent / name, path)


def settle_inside(folder: Path) -> None:
    """:func:`settle` for everything that scratch in a folder belongs to."""
    with suppress(OSError):
        found = (re.fullmatch(SCRATCH, entry.name, re.DOTALL) for entry in os.scandir(folder))
        for name in sorted({match["of"] for match in found if match}):
            settle(folder / name)


def _settle_one(stray: Path, path: Path) -> None:
    with suppress(OSError):  # alive, or settled by another process
        handle = lock(stray)
        if handle is None:
            return
        try:
            if stray.name.endswith(OLD) and stray.with_suffix(NEW).exists():
                return  # a living process is between its two renames
            if stray.name.endswith(NEW) and not path.exists():
                os.rename(stray, path)
                sync_folder(path.parent)
            else:
                _remove(stray)
        finally:
            os.close(handle)


def discard(path: Path) -> None:
    """Remove a file or a folder at once: half removed, it is scratch already."""
    scratch = scratch_name(path)
    with suppress(FileNotFoundError):
        os.rename(path, scratch)
    _remove(scratch)


def swap(scratch: Path, path: Path) -> None:
    """Put a whole folder in the place of ``path``, for good: it is on the disk before its name is.

    Where the system can exchange two names at once, ``path`` is there at every moment.
    """
    sync_tree(scratch)
    if not path.exists():
        os.rename(scratch, path)
    elif not _exchange(scratch, path):
        _swap_in_turn(scratch, path)
    sync_folder(path.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names at once (Linux); False where that is not possible."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # another system, or an old C library
        return False
    return renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0


def _swap_in_turn(scratch: Path, path: Path) -> None:
    """Two renames. Where the process dies between them, :func:`settle` finds what is whole by its name."""
    new, old = scratch.with_name(scratch.name + NEW), scratch.with_name(scratch.name + OLD)
    try:
        os.rename(scratch, new)
        os.rename(path, old)
        os.rename(new, path)
    except BaseException:  # Ctrl-C between them included
        if not path.exists():
            os.rename(old, path)
        raise
    finally:
        _remove(new)
        if path.exists():
            _remove(old)


def sync_tree(folder: Path) -> None:
    """Have all files below a folder, and the folder, on the disk."""
    places = [(Path(place), names) for place, _, names in os.walk(folder)]
    files = [place / name for place, names in places for name in names]
    if len(files) > MANY_FILES and hasattr(os, "sync"):
        os.sync()  # one by one they would take minutes
        return
    for path in files:
        if path.is_file() and not path.is_symlink():
            sync_file(path)
    for place, _ in places:
        sync_folder(place)


def sync_file(path: Path) -> None:
    """Have the content of a file on the disk."""
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # Windows flushes what may be written only
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk, where the file system can do that."""
    with suppress(OSError):
        sync_file(path)


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
