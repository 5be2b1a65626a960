"""Makes and measures candidates. Keeps the float models, the text and other data between candidates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.data.text_source import TextSource, read_text
from bertedge.errors import UsageError
from bertedge.evaluate.bootstrap import Observations, estimate_all
from bertedge.evaluate.latency import Timing, Workload, interleave, paired_ratio, workload_batch
from bertedge.evaluate.recorded import Recorded
from bertedge.heads.parts import Parts
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

#: Candidates are measured on the reference, as ``quantize`` measures goals and losses: it runs every method.
ENGINE = "onnxruntime"
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
    def text(self) -> TextSource:
        """The text that losses are measured on."""
        first, settings = self.checkpoints[0], self.settings
        file = settings.corpus or self._calibration
        text = read_text(file, first.tokenizer, self._parts, vocab_size=self._vocab_size, columns=settings.columns)
        return text if settings.corpus is not None else text.hold_out(HELD_OUT)[1]

    @property
    def _vocab_size(self) -> int:
        return min(checkpoint.config.vocab_size for checkpoint in self.checkpoints)

    @property
    def _parts(self) -> Parts:
        """The parts of the first model, with the heads of all models."""
        return self.checkpoints[0].parts.with_heads([head for other in self.checkpoints for head in other.heads])

    @cached_property
    def _batches(self) -> list[Batch]:
        size: dict[str, int] = {"max_length": self._longest, "seed": self.settings.seed}
        self.text.warn_if_short(self.settings.examples, **size)
        return self.text.sample(self.settings.examples, **size)

    @cached_property
    def _call(self) -> Batch:
        """The batch that is timed."""
        workload = Workload(batch_size=self.settings.batch_size, seq_len=self.settings.length)
        tokenizer = self.checkpoints[0].tokenizer
        layout = Layout.of(tokenizer, self._vocab_size, hidden=self._parts.reads_every)
        return workload_batch(workload, tokenize_corpus(default_text(), tokenizer), layout)

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
            columns=self.settings.columns,
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
            columns=self.settings.columns,
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
    return load(folder, engine=ENGINE, threads=threads, check=False, allow_any_cpu=True)


def _timed(own: Timing, reference: Timing, threads: int) -> Timed:
    p50, p95 = (float(quantile) for quantile in np.quantile(own.calls, [0.5, 0.95]))
    ratio = paired_ratio(own.blocks, reference.blocks)
    samples = tuple(round(float(block), 4) for block in own.blocks)
    return Timed(threads=threads, p50_ms=p50, p95_ms=p95, calls=len(own.calls), ratio=ratio, samples_ms=samples)
