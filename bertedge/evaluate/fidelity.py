"""How much a candidate differs from its float reference on real text, and how right both are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bertedge.data.batches import Layout, drawn_batches, without_one_sided_labels
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import sentence_pairs
from bertedge.data.singles import single_texts
from bertedge.embedding import UNTOLD
from bertedge.evaluate import vectors
from bertedge.evaluate.bootstrap import Observations, Seen, estimate_all
from bertedge.evaluate.metrics import INVARIANCE, MetricValue
from bertedge.evaluate.vectors import Vectors
from bertedge.predictor import NO_LABEL, Batch, Outputs, Predictor
from bertedge.progress import Listener, unheard

TOP = 5
Logits = NDArray[np.float32]
#: Quantity -> one number for each observation.
Quantities = dict[str, NDArray]
#: What models are compared on.
Kind = Literal["pairs", "single texts"]
PAIRS: Kind = "pairs"
SINGLE_TEXTS: Kind = "single texts"
_NOTHING = Seen(values={}, text=np.zeros(0, dtype=np.int64))
#: Rows of unequal lengths that a text is put among to see whether that changes it.
STRANGERS = 8
#: Sees (index of the candidate, batch, the reference's outputs, the candidate's) as they go by.
Watch = Callable[[int, Batch, Outputs, Outputs], None]


def _look_away(index: int, batch: Batch, expected: Outputs, got: Outputs) -> None:
    pass


def kinds_of_texts(heads: Collection[str], corpus: TokenizedCorpus) -> tuple[Kind, ...]:
    """What a model is compared on, the main kind first: pairs where it judges them, and single texts always."""
    return (PAIRS, SINGLE_TEXTS) if "nsp" in heads and corpus.why_no_pairs is None else (SINGLE_TEXTS,)


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
    """Masked texts in a random order that the seed fixes; ``[MASK]`` at every chosen position.

    Pairs fill ``max_length`` tokens, single texts have many lengths. Pairs have no labels where all labels would be
    the same.
    """
    rng = np.random.default_rng(seed)
    drawn = drawn_batches(
        corpus,
        layout,
        rng,
        count=examples,
        max_length=max_length,
        batch_size=batch_size,
        walk=sentence_pairs if kind == PAIRS else single_texts,
    )
    return without_one_sided_labels(drawn)


def measure_fidelity(
    reference: Predictor,
    candidates: Sequence[Predictor],
    batches: Sequence[Batch],
    listen: Listener = unheard,
    watch: Watch = _look_away,
    *,
    pooling: Sequence[str] = UNTOLD,
) -> list[dict[str, MetricValue]]:
    """All fidelity metrics of each candidate against the reference on the same batches; the reference runs once.

    Metrics of a head that a model lacks are left out, and next-sentence metrics where no pair has a label.

    Args:
        pooling: how vectors of single texts are made; see :func:`bertedge.embedding.pool`.
    """
    seen = observe_all(reference, candidates, batches, listen, watch, pooling=pooling)
    return [metrics_of(candidate, own, batches[0]) for candidate, own in zip(candidates, seen, strict=True)]


def metrics_of(candidate: Predictor, seen: Observations, batch: Batch) -> dict[str, MetricValue]:
    """All metrics of a candidate: those of what was seen of it, and its invariance on a batch."""
    return {**estimate_all(seen), **invariance(candidate, batch)}


def observe_all(
    reference: Predictor,
    candidates: Sequence[Predictor],
    batches: Sequence[Batch],
    listen: Listener = unheard,
    watch: Watch = _look_away,
    *,
    pooling: Sequence[str] = UNTOLD,
) -> list[Observations]:
    """What is seen of each candidate next to the reference, which runs once."""
    collected = [Collector(pooling) for _ in candidates]
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
    batches: Sequence[Batch], expected: Sequence[Outputs], got: Sequence[Outputs], *, pooling: Sequence[str] = UNTOLD
) -> dict[str, MetricValue]:
    """The metrics of :func:`measure_fidelity` for outputs that were made before, batch by batch."""
    collector = Collector(pooling)
    for batch, one, other in zip(batches, expected, got, strict=True):
        collector.add(batch, one, other)
    return estimate_all(collector.observations())


class Collector:
    """Gathers, batch by batch, one number for each quantity and observation; outputs are dropped at once.

    Args:
        pooling: how vectors of single texts are made; see :func:`bertedge.embedding.pool`.
    """

    def __init__(self, pooling: Sequence[str] = UNTOLD) -> None:
        self._pooling = pooling
        self._values: dict[str, dict[str, list[NDArray]]] = {}
        self._text: dict[str, list[NDArray]] = {}
        self._vectors: list[tuple[Vectors, Vectors]] = []
        self._texts = 0

    def add(self, batch: Batch, expected: Outputs, got: Outputs) -> None:
        """Take in what the reference and the candidate said of a batch."""
        masked = None
        if expected.mlm_logits is not None and got.mlm_logits is not None:
            filled = batch.masked_labels != NO_LABEL
            masked = _mlm(expected.mlm_logits[filled], got.mlm_logits[filled], batch.masked_labels[filled])
        self.add_quantities(batch, masked=masked, pairs=nsp_quantities(batch, expected.nsp_logits, got.nsp_logits))
        self.add_vectors(batch, *(vectors.read_vectors(batch, outputs, self._pooling) for outputs in (expected, got)))
        self.end_batch(batch)

    def add_quantities(self, batch: Batch, *, masked: Quantities | None, pairs: Quantities | None) -> None:
        """A number for each filled masked position, and for each labelled pair; None for no head."""
        rows = np.arange(len(batch.input_ids))
        self._append("mlm", masked, np.repeat(rows, (batch.masked_labels != NO_LABEL).sum(axis=1)))
        self._append("nsp", pairs, rows[batch.next_sentence_labels != NO_LABEL])

    def add_vectors(self, batch: Batch, expected: dict[str, Vectors], got: dict[str, Vectors]) -> None:
        """Compare what both models gave; see :func:`bertedge.evaluate.vectors.read_vectors`."""
        for head, own in got.items():
            if head in expected:
                self._append(head, vectors.quantities(expected[head], own), vectors.rows_of(head, batch))
        if "embedding" in expected and "embedding" in got:
            self._vectors.append((expected["embedding"], got["embedding"]))

    def end_batch(self, batch: Batch) -> None:
        """Everything of this batch was taken in."""
        self._texts += len(batch.input_ids)

    def _append(self, head: str, values: Quantities | None, rows: NDArray[np.int64]) -> None:
        """Args: rows: the row of the batch that each observation is of."""
        if values is None:
            return
        own = self._values.setdefault(head, {name: [] for name in values})
        for name, array in values.items():
            own[name].append(array)
        self._text.setdefault(head, []).append(self._texts + rows)

    def observations(self) -> Observations:
        """Everything that was taken in."""
        heads = {
            head: Seen(
                values={name: np.concatenate(parts).astype(np.float64) for name, parts in values.items()},
                text=np.concatenate(self._text[head]),
            )
            for head, values in self._values.items()
        }
        if len(heads.get("embedding", _NOTHING).text) >= vectors.FEWEST_TEXTS:
            expected, got = (np.concatenate(side) for side in zip(*self._vectors, strict=True))
            heads["embedding"].values["neighbours"] = vectors.shared_neighbours(expected, got)
        return Observations(heads=heads, texts=self._texts)


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


def invariance(predictor: Predictor, batch: Batch, prefix: str = INVARIANCE) -> dict[str, MetricValue]:
    """How much a text's outputs change when it runs padded among other texts instead of alone.

    Rows are cut to different lengths first, so that there is padding; masked positions beyond the cut are left out.
    A predictor that never pads has nothing to show here; :meth:`bertedge.runtime.BertRuntime.padded` has.

    Returns:
        ``<prefix>max_prob_diff``, the largest difference of a probability, and ``<prefix>max_vector_diff``, that of the
        mean vector relative to its length; each as far as the model has it.
    """
    rows = min(STRANGERS, len(batch.input_ids))
    lengths = np.maximum(batch.lengths[:rows] * (1 + np.arange(rows)) // rows, 3)
    together = _cut(batch, slice(0, rows), lengths)
    among = predictor.predict(together)
    differences: dict[str, list[float]] = {}
    for row in range(rows):
        single = _cut(batch, slice(row, row + 1), lengths[row : row + 1])
        for name, difference in _changes_of_row(row, single, among, predictor.predict(single)):
            differences.setdefault(f"{prefix}{name}", []).append(difference)
    # unlike max(), numpy's passes NaN on
    worst = {name: float(np.max(found)) for name, found in differences.items()}
    return {name: MetricValue(value=value, low=value, high=value, n=rows) for name, value in worst.items()}


def _changes_of_row(row: int, single: Batch, among: Outputs, alone: Outputs) -> Iterator[tuple[str, float]]:
    """(name of the metric, difference) of each output of one row of ``among`` and the only row of ``alone``."""
    filled = single.masked_labels[0] != NO_LABEL
    if among.mlm_logits is not None and alone.mlm_logits is not None:
        yield (
            "max_prob_diff",
            _largest_change(among.mlm_logits[row][: len(filled)][filled], alone.mlm_logits[0][filled]),
        )
    if among.nsp_logits is not None and alone.nsp_logits is not None:
        yield "max_prob_diff", _largest_change(among.nsp_logits[row], alone.nsp_logits[0])
    if among.hidden_states is not None and alone.hidden_states is not None:
        length = int(single.lengths[0])
        here, there = (
            states[:length].mean(axis=0)[None] for states in (among.hidden_states[row], alone.hidden_states[0])
        )
        yield "max_vector_diff", float(vectors.quantities(there, here)["relative_error"][0])


def _largest_change(here: Logits, there: Logits) -> float:
    return float(np.abs(np.exp(log_softmax(here)) - np.exp(log_softmax(there))).max(initial=0.0))


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
        hidden=True,
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
