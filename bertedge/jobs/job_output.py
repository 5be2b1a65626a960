"""Where answers go: a stream; or a file that is complete or not there, with a journal to go on after an end."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from bertedge.errors import BertEdgeError, FileError
from bertedge.files import FILE_HINT
from bertedge.jobs.journal import AGAIN, Journal, Progress, read_journal, require_same_job
from bertedge.jobs.json_text import json_bytes
from bertedge.jobs.row_tables import BadRow
from bertedge.scratch import lock, make_folder, settle, sync_folder

RESUME = "go on with the same command and --resume"
#: Errors of the system that more room cures.
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class StreamOutput:
    """Rows go to a stream. Nothing is kept, so the job cannot go on later."""

    path: Path | None = None
    partial: Path | None = None
    errors: Path | None = None
    earlier: Journal | None = None

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self, journal: Journal, header: bytes) -> None:
        self._write(header)

    def append(self, data: bytes, bad: Sequence[BadRow]) -> None:
        self._write(data)

    def commit(self, progress: Progress) -> None:
        pass

    def finish(self, complete: Callable[[Path, Path], None]) -> None:
        pass

    def _write(self, data: bytes) -> None:
        self._stream.write(data.decode("utf-8"))
        self._stream.flush()


class FileOutput:
    """Rows go to ``NAME.partial``, and bad rows to ``NAME.errors.jsonl.partial``. At the end they get their names.

    Attributes:
        path: the output.
        partial: where rows go before.
        errors: where bad rows go at the end.
        earlier: the journal of the run that is to go on; None for a new one.
    """

    def __init__(self, path: Path, handle: int | None, earlier: Journal | None, *, left: bool = True) -> None:
        self.path, self.earlier, self._handle, self._left = path, earlier, handle, left
        self.errors = beside(path, ".errors.jsonl")
        self.partial, self._bad = beside(path, ".partial"), beside(self.errors, ".partial")
        self._journal: Journal | None = None
        self._output_bytes = self._errors_bytes = 0
        self._file: Any = None
        self._errors_file: Any = None

    def begin(self, journal: Journal, header: bytes) -> None:
        """Begin the files, or cut them where the last complete row ends."""
        progress = journal.progress
        with writing(self.path):
            if self.earlier is None:
                journal_path(self.path).unlink(missing_ok=True)
            if self.earlier is None or not self._bad.exists():
                self._bad.write_bytes(b"")
            self._file, self._errors_file = self.partial.open("r+b"), self._bad.open("r+b")
            for file, length in ((self._file, progress.output_bytes), (self._errors_file, progress.errors_bytes)):
                if file.seek(0, os.SEEK_END) < length:
                    raise FileError(f"{self.path}: {file.name} is shorter than its journal says", AGAIN)
                file.truncate(length)
                file.seek(length)
            self._journal = journal
            self._output_bytes, self._errors_bytes = progress.output_bytes, progress.errors_bytes
            if self.earlier is None:
                self.append(header, ())
                self.commit(progress)

    def append(self, data: bytes, bad: Sequence[BadRow]) -> None:
        """Write rows, and those without an answer."""
        with writing(self.path):
            reasons = b"".join(json_bytes({"line": row.line, "reason": row.reason}) + b"\n" for row in bad)
            self._file.write(data)
            self._errors_file.write(reasons)
        self._output_bytes += len(data)
        self._errors_bytes += len(reasons)

    def commit(self, progress: Progress) -> None:
        """Flush everything to the disk, and note how far the job is."""
        if self._journal is None:
            return
        with writing(self.path):
            for file in (self._file, self._errors_file):
                file.flush()
                os.fsync(file.fileno())
            done = replace(progress, output_bytes=self._output_bytes, errors_bytes=self._errors_bytes)
            self._journal = replace(self._journal, progress=done)
            self._journal.write(journal_path(self.path))

    def finish(self, complete: Callable[[Path, Path], None]) -> None:
        """Give the files their names. If that is interrupted, a later run does it again.

        Args:
            complete: makes the output (second argument) of the partial file.
        """
        assert self._journal is not None
        with writing(self.path):
            self._journal = replace(self._journal, state="complete")
            self._journal.write(journal_path(self.path))
            self._close()
            complete(self.partial, self.path)
            end(self.path, self._journal)

    def leave(self) -> None:
        """End the lock. If nothing was begun, nothing stays."""
        with suppress(OSError):
            self._close()
        if self._journal is None and not self._left:
            self.partial.unlink(missing_ok=True)
        if self._handle is not None:
            os.close(self._handle)

    def _close(self) -> None:
        for file in (self._file, self._errors_file):
            if file is not None:
                file.close()


@contextmanager
def opened_output(path: Path, job: dict[str, Any], *, resume: bool, force: bool) -> Iterator[FileOutput]:
    """Open an output and lock it against other processes.

    Args:
        job: input, bundle and settings.

    Raises:
        FileError: it is there already, is written by another process, or is that of another job.
    """
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        make_folder(path.parent)
        settle(path)
        partial = beside(path, ".partial")
        left = partial.exists()
        earlier = None if force else _earlier(path, job, resume=resume, left=left)
        if earlier is not None and earlier.state == "complete" and not left:  # only the last word is missing
            earlier = end(path, earlier)
    if earlier is not None and earlier.state == "done":
        yield FileOutput(path, None, earlier)
        return
    with writing(path):
        try:
            partial.touch()
            handle = lock(partial)
        except BlockingIOError as error:
            raise FileError(f"{path}: another process is writing it", "wait for it, or stop it") from error
    output = FileOutput(path, handle, earlier, left=left)
    try:
        if earlier is not None and earlier != read_journal(journal_path(path)):
            raise FileError(f"{path}: another process was writing it", RESUME)
        if earlier is None and not force and path.exists():
            raise FileError(
                f"{path}: another process has written it", "choose another name, or replace it with --force"
            )
        yield output
    finally:
        output.leave()


def _earlier(path: Path, job: dict[str, Any], *, resume: bool, left: bool) -> Journal | None:
    """The journal of a run that is to go on, or that ended."""
    if not resume:
        if left:
            require_unlocked(path)
            raise FileError(
                f"{path}: an unfinished run has left {beside(path, '.partial').name}", f"{RESUME}, or {AGAIN}"
            )
        if path.exists():
            raise FileError(f"{path}: is already there", "choose another name, or replace it with --force")
        return None
    journal = read_journal(journal_path(path))
    if journal is not None and journal.state == "done" and not path.exists():
        return None  # somebody took the output away; a run that began anew may have left an empty partial file
    if journal is not None and (left or path.exists()):
        if left:
            require_unlocked(path)
        require_same_job(path, journal, job)
        return journal
    if path.exists():
        raise FileError(f"{path}: is there, but its journal {journal_path(path).name} is not", AGAIN)
    return None


def end(path: Path, journal: Journal) -> Journal:
    """Give the file of bad rows its name, and note that the job is done."""
    errors = beside(path, ".errors.jsonl")
    left = beside(errors, ".partial")
    if left.exists():
        os.replace(left, errors)
    if not journal.progress.bad:
        errors.unlink(missing_ok=True)
    sync_folder(path.parent)
    done = replace(journal, state="done")
    done.write(journal_path(path))
    return done


def require_unlocked(path: Path) -> None:
    """Raises FileError if another process writes an output."""
    try:
        handle = lock(beside(path, ".partial"))
    except BlockingIOError as error:
        raise FileError(f"{path}: another process is writing it", "wait for it, or stop it") from error
    if handle is not None:
        os.close(handle)


def beside(path: Path, ending: str) -> Path:
    """A file next to another one: the same name with an ending."""
    return path.with_name(path.name + ending)


def journal_path(path: Path) -> Path:
    """Where the journal of an output lies."""
    return beside(path, ".job.json")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the system become a :class:`FileError` that says how to go on."""
    try:
        yield
    except BertEdgeError:
        raise
    except OSError as error:
        hint = f"make room for it, then {RESUME}" if error.errno in FULL else FILE_HINT
        raise FileError(f"{path}: {error.strerror or error}", hint) from error
