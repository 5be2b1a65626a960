"""What the commands share: data to stdout, everything else to stderr, errors in two lines."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bertedge.errors import BertEdgeError, FileError, UnfitMachineError
from bertedge.progress import Listener
from bertedge.records import FILE_HINT

#: Where nobody watches (a log, a pipe), tables need not fit a terminal.
LOG_WIDTH = 140
stdout = Console(highlight=False, soft_wrap=True, width=None if sys.stdout and sys.stdout.isatty() else LOG_WIDTH)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """A line for the person, not for the pipe."""
    stderr.print(text, markup=False)


@contextmanager
def progress_bar(label: str) -> Iterator[Listener]:
    """A bar on stderr that is fed with the share done (0..1) and a short text; silent where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(label, total=1.0, detail="")

        def show(share: float, detail: str = "") -> None:
            bar.update(task, completed=share, detail=detail)

        yield show


@contextmanager
def short_warnings() -> Iterator[None]:
    """Turn warnings into one line each."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest: note(f"warning: {message}")
        yield


def report(error: Exception) -> int:
    """Print an error in two lines.

    Returns:
        The exit code.

    Raises:
        Exception: the error itself, where it is nobody's mistake but ours.
    """
    if isinstance(error, MemoryError):
        error = UnfitMachineError("out of memory", "take a smaller model, or a machine with more of it")
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        error = FileError(f"{where}{error.strerror or error}", FILE_HINT)
    if not isinstance(error, BertEdgeError):
        raise error
    note(f"error: {error.message}\nhint: {error.hint}")
    return error.exit_code
