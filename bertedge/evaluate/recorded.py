"""A reference's answers on a sample, kept so that many candidates can be compared with them one after the other.

What :func:`bertedge.evaluate.fidelity.measure_fidelity` finds, without what takes it longest: overlaps of the five best
words. The reference runs once, and only what depends on the candidate is computed for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.evaluate.fidelity import Collector, Logits, Quantities, answers, log_softmax, nsp_quantities
from bertedge.evaluate.metrics import METRICS, MetricValue, Observations, estimate_all
from bertedge.predictor import NO_LABEL, Batch, Predictor
from bertedge.progress import Listener, unheard

#: What needs more than is kept.
LEFT_OUT = frozenset({"mlm.top5_agreement"})
QUICK_METRICS = tuple(name for name in METRICS if name not in LEFT_OUT)
#: Bytes of probabilities that are kept on the disk; the reference of a larger sample runs again for every candidate.
MAX_KEPT_BYTES = 2**30


@dataclass(frozen=True, kw_only=True, eq=False)
class _Expected:
    """One batch: probabilities (M, V) at masked positions, numbers that follow from them (M,), and for pairs (P, 2)."""

    probabilities: NDArray[np.float32] | None
    negentropy: NDArray[np.float32]
    best: NDArray[np.int64]
    nll: NDArray[np.float32]
    pairs: Logits | None


class Recorded:
    """A reference on a sample.

    Args:
        folder: where probabilities are kept until nobody needs them; the caller clears it away.

    Attributes:
        texts, positions: how many texts there are, and how many masked positions in them.
    """

    def __init__(
        self,
        reference: Predictor,
        batches: Sequence[Batch],
        folder: Path,
        listen: Listener = unheard,
    ) -> None:
        self._reference, self._batches, self._folder = reference, batches, folder
        self.texts = sum(len(batch.input_ids) for batch in batches)
        self.positions = int(sum((batch.masked_labels != NO_LABEL).sum() for batch in batches))
        self._records: list[_Expected | None] = []
        kept = 0
        for index, batch in enumerate(batches):
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
        collector = Collector()
        for index, batch in enumerate(self._batches):
            expected, got = self._expected(index), candidate.predict(batch)
            mlm = None
            if expected.probabilities is not None and got.mlm_logits is not None:
                filled = batch.masked_labels != NO_LABEL
                mlm = _mlm(expected, got.mlm_logits[filled], batch.masked_labels[filled])
            collector.add(batch, mlm=mlm, nsp=nsp_quantities(batch, expected.pairs, got.nsp_logits))
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
        none = np.zeros(0, dtype=np.float32)
        if outputs.mlm_logits is None:
            return _Expected(
                probabilities=None, negentropy=none, best=none.astype(np.int64), nll=none, pairs=outputs.nsp_logits
            )
        filled = batch.masked_labels != NO_LABEL
        logits, labels = outputs.mlm_logits[filled], batch.masked_labels[filled]
        log_p = log_softmax(logits)
        p = np.exp(log_p)
        return _Expected(
            probabilities=p,
            negentropy=np.einsum("mv,mv->m", p, log_p),
            best=logits.argmax(axis=1),
            nll=-log_p[np.arange(len(labels)), labels],
            pairs=outputs.nsp_logits,
        )

    def _stored(self, index: int, record: _Expected) -> _Expected:
        """The record with its probabilities on the disk."""
        if record.probabilities is None:
            return record
        np.save(self._path(index), record.probabilities)
        return replace(record, probabilities=np.zeros((0, 0), dtype=np.float32))

    def _path(self, index: int) -> Path:
        return self._folder / f"probabilities-{index}.npy"


def quick_estimates(seen: Observations) -> dict[str, MetricValue]:
    """The metrics that follow from what :meth:`Recorded.observe` sees, with their intervals."""
    return estimate_all(seen, names=QUICK_METRICS)


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
    return replace(
        seen,
        mlm=seen.mlm | {name: judge.mlm[name] for name in ("reference_hit", "reference_nll") if name in judge.mlm},
        nsp=seen.nsp | {name: judge.nsp[name] for name in ("reference_hit",) if name in judge.nsp},
    )
