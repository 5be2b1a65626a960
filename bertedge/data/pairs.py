"""Next-sentence pairs, made as for BERT (Devlin et al. 2019, section 3.1 and appendix A.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bertedge.data.corpus import TokenizedCorpus

IS_NEXT, IS_RANDOM = 0, 1


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two segments of tokens; the second is empty for a single text.

    ``label`` is 0 if the second follows the first, 1 if it is random, and None if no text follows the first.
    """

    first: list[int]
    second: list[int]
    label: int | None


def sentence_pairs(corpus: TokenizedCorpus, *, max_length: int, rng: np.random.Generator) -> Iterator[Pair]:
    """Walk once over the corpus, documents in random order, and yield pairs that fill ``max_length`` tokens.

    Half of the pairs continue with the text that follows, half with a stretch of another document. Sentences that a
    random stretch replaced are read again at the start of the next pair. A corpus of a single document has no random
    stretches, so it gives single texts without a label.

    If the first segment is the last sentence of its document, or fills the pair alone, no text can follow: the second
    segment is random and the pair has no label. So half of the labels are "next" even if documents are short. Random
    segments of labelled pairs come from documents with several sentences, as "next" segments do.

    Args:
        max_length: tokens of a pair at most, special tokens included.
    """
    room = max_length - corpus.template.pair.count
    for document in rng.permutation(corpus.num_documents):
        sentences = corpus.document(int(document))
        position = sentences.start
        while position < sentences.stop:
            pair, position = next_pair(corpus, int(document), position, room, rng)
            if pair.first:
                yield pair


def next_pair(
    corpus: TokenizedCorpus, document: int, position: int, room: int, rng: np.random.Generator
) -> tuple[Pair, int]:
    """The pair that starts at a sentence, with at most ``room`` tokens, and the sentence where the next pair starts."""
    stop = corpus.document(document).stop
    chunk = _fill(corpus, position, stop, room)
    if corpus.num_documents < 2:
        return _stretch(corpus, chunk, room + 1, rng)
    split = position + (int(rng.integers(1, len(chunk))) if len(chunk) > 1 else 1)
    first = _join(corpus, range(position, split))
    either = len(chunk) > 1 and len(corpus.longer_documents) > 1  # the pair can be "next" or random
    if either and rng.random() < 0.5:
        second, following = _join(corpus, range(split, chunk.stop)), chunk.stop
        label: int | None = IS_NEXT
    else:
        second, following = _random_stretch(corpus, document, room - len(first), rng, longer=either), split
        label = IS_RANDOM if either else None
    first, second = _truncate(first, second, room, rng)
    return Pair(first=first, second=second, label=label), following


def _stretch(corpus: TokenizedCorpus, chunk: range, room: int, rng: np.random.Generator) -> tuple[Pair, int]:
    """A single text, and the sentence where the next text starts. A sentence that was cut off is read again."""
    tokens = _join(corpus, chunk)
    if len(chunk) == 1:
        return Pair(first=_crop(tokens, room, rng), second=[], label=None), chunk.stop
    return Pair(first=tokens[:room], second=[], label=None), chunk.stop - (len(tokens) > room)


def _fill(corpus: TokenizedCorpus, start: int, stop: int, room: int) -> range:
    """As many whole sentences from ``start`` as are needed to fill ``room`` tokens, at least one."""
    target = int(corpus.sentence_starts[start]) + room
    end = int(np.searchsorted(corpus.sentence_starts, target, side="left"))
    return range(start, min(max(end, start + 1), stop))


def _join(corpus: TokenizedCorpus, sentences: range) -> list[int]:
    return corpus.token_ids[corpus.sentence_starts[sentences.start] : corpus.sentence_starts[sentences.stop]].tolist()


def _random_stretch(
    corpus: TokenizedCorpus, avoid: int, room: int, rng: np.random.Generator, *, longer: bool
) -> list[int]:
    """Sentences from a random place in another document.

    Args:
        longer: only from documents with several sentences, like segments that follow; otherwise a document of one
            sentence would reveal the answer.
    """
    documents = corpus.longer_documents if longer else range(corpus.num_documents)
    other = int(rng.integers(len(documents) - 1))
    own = avoid if isinstance(documents, range) else int(np.searchsorted(documents, avoid))
    sentences = corpus.document(int(documents[other + (other >= own)]))
    start = int(rng.integers(sentences.start, sentences.stop))
    return _join(corpus, _fill(corpus, start, sentences.stop, max(room, 1)))


def _truncate(first: list[int], second: list[int], room: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Shorten the longer segment, at its beginning or its end, until both fit."""
    keep_second = max(min(len(second), room - len(first)), min(len(second), room // 2))
    keep_first = min(len(first), room - keep_second)
    return _crop(first, keep_first, rng), _crop(second, keep_second, rng)


def _crop(tokens: list[int], keep: int, rng: np.random.Generator) -> list[int]:
    excess = len(tokens) - keep
    front = int(rng.integers(excess + 1)) if excess > 0 else 0
    return tokens[front : front + keep]
