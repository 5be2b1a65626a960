"""A command that uses a head: its arguments, its options, and how its answer is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bertedge.heads.text_model import TextModel
from bertedge.texts import Pair

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
        most: called with a model: the largest number that a server takes from its clients, since memory grows with it;
            None for any.
        choices: called with a model that has the command: the names that the option takes; where there are several, one
            must be given.
        gives: the text of each row that the option gives to all rows of a file: ``text`` or ``pair``.
        of_rows: whether the option also applies to rows of a file.
    """

    name: str
    kind: type = int
    default: Any
    least: float | None = None
    most: Callable[[TextModel], int] | None = None
    choices: Callable[[TextModel], Sequence[str]] | None = None
    help: str
    gives: Literal["text", "pair"] | None = None
    of_rows: bool = True


#: What a row asks about: a text, or two that belong together.
Item = str | Pair


@dataclass(frozen=True, kw_only=True)
class RowAnswers:
    """How a command answers the rows of a file, of a table in memory, or of a request to the server.

    Attributes:
        answers: called with a :class:`bertedge.BertRuntime`, the items, and options by their names in
            :attr:`Verb.options`. It returns the answer to each item, in their order, and raises UsageError if an item
            cannot be used.
        second: whether an item has a second text.
        names: the columns that an answer fills.
        types: the types of these columns, in this order: ``float``, ``int``, ``str``, ``np.ndarray`` for float32 arrays
            of any shape, a dataclass for mappings with its fields as keys, or ``list[...]`` of these.
        columns: their values in this order.
    """

    answers: Callable[..., Sequence[Any]]
    second: Literal["never", "optional", "always"] = "never"
    names: tuple[str, ...]
    types: tuple[Any, ...]
    columns: Callable[[Any], tuple[Any, ...]]

    def values(self, answer: Any) -> Mapping[str, Any]:
        """The columns of an answer: name -> value."""
        return dict(zip(self.names, self.columns(answer), strict=True))


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A command that uses a head.

    Attributes:
        method: of :class:`bertedge.BertRuntime`; it takes arguments and options by name.
        example: arguments for the help page.
        lines: the answer for people, line by line.
        to_json: the answer for programs.
        rows: how it answers many texts.
    """

    name: str
    method: str
    help: str
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...] = ()
    example: tuple[str, ...]
    lines: Callable[[Any], Iterable[str]]
    to_json: Callable[[Any], Any] = lambda answer: answer
    rows: RowAnswers

    def parsed_example(self) -> tuple[list[str], dict[str, Any]]:
        """The example: its texts, and its options by name."""
        kinds = {option.name: option.kind for option in self.options}
        words, texts, options = iter(self.example), [], {}
        for word in words:
            if word.startswith("--"):
                name = word.removeprefix("--").replace("-", "_")
                options[name] = kinds[name](next(words))
            else:
                texts.append(word)
        return texts, options
