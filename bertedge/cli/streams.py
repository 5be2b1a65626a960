"""stdout and stderr on a full disk or a closed pipe."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from bertedge.errors import FileError

#: Exit code of a program that SIGPIPE ended, such as ``ls`` in ``ls | head -1``.
PIPE_CLOSED = 141


class Stdout(io.TextIOWrapper):
    """stdout. A failed write is an error, except after the reader closed the pipe."""

    def write(self, text: str) -> int:
        return self._or_fail(super().write, text)

    def flush(self) -> None:
        self._or_fail(super().flush)

    def _or_fail(self, action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # drops the rest of the buffer
            if isinstance(error, BrokenPipeError):
                raise SystemExit(PIPE_CLOSED) from None
            raise FileError(
                f"stdout: {error.strerror}", "check the free space of the disk that stdout is redirected to"
            ) from error


class Stderr(io.TextIOWrapper):
    """stderr. Text that cannot be written is dropped, and the command continues."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def guard_streams() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr``. Characters that their encoding lacks are escaped."""
    sys.stdout = _wrapped(Stdout, sys.stdout)
    sys.stderr = _wrapped(Stderr, sys.stderr)


def _wrapped(kind: type[io.TextIOWrapper], stream: TextIO | None) -> TextIO:
    if stream is None:  # closed (``>&-``): the next opened file would get its descriptor, and then the output of C code
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):  # replaced, for instance by a test
        return stream
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
