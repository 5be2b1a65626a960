"""How much a candidate differs from its float reference on real text, and how right both are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bertedge.data.batches import Layout, drawn_batches, without_one_sided_labels
from bertedge.data.corpus import TokenizedCorpus
from bertedge.evaluate.metrics import INVARIANCE, MetricValue, Observations, estimate_all
from bertedge.predictor import NO_LABEL, Batch, Outputs, Predictor
from bertedge.progress import Listener, unheard

TOP = 5
Logits = NDArray[np.float32]
#: Quantity -> one number for each observation.
Quantities = dict[str, NDArray]
#: Rows of unequal lengths that a text is put among to see whether that changes it.
STRANGERS = 8
#: Sees (index of the candidate, batch, the reference's outputs, the candidate's) as they go by.
Watch = Callable[[int, Batch, Outputs, Outputs], None]


def _look_away(index: int, batch: Batch, expected: Outputs, got: Outputs) -> None:
    pass


def evaluation_batches(
    corpus: TokenizedCorpus, layout: Layout, *, examples: int, max_length: int, seed: int, batch_size: int = 16
) -> list[Batch]:
    """Masked next-sentence pairs in a random order that the seed fixes; ``[MASK]`` at every chosen position.

    Pairs have no labels where all labels would be the same.
    """
    rng = np.random.default_rng(seed)
    drawn = drawn_batches(corpus, layout, rng, count=examples, max_length=max_length, batch_size=batch_size)
    return without_one_sided_labels(drawn)


def measure_fidelity(
    reference: Predictor,
    candidates: Sequence[Predictor],
    batches: Sequence[Batch],
    listen: Listener = unheard,
    watch: Watch = _look_away,
) -> list[dict[str, MetricValue]]:
    """All fidelity metrics of each candidate against the reference on the same batches; the reference runs once.

    Metrics of a head that a model lacks are left out, and next-sentence metrics where no pair has a label.
    """
    seen = observe_all(reference, candidates, batches, listen, watch)
    return [metrics_of(candidate, own, batches[0]) for candidate, own in zip(candidates, seen, strict=True)]


def metrics_of(candidate: Predictor, seen: Observations, batch: Batch) -> dict[str, MetricValue]:
    """All metrics of a candidate: those of what was seen of it, and its invariance on a batch."""
    return {**estimate_all(seen), INVARIANCE: invariance(candidate, batch)}


def observe_all(
    reference: Predictor,
    candidates: Sequence[Predictor],
    batches: Sequence[Batch],
    listen: Listener = unheard,
    watch: Watch = _look_away,
) -> list[Observations]:
    """What is seen of each candidate beside the reference, which runs once."""
    collected = [Collector() for _ in candidates]
    for index, batch in enumerate(batches):
        expected = reference.predict(batch)
        for place, (candidate, collector) in enumerate(zip(candidates, collected, strict=True)):
            got = candidate.predict(batch)
            _collect(collector, batch, expected, got)
            watch(place, batch, expected, got)
        listen((index + 1) / len(batches), f"comparing outputs {index + 1}/{len(batches)}")
    return [collector.observations() for collector in collected]


def compare_outputs(
    batches: Sequence[Batch], expected: Sequence[Outputs], got: Sequence[Outputs]
) -> dict[str, MetricValue]:
    """The metrics of :func:`measure_fidelity` for outputs that were made before, batch by batch."""
    collector = Collector()
    for batch, one, other in zip(batches, expected, got, strict=True):
        _collect(collector, batch, one, other)
    return estimate_all(collector.observations())


class Collector:
    """Gathers, batch by batch, one number for each quantity and observation; logits are dropped at once."""

    def __init__(self) -> None:
        self._mlm: dict[str, list[NDArray]] = defaultdict(list)
        self._nsp: dict[str, list[NDArray]] = defaultdict(list)
        self._mlm_text: list[NDArray] = []
        self._nsp_text: list[NDArray] = []
        self._texts = 0

    def add(self, batch: Batch, *, mlm: Quantities | None, nsp: Quantities | None) -> None:
        """Take in a batch: a number for each filled masked position, and for each labelled pair; None for no head."""
        text = self._texts + np.arange(len(batch.input_ids))
        self._texts += len(text)
        filled, pairs = batch.masked_labels != NO_LABEL, batch.next_sentence_labels != NO_LABEL
        if mlm is not None:
            for name, values in mlm.items():
                self._mlm[name].append(values)
            self._mlm_text.append(np.repeat(text, filled.sum(axis=1)))
        if nsp is not None:
            for name, values in nsp.items():
                self._nsp[name].append(values)
            self._nsp_text.append(text[pairs])

    def observations(self) -> Observations:
        """Everything that was taken in."""

        def joined(parts: dict[str, list[NDArray]]) -> dict[str, NDArray]:
            return {name: np.concatenate(values).astype(np.float64) for name, values in parts.items()}

        none = np.zeros(0, dtype=np.int64)
        return Observations(
            mlm=joined(self._mlm),
            mlm_text=np.concatenate(self._mlm_text or [none]),
            nsp=joined(self._nsp),
            nsp_text=np.concatenate(self._nsp_text or [none]),
            texts=self._texts,
        )


def _collect(collector: Collector, batch: Batch, expected: Outputs, got: Outputs) -> None:
    mlm = None
    if expected.mlm_logits is not None and got.mlm_logits is not None:
        filled = batch.masked_labels != NO_LABEL
        mlm = _mlm(expected.mlm_logits[filled], got.mlm_logits[filled], batch.masked_labels[filled])
    collector.add(batch, mlm=mlm, nsp=nsp_quantities(batch, expected.nsp_logits, got.nsp_logits))


def _mlm(expected: Logits, got: Logits, labels: NDArray[np.int64]) -> Quantities:
    """Quantities at M masked positions, from logits (M, V)."""
    log_p, log_q = log_softmax(expected), log_softmax(got)
    best, top = _best(expected), _best(got)
    first, answer = expected.argmax(axis=1), answers(got)
    rows = np.arange(len(labels))
    return {
        "top1_equal": first == answer,
        "top5_overlap": (best[:, :, None] == top[:, None, :]).any(axis=2).mean(axis=1) * (answer >= 0),
        "kl": np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=1), 0.0),
        "reference_hit": first == labels,
        "hit": answer == labels,
        "reference_nll": -log_p[rows, labels],
        "nll": -log_q[rows, labels],
    }


def nsp_quantities(batch: Batch, expected: Logits | None, got: Logits | None) -> Quantities | None:
    """Quantities of the labelled pairs, from logits (B, 2) of all; None where there is nothing to compare."""
    pairs = batch.next_sentence_labels != NO_LABEL  # not every pair has a label: see bertedge.data.pairs
    if expected is None or got is None or not pairs.any():
        return None
    one, other, labels = expected[pairs], got[pairs], batch.next_sentence_labels[pairs]
    first, answer = one.argmax(axis=1), answers(other)
    return {
        "flip": first != answer,
        "prob_diff": np.abs(np.exp(log_softmax(one)[:, 0]) - np.exp(log_softmax(other)[:, 0])),
        "reference_hit": first == labels,
        "hit": answer == labels,
    }


def invariance(predictor: Predictor, batch: Batch) -> MetricValue:
    """The largest difference of a probability when a text runs alone and when it runs padded among strangers.

    Rows are cut to different lengths first, so that there is padding; masked positions beyond the cut are left out.
    A predictor that never pads has nothing to show here; :meth:`bertedge.runtime.BertRuntime.padded` has.
    """
    rows = min(STRANGERS, len(batch.input_ids))
    lengths = np.maximum(batch.lengths[:rows] * (1 + np.arange(rows)) // rows, 3)
    together = _cut(batch, slice(0, rows), lengths)
    among = predictor.predict(together)
    differences = [0.0]
    for row in range(rows):
        single = _cut(batch, slice(row, row + 1), lengths[row : row + 1])
        alone = predictor.predict(single)
        filled = single.masked_labels[0] != NO_LABEL
        for joint, own, where in (
            (among.mlm_logits, alone.mlm_logits, filled),
            (among.nsp_logits, alone.nsp_logits, slice(None)),
        ):
            if joint is not None and own is not None:
                here = joint[row][: len(filled)][where] if joint.ndim == 3 else joint[row]
                there = own[0][where] if own.ndim == 3 else own[0]
                difference = np.abs(np.exp(log_softmax(here)) - np.exp(log_softmax(there)))
                differences.append(float(difference.max(initial=0.0)))
    worst = float(np.max(differences))  # unlike max(), it passes NaN on
    return MetricValue(value=worst, low=worst, high=worst, n=rows)


def _cut(batch: Batch, rows: slice, lengths: NDArray[np.int64]) -> Batch:
    """Some rows of a batch, shortened, padded to the longest of them."""
    width = int(lengths.max())
    keep = np.arange(width) < lengths[:, None]
    inside = (batch.masked_positions[rows] < lengths[:, None]) & (batch.masked_labels[rows] != NO_LABEL)
    return Batch(
        input_ids=np.where(keep, batch.input_ids[rows, :width], 0),
        attention_mask=keep.astype(np.int64),
        token_type_ids=np.where(keep, batch.token_type_ids[rows, :width], 0),
        masked_positions=np.where(inside, batch.masked_positions[rows], 0),
        masked_labels=np.where(inside, batch.masked_labels[rows], NO_LABEL),
        next_sentence_labels=batch.next_sentence_labels[rows],
    )


def answers(logits: Logits) -> NDArray[np.int64]:
    """The best of each row; -1, which is never right, where a candidate computed no numbers."""
    return np.where(np.isfinite(logits.max(axis=-1)), logits.argmax(axis=-1), -1)


def log_softmax(logits: Logits) -> Logits:
    """Log probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _best(logits: Logits) -> NDArray[np.int64]:
    return np.argpartition(-logits, min(TOP, logits.shape[1]) - 1, axis=1)[:, :TOP]
