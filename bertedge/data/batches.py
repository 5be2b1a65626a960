"""From tokenized texts to batches of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.masking import mask_tokens
from bertedge.data.pairs import Pair, sentence_pairs
from bertedge.heads import HEADS, TASKS
from bertedge.predictor import NO_LABEL, Batch
from bertedge.template import Template
from bertedge.tokenizer import Tokenizer

#: Heads that learn from pairs of texts without labels.
OF_PAIRS = tuple(name for name in TASKS if HEADS[name].reads == "pair")


class Walk(Protocol):
    """Goes once over a corpus and yields texts of at most ``max_length`` tokens."""

    def __call__(self, corpus: TokenizedCorpus, *, max_length: int, rng: np.random.Generator) -> Iterator[Pair]: ...


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a batch is built with: the tokenizer's template, its special ids, and the size of the vocabulary.

    Attributes:
        vocab_size: random replacements are drawn from the ids below it.
        continuation: by id, True for tokens that continue a word, shape (V,); None to mask single tokens.
        masks: whether texts are masked.
        hidden: whether texts that are timed are read at every position, as the model's users read them.
    """

    template: Template
    mask_id: int
    pad_id: int
    vocab_size: int
    continuation: NDArray[np.bool_] | None = None
    masks: bool = True
    hidden: bool = False

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        vocab_size: int,
        *,
        whole_words: bool = False,
        masks: bool = True,
        hidden: bool = False,
    ) -> Layout:
        """The layout of a tokenizer; ``vocab_size`` is that of the model."""
        vocab_size = min(vocab_size, tokenizer.vocab_size)  # a model may have more ids than tokens
        return cls(
            template=tokenizer.template,
            mask_id=tokenizer.id_of("mask"),
            pad_id=tokenizer.id_of("pad"),
            vocab_size=vocab_size,
            continuation=tokenizer.continuation(vocab_size) if whole_words else None,
            masks=masks,
            hidden=hidden,
        )

    def mask(
        self, ids: NDArray[np.int64], rng: np.random.Generator, *, always_mask: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Mask one text (S,), but not its special tokens; see :func:`bertedge.data.masking.mask_tokens`."""
        if not self.masks:
            return ids, np.zeros(0, dtype=np.int64)
        return mask_tokens(
            ids,
            ~np.isin(ids, [*self.template.special_ids]),
            mask_id=self.mask_id,
            vocab_size=self.vocab_size,
            rng=rng,
            always_mask=always_mask,
            continuation=self.continuation,
        )


def masked_batch(
    pairs: Sequence[Pair],
    layout: Layout,
    rng: np.random.Generator | Sequence[np.random.Generator],
    *,
    always_mask: bool = False,
) -> Batch:
    """Lay out each text or pair with its special tokens, mask it, and pad all to the longest.

    Args:
        rng: one generator for all, or one for each; with one for each, the masks of a text do not depend on its batch.
    """
    rngs = [rng] * len(pairs) if isinstance(rng, np.random.Generator) else rng
    laid_out = [layout.template.lay_out(pair.first, pair.second) for pair in pairs]
    rows = [np.array(ids, dtype=np.int64) for ids, _ in laid_out]
    masked = [layout.mask(row, own, always_mask=always_mask) for row, own in zip(rows, rngs, strict=True)]
    positions = [chosen for _, chosen in masked]
    return Batch(
        input_ids=_pad_rows([changed for changed, _ in masked], layout.pad_id),
        attention_mask=_pad_rows([np.ones_like(row) for row in rows], 0),
        token_type_ids=_pad_rows([np.array(segments) for _, segments in laid_out], 0),
        masked_positions=_pad_rows(positions, 0),
        masked_counts=np.array([len(chosen) for chosen in positions], dtype=np.int64),
        labels=_labels(pairs, [row[chosen] for row, chosen in zip(rows, positions, strict=True)]),
        second=np.array([layout.template.second(len(p.first), len(p.second)) for p in pairs], dtype=np.int64),
    )


def _labels(pairs: Sequence[Pair], hidden: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Head -> the right answers that a text without labels has."""
    found = {}
    for name, head in HEADS.items():
        own = [head.text_label(tokens, pair.label) for tokens, pair in zip(hidden, pairs, strict=True)]
        rows = [row for row in own if row is not None]
        if rows:
            found[name] = _pad_rows(rows, NO_LABEL) if rows[0].ndim else np.stack(rows)
    return found


def drawn_batches(
    corpus: TokenizedCorpus,
    layout: Layout,
    rng: np.random.Generator,
    *,
    count: int,
    max_length: int,
    batch_size: int,
    always_mask: bool = True,
    candidates: int | None = None,
    walk: Walk = sentence_pairs,
) -> list[Batch]:
    """At most ``count`` masked texts, drawn at random from one walk over the corpus; for evaluation.

    Args:
        candidates: draw from the first so many texts of the walk; None for all of them.
        walk: makes the texts: :func:`bertedge.data.pairs.sentence_pairs` or
            :func:`bertedge.data.singles.single_texts`.
    """
    pairs = list(islice(walk(corpus, max_length=max_length, rng=rng), candidates))
    chosen = [pairs[i] for i in rng.permutation(len(pairs))[:count]]
    return [
        masked_batch(chosen[i : i + batch_size], layout, rng, always_mask=always_mask)
        for i in range(0, len(chosen), batch_size)
    ]


def without_one_sided_labels(batches: Sequence[Batch]) -> list[Batch]:
    """The same batches, without next-sentence labels if all labels are equal.

    Accuracy on one class is useless: a model that always gives this answer would be perfect.
    """
    if len(next_sentence_classes(batches)) == 2:
        return list(batches)
    none = [{name: np.full_like(batch.labels[name], NO_LABEL) for name in OF_PAIRS} for batch in batches]
    return [replace(batch, labels={**batch.labels, **own}) for batch, own in zip(batches, none, strict=True)]


def next_sentence_classes(batches: Sequence[Batch]) -> list[int]:
    """The different next-sentence labels in some batches, in ascending order."""
    labels = {int(label) for batch in batches for name in OF_PAIRS for label in batch.labels.get(name, ())}
    return sorted(labels - {NO_LABEL})


def _pad_rows(rows: Sequence[np.ndarray], filling: int) -> np.ndarray:
    width = max(len(row) for row in rows)
    padded = np.full((len(rows), width), filling, dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded
