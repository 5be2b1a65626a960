"""Fidelity by the length of the text: rounding errors add up differently over 16 tokens and over 128."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertedge.bounds import Count
from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus
from bertedge.evaluate.fidelity import evaluation_batches, measure_fidelity
from bertedge.evaluate.metrics import METRICS, MetricValue
from bertedge.predictor import Batch, Predictor
from bertedge.progress import Listener, unheard

#: Tokens that texts are cut to, as far as they are shorter than those of the main sample.
LENGTHS = (16, 32, 64, 128, 256)


@dataclass(frozen=True, kw_only=True)
class LengthFidelity:
    """Fidelity on texts of one length.

    Attributes:
        max_length: tokens of a text at most; nearly all have as many.
        texts: how many there were.
        fidelity: as for the whole candidate, invariance left out.
    """

    max_length: Count
    texts: Count
    fidelity: dict[str, MetricValue]


def measure_by_length(
    reference: Predictor,
    candidates: Sequence[Predictor],
    corpus: TokenizedCorpus,
    layout: Layout,
    *,
    examples: int,
    max_length: int,
    seed: int,
    listen: Listener = unheard,
) -> list[tuple[LengthFidelity, ...]]:
    """Fidelity of each candidate on texts of each of ``LENGTHS`` below ``max_length``.

    The same corpus is cut into pairs of each length, and ``examples`` of them are drawn.
    """
    found: list[list[LengthFidelity]] = [[] for _ in candidates]
    lengths = [length for length in LENGTHS if length < max_length]
    for done, length in enumerate(lengths):
        listen(done / len(lengths), f"comparing outputs on {length} tokens")
        batches = evaluation_batches(corpus, layout, examples=examples, max_length=length, seed=seed)
        measured = measure_fidelity(reference, candidates, batches)
        for own, fidelity in zip(found, measured, strict=True):
            own.append(at_length(length, batches, fidelity))
    return [tuple(own) for own in found]


def at_length(max_length: int, batches: Sequence[Batch], fidelity: dict[str, MetricValue]) -> LengthFidelity:
    """What was measured on batches, as one entry of the table by length."""
    return LengthFidelity(
        max_length=max_length,
        texts=sum(len(batch.input_ids) for batch in batches),
        fidelity={name: value for name, value in fidelity.items() if name in METRICS},
    )
