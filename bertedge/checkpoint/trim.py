"""Trim the vocabulary of a model to the tokens that a text uses, and their weights.

Half of a small BERT is its table of word embeddings. A text of one field uses few of them. Other words can still be
written with the remaining tokens, because single characters are always kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.checkpoint.checkpoint import Checkpoint
from bertedge.checkpoint.sources import TensorSource
from bertedge.data.corpus import tokenized_chunks
from bertedge.encoders import names
from bertedge.errors import UsageError
from bertedge.tokenizer import Tokenizer

#: Tensors with a row, or a number, for every token.
PER_TOKEN = (names.WORD_EMBEDDINGS, names.DECODER, names.DECODER_BIAS)


class TrimmedSource:
    """Tensors of another source; those with a row for every token have only some of their rows."""

    def __init__(self, source: TensorSource, kept: NDArray[np.int64]) -> None:
        self._source, self._kept = source, kept
        self.shapes = {
            name: (len(kept), *shape[1:]) if name in PER_TOKEN else shape for name, shape in source.shapes.items()
        }
        self.kinds, self.files = source.kinds, source.files

    def load(self, name: str) -> NDArray[np.float32]:
        tensor = self._source.load(name)
        return tensor[self._kept] if name in PER_TOKEN else tensor


@dataclass(frozen=True, kw_only=True)
class Trim:
    """How many tokens were kept, and the share of the text's tokens that are among them."""

    tokens: int
    coverage: float


def trim_vocabulary(
    checkpoint: Checkpoint, keep: int, token_ids: Iterable[NDArray[np.integer]]
) -> tuple[Checkpoint, Trim]:
    """The same model with the ``keep`` tokens that a text uses most. Its weights are read as needed, not copied.

    Special tokens and single characters, at the start of a word and inside, always stay.

    Args:
        token_ids: the text's ids under the checkpoint's own tokenizer, in arrays of any shape.

    Raises:
        UsageError: ``keep`` is smaller than the number of tokens that always stay, or larger than the vocabulary.
    """
    tokenizer, size = checkpoint.tokenizer, checkpoint.tokenizer.vocab_size
    counts = np.zeros(size, dtype=np.int64)
    for ids in token_ids:
        counts += np.bincount(ids.reshape(-1), minlength=size)[:size]
    existing = np.array(sorted(set(tokenizer.vocabulary().values())), dtype=np.int64)  # some ids may have no token
    # positions begin after the padding's id in some families, so this id must not change
    unmoved = existing[existing < checkpoint.config.position_offset]
    always = np.array(sorted({*always_kept(tokenizer), *unmoved.tolist()}), dtype=np.int64)
    if not len(always) <= keep <= len(existing):
        raise UsageError(
            f"keep_vocab is {keep}: {len(always)} tokens (special tokens, single characters) always stay, and the "
            f"vocabulary has {len(existing)} tokens",
            f"choose a number from {len(always)} to {len(existing)}",
        )
    by_use = existing[np.argsort(-with_parts(counts, tokenizer)[existing], kind="stable")]
    others = by_use[~np.isin(by_use, always)]
    kept = np.sort(np.concatenate([always, others[: keep - len(always)]]))
    config = replace(
        checkpoint.config,
        vocab_size=len(kept),
        pad_token_id=int(np.searchsorted(kept, checkpoint.config.pad_token_id)),
    )
    trimmed = replace(
        checkpoint,
        config=config,
        source=TrimmedSource(checkpoint.source, kept),
        tokenizer_=tokenizer.trimmed(kept.tolist()),
        selection=kept.tobytes(),
    )
    return trimmed, Trim(tokens=len(kept), coverage=float(counts[kept].sum() / max(counts.sum(), 1)))


def with_parts(counts: NDArray[np.int64], tokenizer: Tokenizer) -> NDArray[np.int64]:
    """How often each token is used, in a text or to make the tokens of byte-pair encoding that are used."""
    vocabulary, total = tokenizer.vocabulary(), counts.copy()
    for first, second in reversed(tokenizer.merges):
        made = vocabulary.get(first + second)
        if made is not None:
            total[[vocabulary[first], vocabulary[second]]] += total[made]
    return total


def always_kept(tokenizer: Tokenizer) -> set[int]:
    """The ids that every text can be spelt with: special tokens, and single characters at a word's start and inside."""
    prefix = tokenizer.continuation_prefix or ""
    vocabulary = tokenizer.vocabulary()
    letters = {index for token, index in vocabulary.items() if len(token.removeprefix(prefix)) == 1 or token == prefix}
    return {*letters, *tokenizer.added, *map(tokenizer.id_of, tokenizer.special)}


def trim_to_text(checkpoint: Checkpoint, keep: int, text: Path) -> tuple[Checkpoint, Trim]:
    """:func:`trim_vocabulary` for the tokens of a corpus file, which is read in chunks.

    Raises:
        CorpusError: the file cannot be read or holds no text.
    """
    chunks = tokenized_chunks(text, checkpoint.tokenizer)
    return trim_vocabulary(checkpoint, keep, (chunk.token_ids for chunk in chunks))
