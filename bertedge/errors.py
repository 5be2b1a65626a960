"""Errors that a user can act on.

Every error carries a ``message`` (what was wrong with which value, and what was expected) and a ``hint`` (the way out).
The command line prints these two lines and leaves with ``exit_code``; a library user catches :class:`BertEdgeError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from bertedge.printable import one_line


class BertEdgeError(Exception):
    """Base of every error that bertedge raises on purpose. It can be pickled, so it arrives from a worker process.

    Message and hint are a line each, with escapes for what cannot be printed, whatever a file made them quote.
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
    """An unpickled error, whatever arguments its class takes: Python would call the class with one argument."""
    error = kind.__new__(kind)
    BertEdgeError.__init__(error, message, hint)
    return error


class CheckFailed(BertEdgeError):
    """A comparison came out wrong: a regression, or golden vectors that no longer match (exit code 1)."""

    exit_code = 1


class UsageError(BertEdgeError, ValueError):
    """An argument or an input text that cannot be used as it is (exit code 2)."""

    exit_code = 2


class FileError(BertEdgeError):
    """A file or folder that is missing, unreadable, unwritable or already there."""


class CheckpointError(BertEdgeError):
    """A checkpoint whose tensors or configuration are not those of a supported model."""


class BundleError(BertEdgeError):
    """A bundle that is incomplete, altered, or of a schema that this version does not read."""


class CorpusError(BertEdgeError):
    """A text corpus that holds nothing to work on."""


class UnfitMachineError(BertEdgeError):
    """This machine, or a library on it, cannot run what was asked."""


class TrainingError(BertEdgeError):
    """Training cannot go on, for instance because the loss is no longer finite."""


class MissingExtraError(BertEdgeError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r} is needed here and is not installed",
            f"install bertedge with [{extra}]; in its folder: pip install '.[{extra}]'",
        )


class TargetWarning(UserWarning):
    """A bundle is right on this CPU, but made for one that can do less."""


class ShortTextWarning(UserWarning):
    """A text gives fewer examples than were asked for."""


class TruncationWarning(UserWarning):
    """A text was longer than the model can read, and a part of it was cut off."""


class UnknownTextWarning(UserWarning):
    """A text consists of words that the model does not know, so its answer says nothing about the text."""


class LeftOutWarning(UserWarning):
    """A model does more with its vectors than the bundle can, so they are not the model's own."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that lists what is known, and the nearest name first where one is near."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    listed = "one of: " + ", ".join(names)
    return f"did you mean {close[0]!r}? ({listed})" if close else listed
