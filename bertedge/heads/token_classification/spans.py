"""Labels of tokens or words as spans: BIO, BIOES and BILOU tags, and plain labels.

In BIO, ``B-`` begins a span and ``I-`` continues one (Ramshaw and Marcus 1995; Tjong Kim Sang and De Meulder 2003). In
BIOES and BILOU, ``E-`` or ``L-`` ends a span, and ``S-`` or ``U-`` is a span of one (Ratinov and Roth 2009).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

#: The label of what belongs to no span.
OUTSIDE = "O"
#: Prefixes of labels that begin a span, and of those that end one.
BEGINS, ENDS = frozenset("BSU"), frozenset("ESLU")
#: Prefixes that are read as such only where a label with one of these has the same name; ``E-mail`` may be a plain
#: label.
SURE = frozenset("BI")


@dataclass(frozen=True)
class Tag:
    """What one label says.

    Attributes:
        kind: the label without its prefix; None for ``O``.
        begins: whether a span begins here, even after a label of the same kind.
        ends: whether its span ends here.
    """

    kind: str | None
    begins: bool = False
    ends: bool = False


NO_TAG = Tag(None)
#: A span: its first token, the one after its last, and its kind.
Span = tuple[int, int, str]


@dataclass(frozen=True)
class TagSet:
    """The labels of a model in the order of their ids, read as tags.

    A wrong order of tags is read as ``transformers`` and the script of CoNLL read it: a tag that continues nothing of
    its kind begins a span.
    """

    labels: tuple[str, ...]

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """What each label says."""
        return tuple(map(self._tag, self.labels))

    def _tag(self, label: str) -> Tag:
        if label == OUTSIDE:
            return Tag(None)
        prefix, dash, kind = label.partition("-")
        known = prefix in SURE or (prefix in BEGINS | ENDS and any(f"{sure}-{kind}" in self.labels for sure in SURE))
        if not (dash and kind and known):
            return Tag(label)
        return Tag(kind, begins=prefix in BEGINS, ends=prefix in ENDS)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of spans, in the order of their first labels."""
        return tuple(dict.fromkeys(tag.kind for tag in self.tags if tag.kind is not None))

    @property
    def has_ends(self) -> bool:
        """Whether some labels end a span, as in BIOES and BILOU."""
        return any(tag.ends for tag in self.tags)

    def spans(self, ids: Iterable[int]) -> list[Span]:
        """The spans of a sequence of labels.

        Args:
            ids: an index into ``labels`` for each token or word; a negative one is no label, as ``O``.
        """
        found: list[Span] = []
        start, kind = 0, None
        place = -1
        for place, index in enumerate(ids):
            tag = self.tags[index] if index >= 0 else NO_TAG
            if tag.kind != kind or tag.begins:
                if kind is not None:
                    found.append((start, place, kind))
                start, kind = place, tag.kind
            if tag.ends and kind is not None:
                found.append((start, place + 1, kind))
                kind = None
        if kind is not None:
            found.append((start, place + 1, kind))
        return found

    def labels_of(self, spans: Sequence[Span], length: int) -> list[str]:
        """The labels of spans that do not overlap, as this set writes them; the reverse of :meth:`spans`."""
        written = [OUTSIDE] * length
        for start, stop, kind in spans:
            written[start:stop] = self._written(kind, stop - start)
        return written

    def _written(self, kind: str, length: int) -> list[str]:
        """The labels of one span. The set may lack some prefixes; then the next best one is used."""

        def best(prefixes: str) -> str:
            names = [*(f"{prefix}-{kind}" for prefix in prefixes), kind]
            return next((name for name in names if name in self.labels), names[-1])

        if length == 1:
            return [best("SUBI")]
        return [best("BI"), *[best("IB")] * (length - 2), best("ELIB")]
