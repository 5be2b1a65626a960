"""``tag``: the entities of texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bertedge.encoding import Encoding
from bertedge.errors import UsageError, nearest
from bertedge.heads.text_model import TextModel, row_of
from bertedge.heads.token_classification.tag_settings import TagSettings
from bertedge.heads.token_classification.tagging import AGGREGATIONS, Aggregation, Entity, Tokens, entities, joined
from bertedge.probabilities import softmax
from bertedge.texts import texts_of
from bertedge.windows import windows_of

HEAD = "token_classification"
#: Tokens and probabilities of one window.
Window = tuple[Tokens, NDArray[np.float32]]


class TagTexts(TextModel):
    """The method of the classifier of tokens."""

    @overload  # a string is an iterable of strings too, but the first case
    def tag(  # type: ignore[overload-overlap]
        self, texts: str, *, aggregation: Aggregation | None = None, stride: int | None = None
    ) -> list[Entity]: ...
    @overload
    def tag(
        self, texts: Iterable[str], *, aggregation: Aggregation | None = None, stride: int | None = None
    ) -> list[list[Entity]]: ...
    def tag(
        self, texts: str | Iterable[str], *, aggregation: Aggregation | None = None, stride: int | None = None
    ) -> list[Entity] | list[list[Entity]]:
        """The parts of texts that have a label other than ``O``, such as names, in the order of the text.

        Args:
            texts: one text, or several: a list, an array, a column of a table, a generator.
            aggregation: how tokens become entities, as ``aggregation_strategy`` of transformers' pipeline. ``none``:
                an entity for each token. ``simple``: tokens of one kind that follow each other are an entity.
                ``first``, ``average``, ``max``: the tokens of a word first get one label: that of the first token, that
                with the highest mean probability, or that of the surest token. Default: ``first`` for a vocabulary
                that marks the tokens inside words, such as ``##ing``; ``simple`` for any other.
            stride: read texts that are longer than the model's window whole, in windows that share so many tokens;
                default: cut them.

        Returns:
            The entities of one text; for several texts, a list for each.

        Raises:
            CheckpointError: the model has no such head.
            UsageError: an item is not a text, the aggregation is not known, or the stride is too large.

        Warns:
            TruncationWarning: texts were too long and were cut; words at the cut may be tagged wrongly.
            UnknownTextWarning: texts consist of unknown words.
        """
        self._require(HEAD)
        if isinstance(texts, str):
            return self.tag([texts], aggregation=aggregation, stride=stride)[0]
        how = self._aggregation(aggregation)
        several = texts_of(texts, "tag: expected a text or a list of texts")
        if stride is None:
            windows = [[encoding] for encoding in self.tokenizer.encode_many(several)]
        else:
            windows = windows_of(self.tokenizer, several, stride=stride)
        rows = [row_of(encoding, hidden=True) for own in windows for encoding in own]
        logits = iter(self.runner.run(rows, lambda result: result[HEAD].copy()))
        return [
            self._entities(text, [(one, next(logits)) for one in own], how, stride or 0)
            for text, own in zip(several, windows, strict=True)
        ]

    def _aggregation(self, given: str | None) -> Aggregation:
        if given is None:
            return "first" if self.tokenizer.continuation_prefix else "simple"
        for known in AGGREGATIONS:
            if given == known:
                return known
        raise UsageError(f"aggregation {given!r} is not known", nearest(str(given), AGGREGATIONS))

    def _entities(
        self, text: str, windows: list[tuple[Encoding, NDArray[np.float32]]], how: Aggregation, stride: int
    ) -> list[Entity]:
        settings: TagSettings = self.head_settings.token_classification
        tokens = [Tokens.of(text, encoding, self.tokenizer) for encoding, _ in windows]
        scores = [softmax(logits)[own.places] for own, (_, logits) in zip(tokens, windows, strict=True)]
        whole, probabilities = joined(tokens, scores, stride)
        return entities(text, whole, probabilities, settings.tags, how)
