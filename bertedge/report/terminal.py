"""Tables for a terminal of any width: in a narrow terminal, columns are left out or stacked. Numbers are never cut."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from bertedge.printable import one_line, printable

#: Rows of cells; the first row is the header.
Rows = list[list[str]]
NOT_MEASURED = "not measured"
#: Columns of names. They can be wrapped, like columns of words.
NAMES = ("model", "metric", "verdict", "candidate", "target", "CPU", "batch x tokens")
#: The start of a cell in a column of numbers.
NUMBER = re.compile(rf"[-+<]?(\d|nan|inf)|-?$|{NOT_MEASURED}$")
#: The parts of a long name, each with the separator after it.
JOINTS = re.compile(r"[^._/]*[._/]+|[^._/]+")
#: The usual least width of a column of words, the least width in a narrow terminal, and the gap between columns.
READABLE, FOLDED, SPACE = 28, 14, 2


def terminal_table(title: str, shapes: Sequence[Rows], *, width: int) -> RenderableType:
    """The first shape of a table that fits. If none fits, each row of the last shape becomes a block of lines.

    Args:
        shapes: the same table, each time with fewer columns.
        width: characters of the terminal.
    """
    title = "\n".join(_wrapped(printable(title), width, ""))
    shapes = [[[one_line(cell) for cell in row] for row in rows] for rows in shapes]
    for rows, least in (*((rows, READABLE) for rows in shapes), (shapes[-1], FOLDED)):
        widths = least_widths(rows, least)
        if sum(widths) + SPACE * (len(widths) - 1) <= width:
            return _table(title, rows, _spread(widths, rows, width))
    return Group(Text(title, style="bold"), *(Text(line) for line in _blocks(shapes[-1], width)), Text())


def without(rows: Rows, *columns: str) -> Rows:
    """The table without some columns."""
    kept = [index for index, name in enumerate(rows[0]) if name not in columns]
    return [[row[index] for index in kept] for row in rows]


def least_widths(rows: Rows, least: int) -> list[int]:
    """The least width of each column. Headers may break between words; numbers may not break.

    Args:
        least: no column of words needs more than this width.
    """
    widths = []
    for column in range(len(rows[0])):
        head, *cells = (row[column] for row in rows)
        longest = max(map(len, cells), default=0)
        if _is_text(rows, column):
            longest = min(longest, least)
        widths.append(max(longest, *map(len, head.split() or [""])))
    return widths


def _is_text(rows: Rows, column: int) -> bool:
    head, *cells = (row[column] for row in rows)
    return column == 0 or head in NAMES or not all(map(NUMBER.match, cells))


def _spread(least: list[int], rows: Rows, width: int) -> list[int]:
    """The width of each column: its least width, and a share of the free space where it is needed most."""
    widths = list(least)
    wanted = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for _ in range(width - sum(widths) - SPACE * (len(widths) - 1)):
        lacking = [want - have for want, have in zip(wanted, widths, strict=True)]
        if max(lacking) <= 0:
            break
        widths[lacking.index(max(lacking))] += 1
    return widths


def _table(title: str, rows: Rows, widths: Sequence[int]) -> Table:
    table = Table(
        title=title or None, title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD,
        show_edge=False, pad_edge=False, padding=(0, SPACE - 1, 0, 0),
    )  # fmt: skip
    for column, (head, wide) in enumerate(zip(rows[0], widths, strict=True)):
        justify: JustifyMethod = "left" if _is_text(rows, column) else "right"
        table.add_column(head, justify=justify, overflow="fold", width=wide)
    for before, row in pairwise(rows):
        again = before[0] == row[0] and len(row) > 1  # a name that repeats is written once
        cells = ["" if again else row[0], *row[1:]]
        table.add_row(*(broken_at_joints(cell, wide) for cell, wide in zip(cells, widths, strict=True)))
    return table


def broken_at_joints(text: str, width: int) -> str:
    """A text in which long words may break after ``.``, ``_`` or ``/``."""
    words = []
    for word in text.split(" "):
        lines = [""]
        for part in JOINTS.findall(word) if len(word) > width else [word]:
            if lines[-1] and len(lines[-1]) + len(part) > width:
                lines.append("")
            lines[-1] += part
        words.append("\n".join(lines))
    return " ".join(words)


def _blocks(rows: Rows, width: int) -> Iterator[str]:
    """Each row as a block: its names in the first line, then a line for each remaining cell.

    If only one column remains, its label is printed once, above the blocks.
    """
    head = rows[0]
    names = [index for index, column in enumerate(head) if index == 0 or column in NAMES]
    others = [index for index in range(len(head)) if index not in names]
    indent = 2 + max((len(head[index]) for index in others), default=0) + SPACE
    if len(others) == 1:
        yield from _wrapped(head[others[0]], width, "  ")
    for row in rows[1:]:
        yield from _wrapped(", ".join(row[index] for index in names if row[index]), width, "  ")
        for index in others:
            label, cell = f"  {head[index]}", row[index]
            if not cell:
                continue
            if len(others) == 1:
                yield from _wrapped(f"  {cell}", width, "  ")
                continue
            if indent + len(cell) <= width:
                yield f"{label:<{indent}}{cell}"
                continue
            yield from _wrapped(label, width, "  ")
            yield from _wrapped(f"    {cell}", width, "    ")  # breaks between words, so no number is cut


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, max(width, FOLDED), subsequent_indent=indent, break_on_hyphens=False) or [""]
