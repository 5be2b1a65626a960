"""Batches of labelled examples, as a model reads them: encoded texts, and the right answers of its heads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.data.batches import Layout, masked_batch
from bertedge.data.pairs import Pair
from bertedge.encoding import Encoding
from bertedge.errors import CorpusError
from bertedge.example import PAIR, Example
from bertedge.heads import HEADS, TASKS
from bertedge.heads.parts import Parts
from bertedge.predictor import NO_LABEL, Batch
from bertedge.tokenizer import Tokenizer

#: The most texts and the most tokens of a batch, because several copies of its outputs are in memory.
BATCH_SIZE, TOKENS_AT_ONCE = 16, 16 * 128


@dataclass(frozen=True, kw_only=True)
class EncodedExample:
    """An example as the model reads it: one text, or a pair."""

    example: Example
    encoding: Encoding

    @property
    def pair(self) -> Pair:
        """Its tokens without special tokens."""
        ids, owners = self.encoding.input_ids, self.encoding.sequence_ids
        first, second = ([ids[i] for i, owner in enumerate(owners) if owner == place] for place in (0, 1))
        return Pair(first=first, second=second, label=None)

    def is_other_text_of(self, before: EncodedExample | None) -> bool:
        """Whether it is the second text of a pair whose texts are examples of their own."""
        number = self.example.values.get(PAIR)
        return before is not None and number is not None and number == before.example.values.get(PAIR)


def encoded_examples(
    examples: Sequence[Example], tokenizer: Tokenizer, parts: Parts, *, first: int = 0
) -> list[EncodedExample]:
    """Encode examples, and cut those that are longer than the tokenizer's limit.

    A model without heads makes the vector of one text at a time, so for it the texts of a pair are two examples.

    Args:
        first: the number of the first example, where several lists are encoded one after another.
    """
    listed = list(examples if parts.heads else _apart(examples, first))
    texts = [one.text if one.pair is None else (one.text, one.pair) for one in listed]
    with warnings.catch_warnings():  # of some of the texts; see TaskText for warnings about all of them
        warnings.simplefilter("ignore")
        encodings = tokenizer.encode_many(texts)
    return [EncodedExample(example=one, encoding=own) for one, own in zip(listed, encodings, strict=True)]


def task_batches(
    examples: Sequence[EncodedExample], tokenizer: Tokenizer, parts: Parts, *, name: str, batch_size: int = BATCH_SIZE
) -> list[Batch]:
    """The examples in their order, with the labels of every head that the file has answers for.

    Args:
        name: of the file, for messages.

    Raises:
        CorpusError: an answer does not fit the model, such as a label that it does not have; names the line.
    """
    layout = Layout.of(tokenizer, tokenizer.vocab_size, masks=False)
    return [_batch(rows, layout, parts, name) for rows in batched(examples, batch_size)]


def labelled_share(batches: Sequence[Batch]) -> float:
    """The share of the texts that the file gives a right answer for, to any head, 0 to 1."""
    labelled = 0
    for batch in batches:
        known = [_known(labels) for head, labels in batch.labels.items() if head not in TASKS]
        labelled += int(np.any(known, axis=0).sum()) if known else 0
    return labelled / max(sum(len(batch.input_ids) for batch in batches), 1)


def _apart(examples: Sequence[Example], first: int) -> Iterator[Example]:
    """The texts of pairs one by one, with the number of their pair."""
    for number, example in enumerate(examples, start=first):
        if example.pair is None:
            yield example
            continue
        values = {**example.values, PAIR: number}
        yield replace(example, pair=None, values=values)
        yield replace(example, text=example.pair, pair=None, words=None, values=values)


def batched(examples: Sequence[EncodedExample], batch_size: int = BATCH_SIZE) -> Iterator[list[EncodedExample]]:
    """Consecutive examples, as many as a batch may have."""
    rows: list[EncodedExample] = []
    longest = 0
    for example in examples:
        longest = max(longest, len(example.encoding.input_ids))
        if rows and (len(rows) == batch_size or longest * (len(rows) + 1) > TOKENS_AT_ONCE):
            yield rows
            rows, longest = [], len(example.encoding.input_ids)
        rows.append(example)
    if rows:
        yield rows


def _batch(rows: Sequence[EncodedExample], layout: Layout, parts: Parts, name: str) -> Batch:
    batch = masked_batch([row.pair for row in rows], layout, np.random.default_rng(0))
    labels = {head: _stacked([_target(row, head, parts, name) for row in rows]) for head in HEADS if parts.has(head)}
    texts = tuple((one.text,) if one.pair is None else (one.text, one.pair) for one in (row.example for row in rows))
    return replace(batch, texts=texts, labels={head: array for head, array in labels.items() if array is not None})


def _target(row: EncodedExample, head: str, parts: Parts, name: str) -> NDArray[Any] | None:
    try:
        return HEADS[head].target(row.example, row.encoding, parts.settings_of(head))
    except CorpusError as error:
        where = name if row.example.line is None else f"{name}: line {row.example.line}"
        raise CorpusError(f"{where}: {error.message}", error.hint) from error


def _stacked(targets: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """One array of the answers, filled up where they are unknown or shorter than others; None without an answer."""
    given = [target for target in targets if target is not None]
    if not given:
        return None
    dtype = np.result_type(*given)
    shape = (len(targets), *np.max([target.shape for target in given], axis=0))
    stacked = np.full(shape, np.nan if dtype.kind == "f" else NO_LABEL, dtype=dtype)
    for row, target in zip(stacked, targets, strict=True):
        if target is not None:
            row[tuple(map(slice, target.shape))] = target
    return stacked


def _known(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows have an answer, (B,)."""
    known: NDArray[np.bool_] = ~np.isnan(labels) if labels.dtype.kind == "f" else labels >= 0
    return np.any(known.reshape(len(labels), -1), axis=1)
