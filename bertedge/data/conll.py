"""CoNLL files: a word and its tag in each line, a blank line between texts (Tjong Kim Sang and De Meulder 2003)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bertedge.data.columns import LONGEST_ROW, Row
from bertedge.data.text_files import TextFile
from bertedge.errors import CorpusError

#: A tag that marks the beginning or the inside of an entity, or no entity.
ENTITY_TAG = re.compile(r"O|[BIESLUM]-\S+")
#: The number of a word in its text, as CoNLL-U writes it in the first column.
NUMBER = re.compile(r"\d+([-.]\d+)?")
COMMENT, DOCUMENT = "#", "-DOCSTART-"
FORM = "write a word and its tag in each line, with a tab between them, and a blank line between texts"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the lines of a file are divided.

    Attributes:
        separator: a tab; None for spaces.
        width: the number of columns.
        word, tag: index of each column.
        entities: whether all tags are those of entities.
    """

    separator: str | None
    width: int
    word: int
    tag: int
    entities: bool

    def cells(self, line: str) -> list[str]:
        """The columns of a line."""
        return _cells(line, self.separator)

    def is_comment(self, line: str) -> bool:
        """Whether a line that begins with ``#`` is a comment; ``#`` and hashtags are words too."""
        if not line.startswith(COMMENT):
            return False
        cells = self.cells(line)
        return len(cells) != self.width or (self.entities and not ENTITY_TAG.fullmatch(cells[self.tag]))


def conll_rows(file: TextFile, lines: Iterable[str]) -> Iterator[Row]:
    """The texts of a file: each column of a text as a list, under its number, from 1.

    Tags are the last column in which all values look like those of entities (``O``, ``B-place``); without one, the last
    column. Words are the first column, or the second where the first numbers them.

    Raises:
        CorpusError: a line has fewer columns than the others, or a text is too long.
    """
    layout = _layout(file)
    words: list[list[str]] = []
    begins = size = 0
    for number, line in enumerate(lines, start=1):
        blank = not line.strip() or line.startswith(DOCUMENT)
        if not blank and not layout.is_comment(line):
            begins, cells = begins or number, layout.cells(line)
            size += len(line)
            if len(cells) <= max(layout.word, layout.tag) or size > LONGEST_ROW:
                raise CorpusError(f"{file.path}: {_flaw(number, cells, layout, size)}", FORM)
            words.append(cells)
        if blank and words:
            yield _row(words, begins, layout)
            words, begins, size = [], 0, 0
    if words:
        yield _row(words, begins, layout)


def _flaw(number: int, cells: list[str], layout: Layout, size: int) -> str:
    if size > LONGEST_ROW:
        return f"the text that ends in line {number} has more than {LONGEST_ROW:,} characters"
    return f"line {number} has {len(cells)} of the {layout.width} columns that the first lines have"


def _row(lines: list[list[str]], begins: int, layout: Layout) -> Row:
    columns = {str(index + 1): [cells[index] for cells in lines] for index in range(min(map(len, lines)))}
    roles = {"tokens": str(layout.word + 1), "tags": str(layout.tag + 1)}
    return Row(line=begins, values=columns, roles=roles)


def _layout(file: TextFile) -> Layout:
    """The layout of a file, from its beginning.

    Raises:
        CorpusError: its lines have a single column.
    """
    whole = file.beginning[: file.beginning.rfind("\n") + 1] or file.beginning
    lines = [line for line in whole.split("\n") if line.strip() and not line.startswith((COMMENT, DOCUMENT))]
    separator = "\t" if any("\t" in line for line in lines) else None
    rows = [_cells(line, separator) for line in lines]
    width = min(map(len, rows), default=0)
    if width < 2:
        word = next((row for row in rows if len(row) < 2), [""])
        told = f"has a word without a tag: {''.join(word)[:40]!r}" if rows else "holds no text"
        raise CorpusError(f"{file.path}: {told}", FORM)
    columns = [[row[index] for row in rows] for index in range(width)]
    numbered = width > 2 and all(map(NUMBER.fullmatch, columns[0]))
    tagged = [index for index in range(1, width) if all(map(ENTITY_TAG.fullmatch, columns[index]))]
    return Layout(
        separator=separator,
        width=width,
        word=int(numbered),
        tag=tagged[-1] if tagged else width - 1,
        entities=bool(tagged),
    )


def _cells(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    cells = [cell.strip(" \r\n") for cell in line.split(separator)]
    while cells and not cells[-1]:  # a tab at the end of the line
        cells.pop()
    return cells
