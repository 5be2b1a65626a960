"""The texts of rows: from their columns, or given once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertedge.data.columns import Row, asked_columns, find_columns, find_other_column
from bertedge.errors import UsageError
from bertedge.heads.verb import Item, Verb
from bertedge.jobs.row_tables import Table
from bertedge.texts import described


@dataclass(frozen=True, kw_only=True)
class TextColumns:
    """Where the texts of a row are.

    Attributes:
        text, pair: the column of the first and of the second text; None if there is none.
        in_words: whether the column ``text`` holds lists of words.
    """

    text: str | None = None
    pair: str | None = None
    in_words: bool = False

    def __str__(self) -> str:
        kind = "words" if self.in_words else "text"
        parts = [f"{kind} from column {self.text!r}"] if self.text is not None else []
        parts += [f"second text from column {self.pair!r}"] if self.pair is not None else []
        return ", ".join(parts)

    def items(self, table: Table, shared: Mapping[str, str]) -> tuple[list[Item], dict[int, str]]:
        """What each row asks about, and the rows without it: index -> reason.

        Args:
            shared: ``text`` or ``pair`` -> the text of all rows.
        """
        reasons: dict[int, str] = {}
        columns: list[list[Any]] = [
            [shared[role]] * len(table) if role in shared else self._texts(table, name, reasons)
            for role, name in (("text", self.text), ("pair", self.pair))
            if role in shared or name is not None
        ]
        items: list[Any] = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        return [item for index, item in enumerate(items) if index not in reasons], reasons

    def _texts(self, table: Table, name: str | None, reasons: dict[int, str]) -> list[str]:
        assert name is not None
        texts = table.column(name)
        for index, text in enumerate(texts):
            if isinstance(text, str):
                continue
            if self.in_words and isinstance(text, list) and all(isinstance(word, str) for word in text):
                texts[index] = " ".join(text)
            else:
                reasons.setdefault(index, _reason(text, name))
        return texts


def _reason(value: Any, name: str) -> str:
    return f"has no text in column {name!r}" if value is None else f"column {name!r} holds {described(value)}"


def text_columns(
    verb: Verb, path: Path, names: Sequence[str], asked: Sequence[str], shared: Mapping[str, str]
) -> TextColumns:
    """Find the columns of the texts.

    Args:
        names: all columns.
        asked: those that the user named; see :func:`bertedge.data.columns.asked_columns`.
        shared: ``text`` or ``pair`` -> the text of all rows.

    Raises:
        UsageError: a column is missing, or there are more or fewer texts than the command reads.
        CorpusError: no column has a usual name of a text.
    """
    roles = asked_columns(asked)
    for role in roles:
        if role not in ("text", "pair", "tokens"):
            raise UsageError(f"--column {role}={roles[role]}: {verb.name} reads no {role}", "leave it out")
    row = Row(line=1, values=dict.fromkeys(names))
    if len(shared) == 2:
        raise UsageError(f"{verb.name}: both texts are given, and nothing is left for rows", "leave one of them out")
    if shared:
        if "pair" in roles:
            raise UsageError(f"{verb.name}: one text is given, so rows have one more", "give --column once")
        second = "text" in shared
        name = find_other_column(path, row, roles, second=second)
        return TextColumns(pair=name) if second else TextColumns(text=name)
    found = find_columns(path, row, roles)
    if "pair" in roles and verb.rows.second == "never":
        raise UsageError(f"{verb.name} reads one text of a row, and --column names two", "give --column once")
    if verb.rows.second == "always" and found.pair is None:
        given = [f"--{option.name} TEXT" for option in verb.options if option.gives]
        ways = " or ".join(["--column FIRST --column SECOND", *given])
        raise UsageError(f"{path}: {verb.name} reads two texts of a row, and only {found.text!r} is there", ways)
    pair = None if verb.rows.second == "never" else found.pair
    return TextColumns(text=found.text, pair=pair, in_words=found.in_words)
