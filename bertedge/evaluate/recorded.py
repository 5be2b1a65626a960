"""A reference's answers on a sample, kept so that many candidates can be compared with them one after the other.

What :func:`bertedge.evaluate.fidelity.measure_fidelity` finds, without what takes longest or most memory: overlaps of
the five best words, and the hidden states of all tokens. The reference runs once, and only what depends on the
candidate is computed for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.embedding import UNTOLD
from bertedge.evaluate.bootstrap import Observations, Seen
from bertedge.evaluate.collector import Collector, Logits, Quantities, answers, log_softmax, nsp_quantities
from bertedge.evaluate.metrics import Floats
from bertedge.evaluate.vectors import Vectors, read_vectors
from bertedge.predictor import Batch, Outputs, Predictor
from bertedge.progress import Listener, unheard

#: Bytes of probabilities that are kept on the disk; the reference of a larger sample runs again for every candidate.
MAX_KEPT_BYTES = 2**30


@dataclass(frozen=True, kw_only=True, eq=False)
class _Expected:
    """One batch: probabilities (M, V) at masked positions, numbers that follow from them (M,), and for pairs (P, 2).

    Attributes:
        vectors: those of single texts, and the pooler's outputs; see :func:`bertedge.evaluate.vectors.read_vectors`.
    """

    probabilities: NDArray[np.float32] | None
    negentropy: NDArray[np.float32]
    best: NDArray[np.int64]
    nll: NDArray[np.float32]
    pairs: Logits | None
    vectors: dict[str, Vectors]


class Recorded:
    """A reference on a sample.

    Args:
        folder: where probabilities are kept; the caller deletes it.
        pooling: how vectors of single texts are made; see :func:`bertedge.embedding.pool`.

    Attributes:
        texts, positions: how many texts there are, and how many masked positions in them.
    """

    def __init__(
        self,
        reference: Predictor,
        batches: Sequence[Batch],
        folder: Path,
        listen: Listener = unheard,
        *,
        pooling: Sequence[str] = UNTOLD,
    ) -> None:
        self._reference, self._folder, self._pooling = reference, folder, pooling
        self._batches = [replace(batch, hidden=True) for batch in batches]
        self.texts = sum(len(batch.input_ids) for batch in batches)
        self.positions = int(sum(batch.filled.sum() for batch in batches))
        self._records: list[_Expected | None] = []
        kept = 0
        for index, batch in enumerate(self._batches):
            record = self._run(batch)
            kept += 0 if record.probabilities is None else record.probabilities.nbytes
            self._records.append(self._stored(index, record) if kept <= MAX_KEPT_BYTES else None)
            listen((index + 1) / len(batches), f"the float model {index + 1}/{len(batches)}")

    def observe(self, candidate: Predictor, *, judge: Observations | None = None) -> Observations:
        """What is seen of a candidate beside the reference.

        Args:
            judge: another model's observations on the same sample (:meth:`itself`), whose hits the candidate's are
                compared with in the place of the reference's.
        """
        collector = Collector(self._pooling)
        for index, batch in enumerate(self._batches):
            expected, got = self._expected(index), candidate.predict(batch)
            mlm = None
            if expected.probabilities is not None and "mlm" in got.logits:
                filled = batch.filled
                mlm = _mlm(expected, got.logits["mlm"][filled], batch.labels["mlm"][filled])
            pairs = nsp_quantities(batch, expected.pairs, got.logits.get("nsp"))
            collector.add_quantities(batch, masked=mlm, pairs=pairs)
            collector.add_vectors(batch, expected.vectors, self._vectors(batch, got))
            collector.end_batch(batch)
        seen = collector.observations()
        return seen if judge is None else _judged_by(judge, seen)

    def itself(self) -> Observations:
        """The reference beside itself, for its own hits."""
        return self.observe(self._reference)

    def _expected(self, index: int) -> _Expected:
        record = self._records[index]
        if record is None:
            return self._run(self._batches[index])
        if record.probabilities is None:
            return record
        return replace(record, probabilities=np.load(self._path(index), mmap_mode="r"))

    def _run(self, batch: Batch) -> _Expected:
        outputs = self._reference.predict(batch)
        vectors = self._vectors(batch, outputs)
        none = np.zeros(0, dtype=np.float32)
        if "mlm" not in outputs.logits:
            return _Expected(
                probabilities=None,
                negentropy=none,
                best=none.astype(np.int64),
                nll=none,
                pairs=outputs.logits.get("nsp"),
                vectors=vectors,
            )
        filled = batch.filled
        logits, labels = outputs.logits["mlm"][filled], batch.labels["mlm"][filled]
        log_p = log_softmax(logits)
        p = np.exp(log_p)
        return _Expected(
            probabilities=p,
            negentropy=np.einsum("mv,mv->m", p, log_p),
            best=logits.argmax(axis=1),
            nll=-log_p[np.arange(len(labels)), labels],
            pairs=outputs.logits.get("nsp"),
            vectors=vectors,
        )

    def _vectors(self, batch: Batch, outputs: Outputs) -> dict[str, Vectors]:
        return {head: found for head, found in read_vectors(batch, outputs, self._pooling).items() if head != "hidden"}

    def _stored(self, index: int, record: _Expected) -> _Expected:
        """The record with its probabilities on the disk."""
        if record.probabilities is None:
            return record
        np.save(self._path(index), record.probabilities)
        return replace(record, probabilities=np.zeros((0, 0), dtype=np.float32))

    def _path(self, index: int) -> Path:
        return self._folder / f"probabilities-{index}.npy"


def _mlm(expected: _Expected, logits: Logits, labels: NDArray[np.int64]) -> Quantities:
    """Quantities at M masked positions, from logits (M, V); KL = sum p log p - sum p q + log sum exp q."""
    assert expected.probabilities is not None
    top = logits.max(axis=1)
    normalizer = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    crossed = np.einsum("mv,mv->m", expected.probabilities, logits)
    best = answers(logits)
    return {
        "top1_equal": best == expected.best,
        "kl": np.maximum(expected.negentropy - crossed + normalizer, 0.0),
        "reference_hit": expected.best == labels,
        "hit": best == labels,
        "reference_nll": expected.nll,
        "nll": normalizer - logits[np.arange(len(labels)), labels],
    }


def _judged_by(judge: Observations, seen: Observations) -> Observations:
    """The observations with another model's hits in the place of the reference's."""
    heads = {
        head: replace(own, values=own.values | _of_reference(judge.heads[head])) if head in judge.heads else own
        for head, own in seen.heads.items()
    }
    return replace(seen, heads=heads)


def _of_reference(seen: Seen) -> dict[str, Floats]:
    return {name: values for name, values in seen.values.items() if name.startswith("reference_")}
