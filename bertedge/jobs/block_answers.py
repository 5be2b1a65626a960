"""Answers to a block of rows. A row that cannot be answered is found, and does not stop the others."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bertedge.errors import TruncationWarning, UnknownTextWarning, UsageError
from bertedge.heads.verb import Item
from bertedge.jobs.row_tables import Block

#: Warnings that are counted instead of shown.
COUNTED = (TruncationWarning, UnknownTextWarning)
Answers = Callable[[Sequence[Item]], Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class AnsweredBlock:
    """A block with the answers to its rows.

    Attributes:
        block: the rows that have an answer, and those that have none.
        answers: one for each row of ``block.table``.
        cut: texts that were longer than the model reads.
        unknown: texts without a word that the model knows.
    """

    block: Block
    answers: Sequence[Any]
    cut: int = 0
    unknown: int = 0


def answered(block: Block, items: Sequence[Item], answers: Answers) -> AnsweredBlock:
    """Answer the rows of a block.

    Args:
        items: what each row of the table asks about.
    """
    found: list[Any] = []
    reasons: dict[int, str] = {}
    counts: Counter[type[Warning]] = Counter()
    whole = _answer(items, 0, answers, found, reasons, counts)
    return AnsweredBlock(
        block=block.without(reasons),
        answers=found if whole is None else whole,
        cut=counts[TruncationWarning],
        unknown=counts[UnknownTextWarning],
    )


def _answer(
    items: Sequence[Item],
    start: int,
    answers: Answers,
    found: list[Any],
    reasons: dict[int, str],
    counts: Counter[type[Warning]],
) -> Sequence[Any] | None:
    """Answer items, or each half of them, until an item that cannot be answered stands alone.

    Returns:
        The answers to all items, where none had to be left out; otherwise they are in ``found``.
    """
    if not items:
        return None
    try:
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            result = answers(items)
    except UsageError as error:
        if len(items) == 1:
            reasons[start] = error.message
            return None
        middle = len(items) // 2
        for first, half in ((start, items[:middle]), (start + middle, items[middle:])):
            part = _answer(half, first, answers, found, reasons, counts)
            found += [] if part is None else part
        return None
    for warning in shown:
        if issubclass(warning.category, COUNTED):
            counts[warning.category] += getattr(warning.message, "count", 1)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return result
