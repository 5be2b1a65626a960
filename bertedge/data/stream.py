"""An endless stream of shuffled sentence pairs. Its position is a few numbers, so a run can resume anywhere.

Every epoch walks over the documents in a new order; pairs are shuffled within windows, so that a batch mixes documents.
Each window has its own random generator, seeded by seed, epoch and window: it can be drawn again without the windows
before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import Pair, next_pair
from bertedge.errors import FileError

WINDOW = 8192
#: Uses of generators; part of their seeds.
ORDER, PAIRS, MASKS = 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class Place:
    """The position of a stream.

    Attributes:
        epoch: finished walks over the corpus.
        window: finished windows of this epoch.
        document: index of the window's first document in this epoch's order.
        sentence: sentences of that document that earlier windows have used.
        taken: pairs of the window that were given out.
    """

    epoch: int = 0
    window: int = 0
    document: int = 0
    sentence: int = 0
    taken: int = 0


class PairStream:
    """New pairs in every epoch, without end.

    Args:
        max_length: tokens of a pair at most, special tokens included.
        place: where to resume; default: the beginning.

    Raises:
        FileError: the corpus does not have the place ``place``.
    """

    def __init__(
        self, corpus: TokenizedCorpus, *, max_length: int, seed: int, place: Place | None = None, window: int = WINDOW
    ) -> None:
        self._corpus, self._seed, self._size = corpus, seed, window
        self._room = max_length - corpus.template.pair.count
        self._start = place or Place()
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._require_known(self._start)
        self._open_window()
        if self._start.taken > len(self._pairs):
            raise self._unknown(self._start)

    @property
    def place(self) -> Place:
        """The position of the next pair."""
        return self._start

    @property
    def epochs(self) -> float:
        """The number of walks over the corpus up to now, with fractions."""
        begin, end = self._position(self._start), self._position(self._next)
        share = self._start.taken / max(len(self._pairs), 1)
        return begin + share * (end - begin)

    def take(self, count: int) -> list[tuple[Pair, np.random.Generator]]:
        """The next ``count`` pairs, each with its own generator for its masks."""
        taken: list[tuple[Pair, np.random.Generator]] = []
        while len(taken) < count:
            place = self._start
            if place.taken == len(self._pairs):
                self._start = self._next
                self._open_window()
                continue
            stop = min(len(self._pairs), place.taken + count - len(taken))
            name = (self._seed, MASKS, place.epoch, place.window)
            taken += [(self._pairs[i], np.random.default_rng([*name, i])) for i in range(place.taken, stop)]
            self._start = replace(place, taken=stop)
        return taken

    def _require_known(self, place: Place) -> None:
        """Refuse a place that this corpus does not have, such as one from a damaged file."""
        if min(place.epoch, place.window, place.document, place.sentence, place.taken) < 0:
            raise self._unknown(place)
        if place.document >= self._corpus.num_documents:
            raise self._unknown(place)
        if place.sentence >= len(self._corpus.document(int(self._documents(place.epoch)[place.document]))):
            raise self._unknown(place)

    def _unknown(self, place: Place) -> FileError:
        return FileError(
            f"the corpus has no such place: {place}", "the saved state is damaged; start again with --force"
        )

    def _open_window(self) -> None:
        """Draw the pairs of the window at ``self._start``, and find where the next window begins."""
        start, corpus = self._start, self._corpus
        rng = np.random.default_rng([self._seed, PAIRS, start.epoch, start.window])
        order = self._documents(start.epoch)
        pairs: list[Pair] = []
        document, used = start.document, start.sentence
        while len(pairs) < self._size and document < len(order):
            own = int(order[document])
            sentences = corpus.document(own)
            pair, following = next_pair(corpus, own, sentences.start + used, self._room, rng)
            if pair.first:
                pairs.append(pair)
            used = following - sentences.start
            if following == sentences.stop:
                document, used = document + 1, 0
        self._pairs = [pairs[i] for i in rng.permutation(len(pairs))]
        at_end = document == len(order)
        self._next = (
            Place(epoch=start.epoch + 1)
            if at_end
            else Place(epoch=start.epoch, window=start.window + 1, document=document, sentence=used)
        )

    def _documents(self, epoch: int) -> NDArray[np.int64]:
        """The order of documents in an epoch."""
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, ORDER, epoch])
            self._order = (epoch, rng.permutation(self._corpus.num_documents).astype(np.int64))
        return self._order[1]

    def _position(self, place: Place) -> float:
        """Epochs done at the start of a window."""
        if place.document == 0 and place.sentence == 0:
            return float(place.epoch)
        sentences = self._corpus.document(int(self._documents(place.epoch)[place.document]))
        return place.epoch + (place.document + place.sentence / len(sentences)) / self._corpus.num_documents
