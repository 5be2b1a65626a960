"""stdout and stderr on a full disk or a closed pipe."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from bertedge.errors import FileError

#: As a shell reports a program that SIGPIPE ended, which is how ``ls | head -1`` ends.
PIPE_CLOSED = 141


class Stdout(io.TextIOWrapper):
    """Data: what cannot be written is an error, except where the reader has read enough and gone."""

    def write(self, text: str) -> int:
        return self._or_fail(super().write, text)

    def flush(self) -> None:
        self._or_fail(super().flush)

    def _or_fail(self, action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # what is still buffered goes nowhere, in silence
            if isinstance(error, BrokenPipeError):
                raise SystemExit(PIPE_CLOSED) from None
            raise FileError(
                f"stdout: {error.strerror}", "check the free space where the output is redirected to"
            ) from error


class Stderr(io.TextIOWrapper):
    """Notes for a person: where nobody can read them the work goes on."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def guard_streams() -> None:
    """Put the two in the place of ``sys.stdout`` and ``sys.stderr``; characters they cannot spell are escaped."""
    sys.stdout = _wrapped(Stdout, sys.stdout)
    sys.stderr = _wrapped(Stderr, sys.stderr)


def _wrapped(kind: type[io.TextIOWrapper], stream: TextIO | None) -> TextIO:
    if stream is None:  # closed (``>&-``): the next file to be opened would get its number, and what C code prints
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):  # somebody else's, for instance a test's
        return stream
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
