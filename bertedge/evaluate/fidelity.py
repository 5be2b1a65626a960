"""How much a candidate differs from its float reference on real text, and how often both are correct."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from bertedge.data.batches import Layout, Walk, drawn_batches, without_one_sided_labels
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import sentence_pairs
from bertedge.data.questions import question_pairs
from bertedge.data.singles import single_texts
from bertedge.evaluate.bootstrap import Observations, estimate_all
from bertedge.evaluate.collector import Collector
from bertedge.evaluate.invariance import invariance
from bertedge.heads.parts import Parts
from bertedge.metric import MetricValue
from bertedge.predictor import Batch, Outputs, Predictor
from bertedge.progress import Listener, no_progress

#: A kind of texts that models are compared on.
Kind = Literal["pairs", "questions", "single texts", "labelled texts", "unlabelled texts"]
PAIRS: Kind = "pairs"
#: Questions and their contexts.
QUESTIONS: Kind = "questions"
SINGLE_TEXTS: Kind = "single texts"
#: The user's own texts, whole as the file lists them.
LABELLED: Kind = "labelled texts"
UNLABELLED: Kind = "unlabelled texts"
OWN_TEXTS = (LABELLED, UNLABELLED)
#: How running text is cut into each kind.
WALKS: dict[Kind, Walk] = {PAIRS: sentence_pairs, QUESTIONS: question_pairs, SINGLE_TEXTS: single_texts}
#: Called for each batch with: index of the candidate, batch, outputs of the reference, outputs of the candidate.
Watch = Callable[[int, Batch, Outputs, Outputs], None]


def _ignore(index: int, batch: Batch, expected: Outputs, got: Outputs) -> None:
    pass


def kinds_of_texts(parts: Parts, corpus: TokenizedCorpus) -> tuple[Kind, ...]:
    """The kinds of texts to compare a model on, the main kind first: those that its heads read, and single texts."""
    pairs = (PAIRS,) if parts.reads_pairs and corpus.why_no_pairs is None else ()
    return (*pairs, *((QUESTIONS,) if parts.reads_questions else ()), SINGLE_TEXTS)


def evaluation_batches(
    corpus: TokenizedCorpus,
    layout: Layout,
    *,
    examples: int,
    max_length: int,
    seed: int,
    batch_size: int = 16,
    kind: Kind = PAIRS,
) -> list[Batch]:
    """Masked texts in a random order that depends on the seed; all chosen positions are ``[MASK]``.

    Pairs fill ``max_length`` tokens; single texts have many lengths. Pairs get no labels if all labels would be equal.
    """
    rng = np.random.default_rng(seed)
    drawn = drawn_batches(
        corpus,
        layout,
        rng,
        count=examples,
        max_length=max_length,
        batch_size=batch_size,
        walk=WALKS[kind],
    )
    return without_one_sided_labels(drawn)


def measure_fidelity(
    reference: Predictor,
    candidates: Sequence[Predictor],
    batches: Sequence[Batch],
    listen: Listener = no_progress,
    watch: Watch = _ignore,
    *,
    settings: Any = None,
) -> list[dict[str, MetricValue]]:
    """All fidelity metrics of each candidate against the reference on the same batches. The reference runs once.

    Metrics of a head that a model lacks are left out. So are next-sentence metrics if no pair has a label.

    Args:
        settings: those of the model's heads, as :data:`bertedge.heads.parts.HeadSettings`.
    """
    seen = observe_all(reference, candidates, batches, listen, watch, settings=settings)
    return [metrics_of(candidate, own, batches[0]) for candidate, own in zip(candidates, seen, strict=True)]


def metrics_of(candidate: Predictor, seen: Observations, batch: Batch) -> dict[str, MetricValue]:
    """All metrics of a candidate: from its observations, and its invariance on one batch."""
    return {**estimate_all(seen), **invariance(candidate, batch)}


def observe_all(
    reference: Predictor,
    candidates: Sequence[Predictor],
    batches: Sequence[Batch],
    listen: Listener = no_progress,
    watch: Watch = _ignore,
    *,
    settings: Any = None,
) -> list[Observations]:
    """Compare each candidate with the reference. The reference runs once."""
    collected = [Collector(settings) for _ in candidates]
    for index, asked in enumerate(batches):
        batch = replace(asked, hidden=True)
        expected = reference.predict(batch)
        for place, (candidate, collector) in enumerate(zip(candidates, collected, strict=True)):
            got = candidate.predict(batch)
            collector.add(batch, expected, got)
            watch(place, batch, expected, got)
        listen((index + 1) / len(batches), f"comparing outputs {index + 1}/{len(batches)}")
    return [collector.observations() for collector in collected]


def compare_outputs(
    batches: Sequence[Batch],
    expected: Sequence[Outputs],
    got: Sequence[Outputs],
    *,
    settings: Any = None,
) -> dict[str, MetricValue]:
    """The metrics of :func:`measure_fidelity`, from outputs of each batch."""
    collector = Collector(settings)
    for batch, one, other in zip(batches, expected, got, strict=True):
        collector.add(batch, one, other)
    return estimate_all(collector.observations())
