"""Makes and measures candidates. Keeps the float models, the text and other data between candidates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.data.held_out import drawn_sample, hold_out, warn_if_short
from bertedge.errors import UsageError
from bertedge.evaluate.bootstrap import Observations, estimate_all
from bertedge.evaluate.latency import Timing, Workload, interleave, paired_ratio, workload_batch
from bertedge.evaluate.recorded import Recorded
from bertedge.metric import MetricValue
from bertedge.predictor import Batch
from bertedge.progress import Listener
from bertedge.quantization import export, quantize, sensitivity
from bertedge.quantization.promote import HELD_OUT
from bertedge.quantization.result_cache import Cache
from bertedge.quantization.sensitivity import Sensitivity
from bertedge.recipe import QuantizationRecipe
from bertedge.runtime import BertRuntime, load
from bertedge.tuning.measured import Timed
from bertedge.tuning.tuning_settings import TuneSettings

#: The most tokens of a text that losses are measured on.
MAX_LENGTH = 128


class Workbench:
    """Makes and measures candidates. Float models and samples are made when they are first needed.

    Args:
        scratch: a folder that is removed at the end.
    """

    def __init__(
        self, checkpoints: Sequence[Checkpoint], settings: TuneSettings, scratch: Path, listen: Listener
    ) -> None:
        self.checkpoints, self.settings, self.scratch, self.listen = checkpoints, settings, scratch, listen
        self._calibration = Path(settings.calibration) if settings.calibration else None
        self._floats: dict[int, BertRuntime] = {}
        self._recorded: dict[int, Recorded] = {}
        self._cache: tuple[int, Cache] = (-1, Cache())
        self._require_one_vocabulary()
        shortest = min(checkpoint.config.max_length for checkpoint in checkpoints)
        if settings.length > shortest:
            raise UsageError(
                f"--length {settings.length}: the models read {shortest} tokens at most",
                f"for instance --length {shortest}",
            )
        self._longest = min(MAX_LENGTH, shortest)

    def _require_one_vocabulary(self) -> None:
        first, *others = self.checkpoints
        for other in others:
            if other.tokenizer.vocabulary() != first.tokenizer.vocabulary():
                raise UsageError(
                    f"{other.name}: has another vocabulary than {first.name}, so that their words cannot be compared",
                    "tune it in a search of its own",
                )

    @cached_property
    def text(self) -> TokenizedCorpus:
        """The text that losses are measured on."""
        tokenizer = self.checkpoints[0].tokenizer
        if self.settings.corpus is not None:
            return tokenize_corpus(Path(self.settings.corpus), tokenizer)
        return hold_out(tokenize_corpus(self._calibration or default_text(), tokenizer), HELD_OUT)[1]

    @cached_property
    def _layout(self) -> Layout:
        first = self.checkpoints[0]
        return Layout.of(first.tokenizer, min(checkpoint.config.vocab_size for checkpoint in self.checkpoints))

    @cached_property
    def _batches(self) -> list[Batch]:
        kept_back = f"the part of {(self._calibration or default_text()).name} that is held out"
        sample: dict[str, Any] = {
            "examples": self.settings.examples,
            "max_length": self._longest,
            "seed": self.settings.seed,
            "pairs": any(checkpoint.reads_pairs for checkpoint in self.checkpoints),
        }
        warn_if_short(self.text, name=Path(self.settings.corpus).name if self.settings.corpus else kept_back, **sample)
        return drawn_sample(self.text, self._layout, **sample)

    @cached_property
    def _call(self) -> Batch:
        """The batch that is timed."""
        workload = Workload(batch_size=self.settings.batch_size, seq_len=self.settings.length)
        return workload_batch(workload, self.text, self._layout)

    @cached_property
    def _judge(self) -> Observations:
        """The hits of the first model."""
        return self._record(0).itself()

    def make(self, model: int, recipe: QuantizationRecipe, folder: Path, promoted: dict[str, str]) -> Bundle:
        """Write the bundle of a candidate; ``promoted`` as for ``quantize``."""
        return quantize(
            self.checkpoints[model],
            folder,
            target=self.settings.target,
            recipe=recipe,
            calibration=self._calibration,
            promoted=promoted,
            cache=self._cache_of(model),
            force=True,
            listen=self.listen,
        )

    def layers(self, model: int, recipe: QuantizationRecipe) -> Sensitivity:
        """The loss of each layer of a candidate."""
        return sensitivity(
            self.checkpoints[model],
            target=self.settings.target,
            recipe=recipe,
            calibration=self._calibration,
            cache=self._cache_of(model),
            listen=self.listen,
        )

    def fidelity(self, model: int, bundle: Bundle) -> dict[str, MetricValue]:
        """The difference of a candidate from its own float model, and the hits lost against the first model."""
        candidate = _loaded(bundle.folder, max(self.settings.numbers))
        return estimate_all(self._record(model).observe(candidate, judge=self._judge))

    def float_fidelity(self, model: int) -> dict[str, MetricValue]:
        """The result of :meth:`fidelity` for a model in float32."""
        return estimate_all(self._record(model).observe(self._float(model), judge=self._judge))

    def time(self, bundles: Sequence[tuple[Path, int]], *, rounds: int) -> list[Timed]:
        """Time bundles, each with a number of threads, in turn with the first float model and with each other."""
        runtimes = [_loaded(folder, threads) for folder, threads in bundles]
        calls = [partial(model.predict, self._call) for model in (self._float(0), *runtimes)]
        reference, *timings = interleave(calls, rounds=rounds)
        threads = [threads for _, threads in bundles]
        return [_timed(own, reference, count) for own, count in zip(timings, threads, strict=True)]

    def _float(self, model: int) -> BertRuntime:
        if model not in self._floats:
            folder = self.scratch / f"float-{model}"
            export(self.checkpoints[model], folder)
            self._floats[model] = _loaded(folder, max(self.settings.numbers))
        return self._floats[model]

    def _record(self, model: int) -> Recorded:
        if model not in self._recorded:
            folder = self.scratch / f"recorded-{model}"
            folder.mkdir()
            settings = self.checkpoints[model].parts.settings
            self._recorded[model] = Recorded(self._float(model), self._batches, folder, self.listen, settings=settings)
        return self._recorded[model]

    def _cache_of(self, model: int) -> Cache:
        """The cache of one model; the caches of several would take too much memory."""
        if self._cache[0] != model:
            self._cache = (model, Cache())
        return self._cache[1]


def _loaded(folder: Path, threads: int) -> BertRuntime:
    """Load a bundle of this search. Its hashes and target need no check, because it was just made for this CPU."""
    return load(folder, threads=threads, check=False, allow_any_cpu=True)


def _timed(own: Timing, reference: Timing, threads: int) -> Timed:
    p50, p95 = (float(quantile) for quantile in np.quantile(own.calls, [0.5, 0.95]))
    ratio = paired_ratio(own.blocks, reference.blocks)
    samples = tuple(round(float(block), 4) for block in own.blocks)
    return Timed(threads=threads, p50_ms=p50, p95_ms=p95, calls=len(own.calls), ratio=ratio, samples_ms=samples)
