"""Output of all commands: data to stdout, everything else to stderr, errors in two lines."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from bertedge.errors import BertEdgeError, FileError, UnfitMachineError, UsageError
from bertedge.files import FILE_HINT
from bertedge.printable import UNPRINTABLE, one_line, printable
from bertedge.progress import Listener
from bertedge.records import finite, to_json


class _Printing(Console):
    """Shows unprintable characters, such as escape sequences in a model's name, as escapes."""

    def render_str(self, text: str, **options: Any) -> Text:
        """rich calls this for all text: lines, cells and titles of tables."""
        return super().render_str(printable(text), **options)


#: Names and texts are printed unchanged; rich would read brackets and colons as markup.
_plain = partial(_Printing, highlight=False, markup=False, emoji=False, soft_wrap=True)
stdout = _plain()
stderr = _plain(stderr=True)
_errors = _plain(stderr=True)


def note(text: str) -> None:
    """Print a line on stderr, unless ``--quiet`` is given."""
    stderr.print(text)


def complain(message: str, hint: str) -> None:
    """Print an error in two lines, also with ``--quiet``."""
    _errors.print(f"error: {message}\nhint: {hint}")


class _Log(logging.Handler):
    """Prints messages of bertedge's loggers as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        note(f"{record.name}: {self.format(record)}")


_log = _Log()


def set_volume(*, quiet: bool, verbose: bool) -> None:
    """Set what is printed on stderr.

    Args:
        quiet: errors only: no progress, notes or warnings.
        verbose: also the messages of bertedge's loggers.

    Raises:
        UsageError: both are given.
    """
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other", "leave out one of them")
    stderr.quiet = quiet
    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # progress bars of the hub's client
    logger = logging.getLogger("bertedge")
    logger.removeHandler(_log)
    logger.setLevel(logging.NOTSET)
    if verbose:
        logger.addHandler(_log)
        logger.setLevel(logging.INFO)


def print_json(value: Any) -> None:
    """Print records or plain values on one line of stdout. NaN and infinity become null, because JSON lacks them."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    text = json.dumps(finite(to_json(value)), ensure_ascii=encoding != "utf8", allow_nan=False)
    print(UNPRINTABLE.sub(lambda match: json.dumps(match[0])[1:-1], text))


@contextmanager
def progress_bar(label: str) -> Iterator[Listener]:
    """Show a progress bar on stderr. Yields a function that takes the share done (0 to 1) and a short text.

    Nothing is shown if stderr is not a terminal, or with ``--quiet``.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True, disable=stderr.quiet or not stderr.is_terminal) as bar:
        task = bar.add_task(one_line(label), total=1.0, detail="")

        def show(share: float, detail: str = "") -> None:
            bar.update(task, completed=share, detail=one_line(detail))

        yield show


@contextmanager
def short_warnings() -> Iterator[None]:
    """Print each warning in one line."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest: note(f"warning: {message}")
        yield


def report(error: Exception) -> int:
    """Print an error in two lines.

    Returns:
        The exit code.

    Raises:
        Exception: the error itself, if it is a bug in bertedge.
    """
    if isinstance(error, MemoryError):
        error = UnfitMachineError("out of memory", "use a smaller model, or a machine with more memory")
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        error = FileError(f"{where}{error.strerror or error}", FILE_HINT)
    if not isinstance(error, BertEdgeError):
        raise error
    complain(error.message, error.hint)
    return error.exit_code
