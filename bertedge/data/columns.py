"""Which columns of a table hold texts, and which hold answers: by usual names, or as the user names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertedge.errors import CorpusError, UsageError, nearest

#: The most characters of a row.
LONGEST_ROW = 2**24
#: Usual names of the columns of two texts that belong together.
PAIRS = (
    ("text", "pair"),
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "context"),
    ("query", "passage"),
    ("query", "document"),
    ("question", "sentence"),
    ("premise", "hypothesis"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
#: Usual names of a column with a single text; of several columns, the one whose name comes first here.
SINGLE = ("text", "sentence", "sentence1", "question", "question1", "query", "document", "passage")
#: What a column holds -> usual names of the column.
ANSWERS: dict[str, tuple[str, ...]] = {
    "label": ("label", "category", "intent", "class", "target"),
    "labels": ("labels", "categories", "classes"),
    "score": ("score", "similarity", "rating"),
    "tags": ("tags", "ner_tags", "ner", "labels"),
    "spans": ("spans", "entities"),
    "answers": ("answers", "answer"),
}
TOKENS = ("tokens", "words")
#: What ``--column ROLE=NAME`` can name.
ROLES = ("text", "pair", "tokens", *ANSWERS)
EXAMPLE = "for instance --column body, or --column body --column label=topic"
#: The most columns, and characters of a column's name, in a message.
SHOWN, SHOWN_CHARACTERS = 8, 40


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a file.

    Attributes:
        line: where it begins, from 1.
        values: column -> value, in the order of the file.
        roles: what a column holds, a name in :data:`ROLES` -> the column, where the format of the file decides that.
    """

    line: int
    values: Mapping[str, Any]
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a table by what they hold.

    Attributes:
        text: the column of the text, or of its words.
        pair: the column of the second text; None if texts are single.
        in_words: whether ``text`` holds a list of words.
        answers: what a column holds, a name in :data:`ANSWERS` -> the column.
    """

    text: str
    pair: str | None = None
    in_words: bool = False
    answers: Mapping[str, str] = field(default_factory=dict)

    @property
    def named(self) -> set[str | None]:
        """All of these columns."""
        return {self.text, self.pair, *self.answers.values()}

    def __str__(self) -> str:
        words = [f"{'words' if self.in_words else 'text'} from column {self.text!r}"]
        words += [f"second text from column {self.pair!r}"] if self.pair else []
        return ", ".join([*words, *(f"{role} from column {name!r}" for role, name in self.answers.items())])


def asked_columns(columns: Sequence[str]) -> dict[str, str]:
    """The columns that a user names: what a column holds -> its name.

    Args:
        columns: ``NAME`` for a column of texts, twice for pairs; or ``ROLE=NAME``, such as ``label=topic``.

    Raises:
        UsageError: more than two columns of texts, or the same role twice.
    """
    asked: dict[str, str] = {}
    for column in columns:
        role, equals, name = column.partition("=")
        if not (equals and role in ROLES):
            role, name = "pair" if "text" in asked else "text", column
        if not name.strip() or role in asked:
            raise UsageError(
                f"--column {column}: {'is empty' if not name.strip() else f'there is another {role} already'}", EXAMPLE
            )
        asked[role] = name
    return asked


def find_columns(path: Path, row: Row, asked: Mapping[str, str]) -> Columns:
    """The columns of a row.

    Args:
        asked: see :func:`asked_columns`.

    Raises:
        UsageError: a column that the user named is missing.
        CorpusError: no column has a usual name of a text.
    """
    names = {name.strip().lower(): name for name in reversed([*row.values])}
    given = {**row.roles, **{role: _named(path, name, names) for role, name in asked.items()}}
    answers = {role: given[role] if role in given else _first(names, usual) for role, usual in ANSWERS.items()}
    known = {role: name for role, name in answers.items() if name is not None}
    words = given.get("tokens") or (None if "text" in given else _first(names, TOKENS))
    if known.get("labels") == known.get("tags"):  # a usual name of both
        known.pop("tags" if words is None else "labels", None)
    if words is not None:
        return Columns(text=words, in_words=True, answers=known)
    text, pair = given.get("text"), given.get("pair")
    if text is None:
        text, pair = _usual(names, pair)
    if text is None:
        raise CorpusError(
            f"{path}: line {row.line} has no column 'text'; it has {_shown(row.values)}",
            f"name the column that holds the text 'text', or give --column NAME where a command has it ({EXAMPLE})",
        )
    return Columns(
        text=text,
        pair=pair,
        answers={role: name for role, name in known.items() if name != text and (role in given or name != pair)},
    )


def find_other_column(path: Path, row: Row, asked: Mapping[str, str], *, second: bool) -> str:
    """The column of the one text of a row, where the other text of a pair is the same for all rows.

    Args:
        asked: see :func:`asked_columns`.
        second: whether it is the second text of the pair.

    Raises:
        UsageError: a column that the user named is missing.
        CorpusError: no column has a usual name.
    """
    names = {name.strip().lower(): name for name in reversed([*row.values])}
    if (name := asked.get("text")) is not None:
        return _named(path, name, names)
    usual = [*(pair for _, pair in PAIRS), *SINGLE] if second else SINGLE
    found = _first(names, usual)
    if found is None:
        raise CorpusError(f"{path}: has no column {usual[0]!r}; it has {_shown(row.values)}", "name it: --column NAME")
    return found


def is_text_column(name: str) -> bool:
    """Whether a column's name is a usual one for texts."""
    return name.strip().lower() in SINGLE


def _usual(names: Mapping[str, str], pair: str | None) -> tuple[str | None, str | None]:
    """The columns of a text and its second text by their usual names."""
    if pair is None:
        for one, other in PAIRS:
            if one in names and other in names:
                return names[one], names[other]
    return next((names[name] for name in SINGLE if name in names and names[name] != pair), None), pair


def _first(names: Mapping[str, str], usual: Sequence[str]) -> str | None:
    return next((names[name] for name in usual if name in names), None)


def _named(path: Path, name: str, names: Mapping[str, str]) -> str:
    if name in names.values():
        return name
    if (found := names.get(name.strip().lower())) is None:
        raise UsageError(f"--column {name}: {path} has no such column", nearest(name, names.values()))
    return found


def _shown(values: Mapping[str, Any]) -> str:
    """The names of the columns, for a message."""
    names = [*values]
    shown = ", ".join(repr(name[:SHOWN_CHARACTERS]) for name in names[:SHOWN])
    return (shown + (", ..." if len(names) > SHOWN else "")) or "no column"
