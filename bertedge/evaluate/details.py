"""Parts of a report that no verdict uses: fidelity by length, worst disagreements, time of each operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bertedge.bundle import Bundle
from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus
from bertedge.engines import Engine
from bertedge.evaluate.disagreements import Disagreements, WorstCases
from bertedge.evaluate.fidelity import Kind
from bertedge.evaluate.latency import Workload, workload_batch
from bertedge.evaluate.lengths import LENGTHS, LengthFidelity, at_length, measure_by_length
from bertedge.evaluate.profile import Profile, profile_bundle
from bertedge.metric import MetricValue
from bertedge.predictor import Batch, Outputs, Predictor
from bertedge.progress import Listener
from bertedge.tokenizer import Tokenizer


class Details:
    """Collects the details of several models. The first model is the reference.

    Attributes:
        by_length: fidelity by length of each model; empty for the reference, and before it is measured.
        profiles: index of a measured model -> its profile; None if its engine has no profiler.
    """

    def __init__(self, models: int, tokenizer: Tokenizer, settings: Any) -> None:
        self._worst = [WorstCases(tokenizer, settings) for _ in range(models)]
        self.by_length: list[tuple[LengthFidelity, ...]] = [() for _ in range(models)]
        self.profiles: dict[int, Profile | None] = {}

    def disagreements(self, index: int) -> Disagreements:
        """The cases in which a model differs most from the reference."""
        return self._worst[index].found()

    def watch(self, place: int, batch: Batch, expected: Outputs, got: Outputs) -> None:
        """For :func:`bertedge.evaluate.fidelity.measure_fidelity`; ``place`` 0 is the first candidate."""
        self._worst[place + 1].add(batch, expected, got)

    def compare_lengths(
        self,
        models: Sequence[Predictor],
        corpus: TokenizedCorpus,
        layout: Layout,
        whole: tuple[Sequence[Batch], Sequence[dict[str, MetricValue]]],
        *,
        examples: int,
        max_length: int,
        longest: int,
        seed: int,
        kind: Kind,
        settings: Any,
        listen: Listener,
    ) -> None:
        """Measure fidelity on texts of other lengths, shorter and longer.

        Args:
            whole: the main sample of texts up to ``max_length``, and each model's fidelity on it.
            longest: the most tokens that the models can read.
        """
        reference, *candidates = models
        batches, fidelity = whole
        others = [length for length in LENGTHS if length <= longest and length != max_length]
        measured = measure_by_length(
            reference,
            candidates,
            corpus,
            layout,
            examples=examples,
            lengths=others,
            seed=seed,
            kind=kind,
            settings=settings,
            listen=listen,
        )
        for index, lengths in enumerate(measured, start=1):
            every = (*lengths, at_length(max_length, batches, fidelity[index]))
            self.by_length[index] = tuple(sorted(every, key=lambda entry: entry.max_length))

    def profile(
        self,
        models: Sequence[tuple[Bundle, Engine]],
        grid: Sequence[Workload],
        corpus: TokenizedCorpus,
        layout: Layout,
        *,
        threads: int,
        seconds: float,
        listen: Listener,
    ) -> None:
        """Time each operator on the longest workload of one text; without one, on the last workload."""
        alone = [workload for workload in grid if workload.batch_size == 1]
        workload = max(alone, key=lambda one: one.seq_len) if alone else grid[-1]
        batch = workload_batch(workload, corpus, layout)
        for index, (bundle, engine) in enumerate(models):
            listen(index / len(models), "profiles")
            profile = profile_bundle(bundle, batch, engine=engine, threads=threads, seconds=seconds)
            self.profiles[index] = profile
