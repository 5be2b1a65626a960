"""Errors that a user can act on.

Every error has a ``message`` (what is wrong, and what is expected) and a ``hint`` (what to do). The command line
prints these two lines and exits with ``exit_code``. Library users catch :class:`BertEdgeError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bertedge.printable import one_line


class BertEdgeError(Exception):
    """Base class of all errors that bertedge raises. They can be pickled, so worker processes can send them.

    Message and hint are one line each. Unprintable characters in them are shown as escapes.
    """

    exit_code = 3

    def __init__(self, message: str, hint: str) -> None:
        self.message, self.hint = one_line(message), one_line(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.message, self.hint), self.__dict__


def _rebuilt(kind: type[BertEdgeError], message: str, hint: str) -> BertEdgeError:
    """Rebuild an error when it is unpickled. Python would call its class with one argument, which may be wrong."""
    error = kind.__new__(kind)
    BertEdgeError.__init__(error, message, hint)
    return error


class CheckFailed(BertEdgeError):
    """A check failed: a regression, or golden vectors that do not match (exit code 1)."""

    exit_code = 1


class UsageError(BertEdgeError, ValueError):
    """An argument or an input text is not valid (exit code 2)."""

    exit_code = 2


class FileError(BertEdgeError):
    """A file or folder is missing, cannot be read or written, or exists already."""


class CheckpointError(BertEdgeError):
    """A checkpoint whose tensors or configuration are not those of a supported model."""


class BundleError(BertEdgeError):
    """A bundle is incomplete, was altered, or has a schema that this version does not read."""


class CorpusError(BertEdgeError):
    """A text corpus cannot be read, or contains no usable text."""


class UnfitMachineError(BertEdgeError):
    """This machine, or a library on it, cannot run the command."""


class TrainingError(BertEdgeError):
    """Training cannot continue, for example because the loss is not finite."""


class MissingExtraError(BertEdgeError, ImportError):
    """A package that not every use of bertedge needs is not installed.

    Args:
        extra: the extra of bertedge that brings it; None if it is not part of one.
    """

    def __init__(self, package: str, extra: str | None = None) -> None:
        super().__init__(
            f"the package {package!r} is needed and is not installed",
            f"install bertedge with [{extra}]; in its folder: pip install '.[{extra}]'"
            if extra
            else f"pip install {package}",
        )


class TargetWarning(UserWarning):
    """A bundle is correct on this CPU, but another target would be faster."""


class ShortTextWarning(UserWarning):
    """A text has fewer examples than requested."""


class TextWarning(UserWarning):
    """A warning about some of several texts.

    Args:
        count: how many.
    """

    def __init__(self, message: str = "", count: int = 1) -> None:
        super().__init__(message)
        self.count = count


class TruncationWarning(TextWarning):
    """A text was longer than the model can read, so its end was cut off."""


class UnknownTextWarning(TextWarning):
    """The vocabulary has no word of a text, so the answer does not depend on what the text says."""


def nearest(word: object, known: Iterable[str]) -> str:
    """A hint that lists the known names and suggests a similar one if there is one."""
    names = sorted(known)
    if not names:
        return "leave it out: there is nothing to choose from"
    from difflib import get_close_matches  # only errors need it, and it takes half a megabyte

    close = get_close_matches(str(word), names, n=1)
    listed = "one of: " + ", ".join(names)
    return f"did you mean {close[0]!r}? ({listed})" if close else listed
