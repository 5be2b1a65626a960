"""Scratch files and folders: written next to the path that they will replace, and locked until their process ends.

Scratch of ``name`` lies in the same folder. Its name has 16 random hexadecimal digits::

    .name.<hex>        is being written
    .name.<hex>.new    is complete, and will be renamed to ``name``
    .name.<hex>.old    is the earlier ``name``, and will be removed

The operating system drops a lock when its process ends, even if the process is killed. So scratch without a lock was
left by a killed process, and :func:`settle` can remove it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
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
#: Folders with more files than this are flushed to the disk by one ``sync`` of everything.
MANY_FILES = 200
#: Constants of renameat2(2): paths relative to the current folder, and the flag that exchanges two names.
AT_FDCWD, RENAME_EXCHANGE = -100, 2
#: Where temporary files go: environment variables, as Python's tempfile reads them, and then usual folders.
TEMPORARY_VARIABLES = ("TMPDIR", "TEMP", "TMP")
TEMPORARY_FOLDERS = ("/tmp", "/var/tmp", ".")


def scratch_name(path: Path) -> Path:
    """A new hidden name next to ``path``."""
    return path.parent / f".{path.name}.{os.urandom(8).hex()}"


def is_scratch(name: str, of: str) -> bool:
    """Whether ``name`` is the name of scratch for a file or folder named ``of``."""
    match = re.fullmatch(SCRATCH, name, re.DOTALL)
    return match is not None and match["of"] == of


@contextmanager
def scratch_file(path: Path) -> Iterator[Path]:
    """Make an empty, locked file next to ``path``. It is removed at the end if it still has that name."""
    scratch = scratch_name(path)
    with _locked_scratch(scratch, lambda: os.close(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))):
        yield scratch


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Make an empty, locked folder next to ``path``. It is removed at the end if it still has that name."""
    scratch = scratch_name(path)
    with _locked_scratch(scratch, scratch.mkdir):
        yield scratch


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for intermediate files that only this user can read. It is removed at the end.

    Such folders of killed processes are removed first.
    """
    place = temporary_place()
    with suppress(OSError):
        for name in sorted(entry.name for entry in os.scandir(place) if TEMPORARY.fullmatch(entry.name)):
            _remove_if_left(place / name)
    folder = place / f"bertedge-{os.urandom(8).hex()}"
    with _locked_scratch(folder, lambda: folder.mkdir(mode=0o700)):
        yield folder


def temporary_place() -> Path:
    """The folder that temporary files go to.

    This is not ``tempfile.gettempdir()``, which writes a file to find out whether a folder can be used. A signal at
    that moment leaves the file behind.
    """
    named = [os.environ[name] for name in TEMPORARY_VARIABLES if os.environ.get(name)]
    usable = (folder for folder in (*named, *TEMPORARY_FOLDERS) if os.path.isdir(folder) and os.access(folder, os.W_OK))
    return Path(os.path.abspath(next(usable, ".")))


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):  # its process lives, or it belongs to another user
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
            with suppress(FileNotFoundError, BlockingIOError):  # settle() of another process removed it before the lock
                handle = lock(scratch)
                break
        yield
    finally:
        _remove(scratch)
        if handle is not None:
            os.close(handle)


def lock(path: Path) -> int | None:
    """Lock a file or folder. Returns the open handle that holds the lock, or None if the system has no such locks.

    Raises:
        BlockingIOError: another process holds the lock.
        FileNotFoundError: the path does not exist.
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
        os.close(handle)  # another file has this name now


def lock_folder(folder: Path) -> int | None:
    """Make a folder if it does not exist, and lock it; see :func:`lock`.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    while True:
        make_folder(folder)
        with suppress(FileNotFoundError):  # the process that held the lock removed the folder
            return lock(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, if they do not exist.

    Raises:
        NotADirectoryError: one of them is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # the message "file exists" would not say what is wrong
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def settle(path: Path) -> None:
    """Remove what killed processes left next to a path. If the path is missing, complete scratch is renamed to it.

    Scratch of running processes stays. Errors are ignored: the next write reports them.
    """
    with suppress(OSError):
        names = sorted(entry.name for entry in os.scandir(path.parent) if is_scratch(entry.name, path.name))
        for name in names:
            _settle_one(path.parent / name, path)


def settle_inside(folder: Path) -> None:
    """Call :func:`settle` for every path in a folder that has scratch there."""
    with suppress(OSError):
        found = (re.fullmatch(SCRATCH, entry.name, re.DOTALL) for entry in os.scandir(folder))
        for name in sorted({match["of"] for match in found if match}):
            settle(folder / name)


def _settle_one(stray: Path, path: Path) -> None:
    with suppress(OSError):  # its process runs, or another process settles it
        handle = lock(stray)
        if handle is None:
            return
        try:
            if stray.name.endswith(OLD) and stray.with_suffix(NEW).exists():
                return  # a running process is between its two renames
            if stray.name.endswith(NEW) and not path.exists():
                os.rename(stray, path)
                sync_folder(path.parent)
            else:
                _remove(stray)
        finally:
            os.close(handle)


def discard(path: Path) -> None:
    """Remove a file or folder. It is renamed to scratch first, so no half of it stays if that fails."""
    scratch = scratch_name(path)
    with suppress(FileNotFoundError):
        os.rename(path, scratch)
    _remove(scratch)


def swap(scratch: Path, path: Path) -> None:
    """Replace ``path`` by a complete folder, which is flushed to the disk before it gets that name.

    If the system can exchange two names in one step, ``path`` exists at every moment.
    """
    sync_tree(scratch)
    if not path.exists():
        os.rename(scratch, path)
    elif not _exchange(scratch, path):
        _swap_in_turn(scratch, path)
    sync_folder(path.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step (Linux only). Returns False if that is not possible."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # another system, or an old C library
        return False
    return renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0


def _swap_in_turn(scratch: Path, path: Path) -> None:
    """Replace ``path`` by two renames. If the process dies between them, :func:`settle` does the second one."""
    new, old = scratch.with_name(scratch.name + NEW), scratch.with_name(scratch.name + OLD)
    try:
        os.rename(scratch, new)
        os.rename(path, old)
        os.rename(new, path)
    except BaseException:  # includes Ctrl-C
        if not path.exists():
            os.rename(old, path)
        raise
    finally:
        _remove(new)
        if path.exists():
            _remove(old)


def sync_tree(folder: Path) -> None:
    """Flush all files below a folder, and the folder itself, to the disk."""
    places = [(Path(place), names) for place, _, names in os.walk(folder)]
    files = [place / name for place, names in places for name in names]
    if len(files) > MANY_FILES and hasattr(os, "sync"):
        os.sync()  # single files would take minutes
        return
    for path in files:
        if path.is_file() and not path.is_symlink():
            sync_file(path)
    for place, _ in places:
        sync_folder(place)


def sync_file(path: Path) -> None:
    """Flush the content of a file to the disk."""
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # Windows flushes only writable handles
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to the disk, if the file system can."""
    with suppress(OSError):
        sync_file(path)


def _remove(path: Path) -> None:
    """Remove a file or folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
