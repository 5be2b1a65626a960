"""A reference's answers on a sample. They are kept, so that many candidates can be compared with them in turn.

The metrics are those of :func:`bertedge.evaluate.fidelity.measure_fidelity`, except those that need most time or
memory. The reference runs once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bertedge.evaluate.bootstrap import Observations, Seen
from bertedge.evaluate.collector import Collector, Readings, read_outputs
from bertedge.heads import HEADS
from bertedge.metric import Floats
from bertedge.predictor import Batch, Predictor
from bertedge.progress import Listener, no_progress

#: The most bytes to keep on the disk. For a larger sample, the reference runs again for every candidate.
MAX_KEPT_BYTES = 2**30


class Recorded:
    """A reference on a sample.

    Args:
        folder: for the kept answers; the caller deletes it.
        settings: those of the model's heads, as :data:`bertedge.heads.parts.HeadSettings`.

    Attributes:
        texts, positions: number of texts, and of masked positions in them.
    """

    def __init__(
        self,
        reference: Predictor,
        batches: Sequence[Batch],
        folder: Path,
        listen: Listener = no_progress,
        *,
        settings: Any = None,
    ) -> None:
        self._reference, self._settings = reference, settings
        self._batches = [replace(batch, hidden=True) for batch in batches]
        self.texts = sum(len(batch.input_ids) for batch in batches)
        self.positions = int(sum(batch.filled.sum() for batch in batches))
        self._kept: list[Path | None] = []
        size = 0
        for index, batch in enumerate(self._batches):
            kept = self._run(batch)
            size += sum(array.nbytes for arrays in kept.values() for array in arrays.values())
            path = folder / f"reference-{index}.npz" if size <= MAX_KEPT_BYTES else None
            if path is not None:
                self._write(kept, path)
            self._kept.append(path)
            listen((index + 1) / len(batches), f"the float model {index + 1}/{len(batches)}")

    def observe(self, candidate: Predictor, *, judge: Observations | None = None) -> Observations:
        """The observations of a candidate and the reference.

        Args:
            judge: another model's observations on the same sample, from :meth:`itself`. The candidate's hits are
                compared with the hits of that model instead of the reference.
        """
        collector = Collector(self._settings)
        for batch, path in zip(self._batches, self._kept, strict=True):
            kept = self._run(batch) if path is None else self._read(path)
            collector.add_kept(batch, kept, candidate.predict(batch))
        seen = collector.observations()
        return seen if judge is None else _judged_by(judge, seen)

    def itself(self) -> Observations:
        """The observations of the reference compared with itself, which contain its hits."""
        return self.observe(self._reference)

    def _run(self, batch: Batch) -> Readings:
        read = read_outputs(batch, self._reference.predict(batch), self._settings)
        return {name: HEADS[name].keep(batch, arrays) for name, arrays in read.items()}

    def _write(self, kept: Readings, path: Path) -> None:
        arrays = {f"{head}.{name}": array for head, arrays in kept.items() for name, array in arrays.items()}
        np.savez(path, allow_pickle=False, **arrays)

    def _read(self, path: Path) -> Readings:
        found: Readings = {}
        with np.load(path, allow_pickle=False) as stored:
            for key, array in stored.items():
                head, _, name = key.partition(".")
                found.setdefault(head, {})[name] = array
        return found


def _judged_by(judge: Observations, seen: Observations) -> Observations:
    """The observations with the hits of another model instead of the reference."""
    groups = {
        group: replace(own, values=own.values | _of_reference(judge.groups[group])) if group in judge.groups else own
        for group, own in seen.groups.items()
    }
    return replace(seen, groups=groups)


def _of_reference(seen: Seen) -> dict[str, Floats]:
    return {name: values for name, values in seen.values.items() if name.startswith("reference_")}
