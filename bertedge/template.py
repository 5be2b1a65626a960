"""The special tokens around a text and around a pair of texts, as a tokenizer puts them.

They are learned from one encoded text and one encoded pair, so no other module counts special tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import tokenizers

from bertedge.errors import CheckpointError

Token = tuple[int, int]  # an id, and its segment


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The special tokens around one text, or around two.

    Attributes:
        special: ids and segments of the special tokens before the first text, after it, and after the second one.
        segments: the segment of each text.
    """

    special: tuple[tuple[Token, ...], ...]
    segments: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many special tokens there are."""
        return sum(map(len, self.special))

    def lay_out(self, *texts: Sequence[int]) -> tuple[list[int], list[int]]:
        """The ids and the segments of texts with their special tokens."""
        ids, segments = [token for token, _ in self.special[0]], [segment for _, segment in self.special[0]]
        for text, own, special in zip(texts, self.segments, self.special[1:], strict=True):
            ids += [*text, *(token for token, _ in special)]
            segments += [*[own] * len(text), *(segment for _, segment in special)]
        return ids, segments


@dataclass(frozen=True, kw_only=True)
class Template:
    """The special tokens that a tokenizer adds to one text, such as ``[CLS] A [SEP]``, and to a pair."""

    single: Frame
    pair: Frame

    @classmethod
    def learn(cls, backend: tokenizers.Tokenizer, texts: Iterable[str]) -> Template:
        """Learn the template from a tokenizer without truncation.

        Args:
            texts: examples; the first one that the tokenizer can encode is used.

        Raises:
            CheckpointError: it can encode none, or leaves a text of a pair out.
        """
        for text in texts:
            with suppress(Exception):  # the library raises a bare Exception for a text that it cannot encode
                single, pair = _frame(backend.encode(text)), _frame(backend.encode(text, text))
                if (len(single.segments), len(pair.segments)) == (1, 2):
                    return cls(single=single, pair=pair)
        raise CheckpointError(
            "the tokenizer cannot encode a text and a pair",
            "use the tokenizer that the model was trained with",
        )

    def require_room(self, max_length: int) -> None:
        """Refuse a limit that the special tokens alone exceed.

        Raises:
            CheckpointError: it is one.
        """
        if max_length < self.single.count:
            raise CheckpointError(
                f"texts of at most {max_length} tokens have no room for {self.single.count} special tokens",
                "correct the model's maximum length",
            )

    def require_known(self, vocab_size: int) -> None:
        """Refuse special tokens that are not in the vocabulary.

        Raises:
            CheckpointError: there is one.
        """
        unknown = [token for token in self.special_ids if token >= vocab_size]
        if unknown:
            raise CheckpointError(
                f"the tokenizer's template has the id {max(unknown)}, but its vocabulary ends at {vocab_size - 1}",
                "use the tokenizer that the model was trained with",
            )

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids of all special tokens in the template."""
        return frozenset(token for frame in (self.single, self.pair) for part in frame.special for token, _ in part)

    def lay_out(self, first: Sequence[int], second: Sequence[int] = ()) -> tuple[list[int], list[int]]:
        """The ids and the segments of a text, or of a pair where there is a second text."""
        return self.pair.lay_out(first, second) if second else self.single.lay_out(first)

    def second(self, first: int, second: int) -> tuple[int, int]:
        """Where the second text of :meth:`lay_out` begins and ends; both are equal if there is none.

        Args:
            first, second: tokens of each text.
        """
        begin, middle, _ = map(len, self.pair.special)
        return (begin + first + middle, begin + first + middle + second) if second else (0, 0)

    def take_apart(self, ids: Sequence[int], begin: int, end: int) -> tuple[Sequence[int], ...]:
        """The one text or the two texts in a result of :meth:`lay_out`, without the special tokens around them.

        Args:
            begin, end: the result of :meth:`second`.
        """
        start, middle, _ = map(len, self.pair.special)
        if begin == end:
            before, after = map(len, self.single.special)
            return (ids[before : len(ids) - after],)
        return ids[start : begin - middle], ids[begin:end]


def _frame(encoding: tokenizers.Encoding) -> Frame:
    special: list[list[Token]] = [[]]
    segments: list[int] = []
    for token, segment, text in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True):
        if text is None:
            special[-1].append((token, segment))
        elif text == len(segments):  # its first token
            segments.append(segment)
            special.append([])
    return Frame(special=tuple(map(tuple, special)), segments=tuple(segments))
