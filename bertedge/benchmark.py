"""``bench``: candidates beside their float reference, in one run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertedge.bundle import MANIFEST, Bundle
from bertedge.checkpoint import locate
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.errors import UsageError
from bertedge.evaluate.fidelity import evaluation_batches, invariance, measure_fidelity
from bertedge.evaluate.latency import DEFAULT_GRID, LatencyReport, Workload, measure_latency
from bertedge.evaluate.machine import this_machine
from bertedge.evaluate.memory import measure_cold_start
from bertedge.evaluate.metrics import PADDED_FILE, MetricValue
from bertedge.quantization import export
from bertedge.records import sha256
from bertedge.report.report import SCHEMA_VERSION, CandidateReport, CorpusInfo, Report
from bertedge.runtime import BertRuntime, load
from bertedge.runtime.threads import usable_cpus

Listener = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """How much to measure.

    Attributes:
        examples: sentence pairs that outputs are compared on.
        max_length: tokens of a pair at most.
        rounds: timed rounds of each workload.
        threads: threads an operator may use; None for the CPUs that this process may use.
    """

    examples: int = 256
    max_length: int = 128
    rounds: int = 25
    grid: tuple[Workload, ...] = DEFAULT_GRID
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.examples < 1 or self.rounds < 2 or self.max_length < 8:
            raise UsageError(
                f"bench: {self.examples} examples, {self.rounds} rounds, {self.max_length} tokens",
                "at least 1 example of 8 tokens and 2 rounds",
            )


def bench(
    candidates: Sequence[str | Path],
    *,
    reference: str | Path,
    corpus: str | Path | None = None,
    settings: BenchSettings | None = None,
    listen: Listener = lambda share, text: None,
) -> Report:
    """Measure size, start, latency and fidelity of bundles against their float model.

    Args:
        reference: a checkpoint (its float32 graph is built for the occasion) or a bundle.
        corpus: text to compare on; default: the text that ships with bertedge.

    Raises:
        UsageError: a candidate has another vocabulary than the reference.
        BertEdgeError: a model or the corpus cannot be read.
    """
    settings = settings or BenchSettings()
    threads = settings.threads or usable_cpus()
    text = Path(corpus) if corpus else default_text()
    with tempfile.TemporaryDirectory() as scratch:
        models = [float_reference(reference, Path(scratch), threads), *(load(c, threads=threads) for c in candidates)]
        require_one_vocabulary(models)
        first = models[0]
        tokenized = tokenize_corpus(text, first.tokenizer)
        layout = Layout.of(first.tokenizer, first.bundle.config.vocab_size)
        longest = first.bundle.config.max_position_embeddings
        length = min(settings.max_length, longest)
        batches = evaluation_batches(
            tokenized, layout, examples=settings.examples, max_length=length, seed=settings.seed
        )
        fidelity = measure_fidelity(first, models[1:], batches, lambda share, note: listen(0.5 * share, note))
        for model, seen in zip(models[1:], fidelity, strict=True):
            seen[PADDED_FILE] = invariance(model.padded(), batches[0])
        grid = _fitting(settings.grid, longest)
        latency = measure_latency(
            models,
            grid,
            tokenized,
            layout,
            threads=threads,
            rounds=settings.rounds,
            listen=lambda share, note: listen(0.5 + 0.4 * share, note),
        )
        listen(0.9, "cold starts")
        rows = [
            _row(model, seen, times, threads)
            for model, seen, times in zip(models, [{}, *fidelity], latency, strict=True)
        ]
    return Report(
        schema_version=SCHEMA_VERSION,
        machine=this_machine(),
        corpus=CorpusInfo(
            name=text.name,
            sha256=sha256(text),
            examples=sum(len(batch.input_ids) for batch in batches),
            max_length=length,
            seed=settings.seed,
            next_sentence=tokenized.num_documents > 1,
        ),
        reference=rows[0],
        candidates=tuple(rows[1:]),
        skipped=_skipped(models, text.name, tokenized.num_documents),
    )


def _skipped(models: Sequence[BertRuntime], corpus: str, documents: int) -> dict[str, str]:
    """What no candidate could be compared on, and why."""
    reasons = {}
    for head, words in (("mlm", "masked-word"), ("nsp", "next-sentence")):
        there = [head in model.bundle.manifest.heads for model in models]
        if not there[0] or not any(there[1:]):
            without = [model.name for model, has in zip(models, there, strict=True) if not has]
            reasons[head] = f"no {words} head in {', '.join(without)}"
    if documents < 2:
        reasons["nsp"] = f"{corpus} is a single document; next-sentence pairs take two (a blank line between them)"
    return reasons


def float_reference(reference: str | Path, scratch: Path, threads: int) -> BertRuntime:
    """A float bundle: the one given, or one made of the checkpoint given, under its name."""
    if (Path(reference) / MANIFEST).is_file():
        opened = load(reference, threads=threads)
        if opened.bundle.manifest.recipe is not None:
            raise UsageError(
                f"{reference}: is int8, a reference must be float32",
                "name the checkpoint, or a bundle made by bertedge export",
            )
        return opened
    folder = scratch / locate(reference).resolve().name
    export(reference, folder)
    return load(folder, threads=threads, check=False)


def _fitting(grid: tuple[Workload, ...], longest: int) -> list[Workload]:
    """The workloads that the model can read; longer ones of the default are left out, others are an error."""
    too_long = [workload.seq_len for workload in grid if workload.seq_len > longest]
    if too_long and grid != DEFAULT_GRID:
        raise UsageError(f"a workload has {max(too_long)} tokens, the model reads {longest}", "shorten it in --lengths")
    return [workload for workload in grid if workload.seq_len <= longest]


def require_one_vocabulary(models: Sequence[BertRuntime]) -> None:
    """Refuse candidates that cannot be compared with the first model.

    Raises:
        UsageError: one has another vocabulary.
    """
    reference = models[0]
    for model in models[1:]:
        if model.tokenizer.vocabulary() != reference.tokenizer.vocabulary():
            raise UsageError(
                f"{model.name}: has another vocabulary than the reference {reference.name}",
                "compare it with the model it was made of",
            )


def _row(
    model: BertRuntime, fidelity: dict[str, MetricValue], latency: tuple[LatencyReport, ...], threads: int
) -> CandidateReport:
    bundle: Bundle = model.bundle
    start = measure_cold_start(bundle.folder, threads=threads)
    return CandidateReport(
        name=model.name,
        target=bundle.manifest.target,
        size_bytes=bundle.size_bytes,
        peak_rss_bytes=start.peak_rss_bytes,
        cold_start_ms=start.cold_start_ms,
        coverage=bundle.manifest.coverage,
        fidelity=fidelity,
        latency=latency,
    )
