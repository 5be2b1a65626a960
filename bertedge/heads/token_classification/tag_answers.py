"""The right labels of an example's tokens, from the tags of its words or from spans of its characters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.encoding import Encoding
from bertedge.errors import CorpusError, nearest
from bertedge.example import Example, WordSpan
from bertedge.heads.labels import place_of
from bertedge.heads.token_classification.spans import OUTSIDE, Span, TagSet
from bertedge.heads.token_classification.tag_quantities import UNLABELLED
from bertedge.predictor import NO_LABEL

#: Names of a span's label in files.
LABEL_KEYS = ("label", "entity_group", "entity", "tag", "type")
#: A message shows at most this many characters of a wrong value.
SHOWN = 60


def token_labels(example: Example, encoding: Encoding, tags: TagSet) -> NDArray[np.int64]:
    """A label for the first token of each word, (S,); ``UNLABELLED`` if the example has none. Others: ``NO_LABEL``.

    Words that were cut off with the end of the text have no token, and so no label.

    Raises:
        CorpusError: tags that do not fit the words, spans that do not fit the text, a label that the model lacks.
    """
    given, spans = example.values.get("tags"), example.values.get("spans")
    words = example.words
    if words is None:
        by_space = given is not None
        words = tuple(match.span() for match in re.finditer(r"\S+", example.text)) if by_space else _words(encoding)
    labels: Sequence[int] = [UNLABELLED] * len(words)
    if given is not None:
        labels = _of_tags(given, len(words), tags)
    elif spans is not None:
        labels = _of_spans(spans, words, example.text, tags)
    found = np.full(len(encoding.input_ids), NO_LABEL, dtype=np.int64)
    for place, label in zip(_first_tokens(encoding, words), labels, strict=True):
        if place is not None:
            found[place] = label
    return found


def _words(encoding: Encoding) -> tuple[WordSpan, ...]:
    """The words as the tokenizer splits the text."""
    found: dict[int, WordSpan] = {}
    for word, sequence, (start, end) in zip(encoding.word_ids, encoding.sequence_ids, encoding.offsets, strict=True):
        if word is not None and sequence == 0 and end > start:
            first, _ = found.get(word, (start, end))
            found[word] = (first, end)
    return tuple(found.values())


def _first_tokens(encoding: Encoding, words: Sequence[WordSpan]) -> list[int | None]:
    """The first token of each word; None where the text was cut off before it, or where the word has no token."""
    tokens = [
        (place, start, end)
        for place, (sequence, (start, end)) in enumerate(zip(encoding.sequence_ids, encoding.offsets, strict=True))
        if sequence == 0 and end > start
    ]
    found: list[int | None] = []
    at = 0
    for begin, stop in words:
        while at < len(tokens) and tokens[at][2] <= begin:
            at += 1
        has_token = at < len(tokens) and tokens[at][1] < stop
        found.append(_with_space(encoding, tokens[at][0]) if has_token else None)
        at += has_token  # the next word does not begin with the same token
    return found


def _with_space(encoding: Encoding, place: int) -> int:
    """The token of the space before a word, if it is the word's first token, as in byte-level vocabularies."""
    start, end = encoding.offsets[place - 1]
    return place - 1 if start == end and encoding.word_ids[place - 1] == encoding.word_ids[place] else place


def _of_tags(given: Any, words: int, tags: TagSet) -> list[int]:
    """The labels of words that have a tag each."""
    if not isinstance(given, list | tuple):
        raise CorpusError(f"tags are {str(given)[:SHOWN]!r}, not a list", "give a tag for each word")
    if len(given) != words:
        raise CorpusError(f"the text has {words} words and {len(given)} tags", "give each word a tag")
    names = [_name(tag, tags) for tag in given]
    if tags.has_ends or not {*names} <= {*tags.labels}:  # the file may write spans as BIO, and the model as BIOES
        own = TagSet(tuple(dict.fromkeys([*names, *tags.labels])))
        names = _written(own.spans([own.labels.index(name) for name in names]), words, tags)
    return [tags.labels.index(name) for name in names]


def _name(tag: Any, tags: TagSet) -> str:
    """The name of a tag, which may be given as its number."""
    place = place_of(tag, tags.labels)
    return str(tag).strip() if place is None else tags.labels[place]


def _of_spans(given: Any, words: Sequence[WordSpan], text: str, tags: TagSet) -> list[int]:
    """The labels of the words that spans of characters touch."""
    if not isinstance(given, list | tuple):
        raise CorpusError(f"spans are {str(given)[:SHOWN]!r}, not a list", 'for instance [{"start": 0, ...}]')
    found: list[Span] = []
    for start, end, kind in sorted(_span(one, text) for one in given):
        inside = [index for index, (first, last) in enumerate(words) if first < end and last > start]
        if inside and found and inside[0] < found[-1][1]:
            raise CorpusError(
                f"two spans share the word {text[slice(*words[inside[0]])]!r}", "give each word one label"
            )
        if inside:
            found.append((inside[0], inside[-1] + 1, kind))
    return [tags.labels.index(name) for name in _written(found, len(words), tags)]


def _span(given: Any, text: str) -> tuple[int, int, str]:
    """The first character of a span, the one after its last, and its label."""
    values: Sequence[Any] = given if isinstance(given, list | tuple) else ()
    if isinstance(given, Mapping):
        label = next((given[key] for key in LABEL_KEYS if key in given), None)
        values = (given.get("start"), given.get("end"), label)
    match values:
        case [int(start), int(end), str(label)] if 0 <= start < end <= len(text):
            return start, end, label
    raise CorpusError(
        f"the span {str(given)[:SHOWN]} does not fit a text of {len(text)} characters",
        'for instance {"start": 0, "end": 4, "label": "PER"}',
    )


def _written(spans: Sequence[Span], words: int, tags: TagSet) -> list[str]:
    """Spans as the model's labels write them."""
    for _, _, kind in spans:
        if kind not in tags.kinds:
            raise CorpusError(f"the model has no label {kind[:SHOWN]!r}", nearest(kind, tags.kinds))
    names = tags.labels_of(spans, words)
    if OUTSIDE in names and OUTSIDE not in tags.labels:
        raise CorpusError(f"the model has no label {OUTSIDE!r} for words without one", "give each word a tag")
    return names
