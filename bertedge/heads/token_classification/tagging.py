"""From the probabilities of a text's tokens to its entities, as ``TokenClassificationPipeline`` of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bertedge.encoding import Encoding
from bertedge.heads.token_classification.spans import OUTSIDE, TagSet
from bertedge.tokenizer import Tokenizer

#: How the labels of a word's tokens become one label; see :func:`entities`.
Aggregation = Literal["none", "simple", "first", "average", "max"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A part of a text with a label.

    Attributes:
        label: without the prefix of its tags, such as ``PER``; with ``aggregation="none"`` the tag, such as ``B-PER``.
        text: the part itself, as the user wrote it.
        start, end: its first character, and the one after its last.
        score: the mean probability of the label over the tokens or words.
    """

    label: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """The tokens of a text without special tokens.

    Attributes:
        places: where each token stands among the input ids of its encoding.
        offsets: its first character and the one after its last.
        continues: whether it continues the word of the token before it.
    """

    places: list[int]
    offsets: list[tuple[int, int]]
    continues: list[bool]

    @classmethod
    def of(cls, text: str, encoding: Encoding, tokenizer: Tokenizer) -> Tokens:
        """The tokens of one text, or of one window of it.

        A vocabulary with a prefix such as ``##`` says which tokens continue a word. For others, a word ends at white
        space, as in transformers.
        """
        places = [place for place, sequence in enumerate(encoding.sequence_ids) if sequence is not None]
        offsets = [encoding.offsets[place] for place in places]
        prefix, source = tokenizer.continuation_prefix, encoding.source.tokens
        if prefix:
            continues = [source[place].startswith(prefix) for place in places]
        else:
            continues = [start > 0 and not any(map(str.isspace, text[start - 1 : start + 1])) for start, _ in offsets]
            unknown = tokenizer.id_of("unk")
            continues = [
                own and encoding.input_ids[place] != unknown for own, place in zip(continues, places, strict=True)
            ]
        return cls(places=places, offsets=offsets, continues=continues)

    def words(self) -> Iterator[slice]:
        """The tokens of each word. The first token begins a word, even if it continues one that was cut off."""
        starts = [place for place, own in enumerate(self.continues) if not (own and place)]
        return (slice(start, stop) for start, stop in pairwise([*starts, len(self.continues)]))


def entities(
    text: str, tokens: Tokens, probabilities: NDArray[np.float32], tags: TagSet, aggregation: Aggregation
) -> list[Entity]:
    """The entities of a text.

    Args:
        probabilities: of each label for each token, shape (tokens, labels).
        aggregation: ``none``: one entity for each token whose label is not ``O``. ``simple``: tokens of one kind that
            follow each other are one entity. The other three first give all tokens of a word the same label, and then
            group words: ``first`` takes the label of the word's first token, ``average`` that with the highest mean
            probability, ``max`` that of the token with the highest probability.
    """
    if not tokens.offsets:
        return []
    parts = [slice(place, place + 1) for place in range(len(tokens.offsets))]
    if aggregation not in ("none", "simple"):
        parts = list(tokens.words())
    scores = np.stack([_word_scores(probabilities[part], aggregation) for part in parts])
    best = scores.argmax(axis=1)
    if aggregation == "none":
        named = [(place, place + 1, tags.labels[index]) for place, index in enumerate(best)]
        spans = [span for span in named if span[2] != OUTSIDE]
    else:
        spans = tags.spans(best.tolist())
    chosen = scores[np.arange(len(parts)), best]
    found = (
        _entity(text, tokens.offsets[parts[first].start], tokens.offsets[parts[stop - 1].stop - 1], label, own)
        for first, stop, label in spans
        for own in [float(chosen[first:stop].mean())]
    )
    return [entity for entity in found if entity.text]  # byte-level vocabularies have tokens for spaces


def _word_scores(probabilities: NDArray[np.float32], aggregation: Aggregation) -> NDArray[np.float32]:
    """The probabilities of a word, (labels,), from those of its tokens, (tokens, labels)."""
    if aggregation == "average":
        mean: NDArray[np.float32] = probabilities.mean(axis=0)
        return mean
    surest = int(probabilities.max(axis=1).argmax()) if aggregation == "max" else 0
    token: NDArray[np.float32] = probabilities[surest]
    return token


def _entity(text: str, first: tuple[int, int], last: tuple[int, int], label: str, score: float) -> Entity:
    """The entity from one token to another, without white space around it: some tokens contain the space before."""
    start, end = first[0], last[1]
    own = text[start:end]
    start += len(own) - len(own.lstrip())
    own = own.strip()
    return Entity(label=label, text=own, start=start, end=start + len(own), score=score)


def joined(
    windows: Sequence[Tokens], probabilities: Sequence[NDArray[np.float32]], stride: int
) -> tuple[Tokens, NDArray[np.float32]]:
    """The tokens of a text, from windows that overlap by ``stride`` tokens.

    A token in two windows is taken from the one in which it has more tokens on both sides.

    Args:
        probabilities: of each window's tokens, (tokens, labels).
    """
    pieces = []
    for index, window in enumerate(windows):
        start = stride - stride // 2 if index else 0
        stop = len(window.places) - (stride // 2 if index < len(windows) - 1 else 0)
        pieces.append(slice(start, stop))
    offsets = [one for own, piece in zip(windows, pieces, strict=True) for one in own.offsets[piece]]
    continues = [one for own, piece in zip(windows, pieces, strict=True) for one in own.continues[piece]]
    chosen = [own[piece] for own, piece in zip(probabilities, pieces, strict=True)]
    return Tokens(places=list(range(len(offsets))), offsets=offsets, continues=continues), np.concatenate(chosen)
