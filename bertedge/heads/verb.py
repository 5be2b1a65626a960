"""A command that uses a head: its arguments, its options, and how its answer is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

#: The default of an option that must be given.
REQUIRED: Any = ...


@dataclass(frozen=True, kw_only=True)
class Argument:
    """A text argument of a command.

    Attributes:
        many: one or more texts, which the method gets as a list.
        parameter: its name in the method; empty if it is the same.
    """

    name: str
    help: str
    many: bool = False
    parameter: str = ""


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of a command.

    Attributes:
        kind: the type of its value: ``int``, ``float``, ``str``, or ``bool`` for a flag.
        default: the value if it is not given. ``REQUIRED`` for an option that must be given.
        least: the smallest allowed number.
    """

    name: str
    kind: type = int
    default: Any
    least: float | None = None
    help: str


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A command that uses a head.

    Attributes:
        method: of :class:`bertedge.BertRuntime`; it takes arguments and options by name.
        example: arguments for the help page.
        lines: the answer for people, line by line.
        to_json: the answer for programs.
    """

    name: str
    method: str
    help: str
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...] = ()
    example: tuple[str, ...]
    lines: Callable[[Any], Iterable[str]]
    to_json: Callable[[Any], Any] = lambda answer: answer
