"""``bench``: candidates beside their float reference, in one run."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bertedge.bundle import Bundle
from bertedge.checkpoint import open_checkpoint
from bertedge.data.batches import Layout, next_sentence_classes
from bertedge.data.calibration import default_text
from bertedge.data.corpus import read_sentences, tokenize_corpus
from bertedge.data.files import text_sha256
from bertedge.embedding import pooling_of
from bertedge.errors import UsageError
from bertedge.evaluate.bootstrap import estimate_all, estimate_changes
from bertedge.evaluate.clipping import LayerClipping, measure_clipping
from bertedge.evaluate.details import Details
from bertedge.evaluate.fidelity import Kind, evaluation_batches, invariance, kinds_of_texts, metrics_of, observe_all
from bertedge.evaluate.latency import DEFAULT_GRID, LatencyReport, Workload, workload_name
from bertedge.evaluate.machine import this_machine
from bertedge.evaluate.memory import STARTS, ColdStart, measure_cold_start
from bertedge.evaluate.metrics import PADDED_FILE, Change, MetricValue
from bertedge.evaluate.stability import Snapshot, Stability, stability
from bertedge.evaluate.study import Effort, LatencyStudy, Reports
from bertedge.manifest import MANIFEST
from bertedge.progress import Listener, unheard
from bertedge.quantization import export
from bertedge.recipe import require_examples
from bertedge.report.budget import DEFAULTS, LATENCY, LATENCY_MS, Budgets
from bertedge.report.gate import judge, require_judgeable
from bertedge.report.report import SCHEMA_VERSION, CandidateReport, CorpusInfo, KindFidelity, Report
from bertedge.runtime import BertRuntime, load
from bertedge.runtime.threads import checked_threads
from bertedge.scratch import temporary_folder

#: Pairs of each shorter length that are compared: a chart of them needs no more, and there are several lengths.
SHORT_EXAMPLES = 256
#: Batches of each kind of texts that clipping is counted on.
CLIPPED_BATCHES = 4
#: Where there is nothing to judge by, rounds go on until every ratio's interval reaches so far to each side.
WANTED_PRECISION = 0.025
#: Sentences that tokenizers are compared on.
TOKENIZED_SENTENCES = 1000
#: Shares of the progress bar: comparing outputs, and those of shorter texts, timing, profiles, cold starts.
COMPARED, SHORTENED, TIMED, PROFILED = 0.2, 0.4, 0.9, 0.93


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """How much to measure.

    Attributes:
        examples: sentence pairs that outputs are compared on.
        max_length: tokens of a pair at most.
        effort: timed rounds of each workload.
        threads: threads an operator may use; None for what :func:`bertedge.load` takes.
        starts: fresh processes of each model.
    """

    examples: int = 256
    max_length: int = 128
    effort: Effort = field(default_factory=Effort)
    grid: tuple[Workload, ...] = DEFAULT_GRID
    threads: int | None = None
    seed: int = 0
    starts: int = STARTS

    def __post_init__(self) -> None:
        require_examples(self.examples)
        if self.max_length < 8 or self.starts < 1:
            raise UsageError(f"bench: {self.max_length} tokens, {self.starts} starts", "at least 8 tokens, and 1 start")
        checked_threads(self.threads)


@dataclass(frozen=True, kw_only=True)
class Standard:
    """What candidates will be judged by: an earlier report, a bundle that is measured beside them, or times by this
    and the rest by that.

    While a latency verdict is inconclusive, measuring goes on.
    """

    baseline: Report | None = None
    against: str | Path | None = None
    budgets: Budgets = field(default_factory=lambda: dict(DEFAULTS))


def bench(
    candidates: Sequence[str | Path],
    *,
    reference: str | Path,
    corpus: str | Path | None = None,
    cased: bool | None = None,
    settings: BenchSettings | None = None,
    standard: Standard | None = None,
    listen: Listener = unheard,
    keep: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Measure size, start, latency and fidelity of bundles against their float model.

    Args:
        reference: a checkpoint (its float32 graph is built for the occasion) or a bundle.
        corpus: text to compare on; default: the text that ships with bertedge.
        cased: whether the tokenizer of a checkpoint keeps capital letters; default: what its files say.
        keep: is given what was measured by then if the run is interrupted or fails; the exception then goes on.

    Raises:
        UsageError: a candidate has another vocabulary than the reference, or the standard cannot judge them (see
            :func:`bertedge.report.gate.require_judgeable`).
        BertEdgeError: a model or the corpus cannot be read.
    """
    if not candidates:
        raise UsageError("bench: there is no candidate", "name a bundle")
    with temporary_folder() as scratch:
        run = _Run(
            candidates,
            reference=reference,
            text=Path(corpus) if corpus else default_text(),
            settings=settings or BenchSettings(),
            standard=standard or Standard(),
            scratch=scratch,
            cased=cased,
        )
        try:
            run.compare(listen)
            run.shorten(listen)
            run.time(listen)
            run.profile(listen)
            run.start(listen)
        except BaseException:  # Ctrl-C and SIGTERM among them
            keep(run.report())
            raise
        return run.report()


class _Run:
    """What is measured, step by step; a report can be made of it at any moment."""

    def __init__(
        self,
        candidates: Sequence[str | Path],
        *,
        reference: str | Path,
        text: Path,
        settings: BenchSettings,
        standard: Standard,
        scratch: Path,
        cased: bool | None,
    ) -> None:
        self.settings, self.standard = settings, standard
        self.threads = checked_threads(settings.threads)
        earlier = [standard.against] if standard.against else []
        self.models = [
            float_reference(reference, scratch, self.threads, cased=cased),
            *(load(folder, threads=self.threads) for folder in (*candidates, *earlier)),
        ]
        require_one_vocabulary(self.models)
        require_one_tokenizer(self.models, text)
        first = self.models[0]
        self.bundles = [model.bundle for model in self.models]
        own = [bundle.folder for bundle in self.bundles[1 : 1 + len(candidates)]]
        self.names = [first.name, *distinct_names(own), *(model.name for model in self.models[1 + len(own) :])]
        self.tokenized = tokenize_corpus(text, first.tokenizer)
        self.layout = Layout.of(first.tokenizer, first.bundle.config.vocab_size)
        longest = first.bundle.config.max_position_embeddings
        length = min(settings.max_length, longest)
        self.longest, self.pooling = longest, pooling_of(first.bundle.manifest.embedding)
        self.kinds = kinds_of_texts(first.bundle.manifest.heads, self.tokenized)
        self.samples = {
            kind: evaluation_batches(
                self.tokenized,
                self.layout,
                examples=settings.examples,
                max_length=length,
                seed=settings.seed,
                kind=kind,
            )
            for kind in self.kinds
        }
        self.batches = self.samples[self.kinds[0]]
        self.corpus = CorpusInfo(
            name=text.name,
            sha256=text_sha256(text),
            examples=sum(len(batch.input_ids) for batch in self.batches),
            max_length=length,
            seed=settings.seed,
            next_sentence=bool(next_sentence_classes(self.batches)),
            kind=self.kinds[0],
        )
        self.study = LatencyStudy(
            [partial(load, bundle.folder, threads=self.threads, check=False) for bundle in self.bundles],
            _fitting(settings.grid, longest),
            self.tokenized,
            self.layout,
            threads=self.threads,
            effort=settings.effort,
            seed=settings.seed,
        )
        self.fidelity: list[dict[str, MetricValue]] = [{} for _ in self.bundles]
        self.changes: list[dict[str, Change]] = [{} for _ in self.bundles]
        self.by_kind: list[tuple[KindFidelity, ...]] = [() for _ in self.bundles]
        self.clipping: list[tuple[LayerClipping, ...] | None] = [None for _ in self.bundles]
        self.details = Details(len(self.bundles), first.tokenizer)
        self.before: Snapshot | None = None
        self.after: Snapshot | None = None
        self.starts: dict[int, ColdStart] = {}
        if standard.baseline or standard.against:
            require_judgeable(self.report(), standard.baseline, standard.budgets)

    def _no_pairs(self) -> str | None:
        """Why next sentences cannot be judged on this text; None if they can."""
        if self.corpus.next_sentence:
            return None
        reason = self.tokenized.why_no_pairs
        if reason is None:
            return (
                f"the pairs of {self.corpus.name} are not of both kinds, next and random; compare more or longer texts"
            )
        return f"{self.corpus.name} {reason}; next sentences are judged where blank lines divide longer documents"

    def compare(self, listen: Listener) -> None:
        """Outputs of every model with the reference's, on texts of each kind."""
        for place, kind in enumerate(self.kinds):
            self._compare(
                kind,
                lambda share, note, place=place: listen(  # type: ignore[misc]
                    COMPARED * (place + share) / len(self.kinds), note
                ),
            )
        for index, bundle in enumerate(self.bundles[1:], start=1):
            every = [batch for kind in self.kinds for batch in self.samples[kind][:CLIPPED_BATCHES]]
            self.clipping[index] = measure_clipping(bundle, every, threads=self.threads)

    def _compare(self, kind: Kind, listen: Listener) -> None:
        first, *others = self.models
        batches = self.samples[kind]
        seen = observe_all(first, others, batches, listen, watch=self.details.watch, pooling=self.pooling)
        for index, (model, observations) in enumerate(zip(others, seen, strict=True), start=1):
            judged = self.standard.against and model is not others[-1]
            changes = estimate_changes(observations, seen[-1]) if judged else {}
            if kind == self.kinds[0]:
                padded = invariance(model.padded(), batches[0], PADDED_FILE)
                self.fidelity[index] = {**metrics_of(model, observations, batches[0]), **padded}
                self.changes[index] = changes
            else:
                self._add_kind(index, kind, estimate_all(observations), changes)

    def _add_kind(self, index: int, kind: Kind, found: dict[str, MetricValue], changes: dict[str, Change]) -> None:
        """Keep what was found on a further kind of texts.

        The vectors of texts are measured on single texts only, so there they count as the main numbers.
        """
        texts = sum(len(batch.input_ids) for batch in self.samples[kind])
        vectors = {name for name in found if name.startswith("embedding.")}
        self.fidelity[index] |= {name: found.pop(name) for name in sorted(vectors)}
        self.changes[index] |= {name: changes.pop(name) for name in sorted(vectors & changes.keys())}
        entry = KindFidelity(kind=kind, texts=texts, fidelity=found, changes=changes)
        self.by_kind[index] = (*self.by_kind[index], entry)

    def shorten(self, listen: Listener) -> None:
        """Outputs on texts of other lengths."""
        self.details.shorten(
            self.models,
            self.tokenized,
            self.layout,
            (self.batches, self.fidelity),
            examples=min(self.settings.examples, SHORT_EXAMPLES),
            max_length=self.corpus.max_length,
            longest=self.longest,
            kind=self.kinds[0],
            seed=self.settings.seed,
            listen=lambda share, note: listen(COMPARED + (SHORTENED - COMPARED) * share, note),
        )

    def time(self, listen: Listener) -> None:
        """Rounds of all models, until enough is known."""
        self.models = []  # every sitting loads its own
        self.before = Snapshot.now()
        try:
            self.study.run(
                self._settled, lambda share, note: listen(SHORTENED + (TIMED - SHORTENED) * min(share, 1.0), note)
            )
        finally:
            self.after = Snapshot.now()

    def _settled(self, reports: Reports) -> bool:
        """Whether more rounds would change no verdict."""
        if self.standard.baseline or self.standard.against:
            budgets = self.standard.budgets
            limits = {metric: budgets[metric] for metric in (LATENCY, LATENCY_MS) if metric in budgets}
            verdicts = judge(self.report(), self.standard.baseline, limits)
            return not any(verdict.undecided for verdict in verdicts)
        ratios = [entry.ratio_to_reference for model in reports[1:] for entry in model]
        return all(math.log(max(r.high / r.value, r.value / r.low)) <= WANTED_PRECISION for r in ratios)

    def profile(self, listen: Listener) -> None:
        """What each operator takes."""
        self.details.profile(
            self.bundles,
            self.study.grid,
            self.tokenized,
            self.layout,
            threads=self.threads,
            listen=lambda share, note: listen(TIMED + (PROFILED - TIMED) * share, note),
        )

    def start(self, listen: Listener) -> None:
        """Fresh processes."""
        for index, bundle in enumerate(self.bundles):
            listen(PROFILED + (1 - PROFILED) * index / len(self.bundles), "cold starts")
            self.starts[index] = measure_cold_start(bundle.folder, threads=self.threads, repeats=self.settings.starts)

    def report(self) -> Report:
        """What is known by now."""
        latency = self.study.reports()
        rows = [self._row(index, times) for index, times in enumerate(latency)]
        end = -1 if self.standard.against else None
        missing = tuple(self._missing())
        return Report(
            schema_version=SCHEMA_VERSION,
            machine=this_machine(),
            corpus=self.corpus,
            reference=rows[0],
            candidates=tuple(rows[1:end]),
            skipped=_skipped(self.names, self.bundles, self._no_pairs()),
            against=rows[-1] if self.standard.against else None,
            stability=self._stability(latency[0]),
            complete=not missing,
            missing=missing,
        )

    def _stability(self, reference: tuple[LatencyReport, ...]) -> Stability | None:
        if self.before is None or not reference:
            return None
        return stability(self.before, self.after or Snapshot.now(), reference)

    def _missing(self) -> list[str]:
        missing = [] if all(self.fidelity[1:]) else ["fidelity"]
        missing += [] if all(self.details.by_length[1:]) else ["fidelity by length"]
        missing += [f"latency {workload_name(w)}" for w in self.study.missing()]
        missing += [] if all(self.details.profiles) else ["profile"]
        return missing + ([] if len(self.starts) == len(self.bundles) else ["cold start"])

    def _row(self, index: int, latency: tuple[LatencyReport, ...]) -> CandidateReport:
        bundle, start = self.bundles[index], self.starts.get(index)
        return CandidateReport(
            name=self.names[index],
            target=bundle.manifest.target,
            size_bytes=bundle.size_bytes,
            peak_rss_bytes=start.peak_rss_bytes if start else None,
            cold_start_ms=start.cold_start_ms if start else None,
            cold_start_samples_ms=start.samples_ms if start else (),
            coverage=bundle.manifest.coverage,
            fidelity=self.fidelity[index],
            latency=latency,
            manifest=bundle.manifest,
            changes=self.changes[index],
            by_kind=self.by_kind[index],
            clipping=self.clipping[index],
            by_length=self.details.by_length[index],
            disagreements=self.details.disagreements(index),
            profile=self.details.profiles[index],
        )


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, and as many before it as tell it from the others; the same folder is numbered."""
    paths = [Path(os.path.abspath(folder)) for folder in folders]  # a link keeps its name

    def tail(path: Path, parts: int) -> str:
        return "/".join(path.parts[-parts:])

    names = []
    for index, path in enumerate(paths):
        others = set(paths) - {path}
        parts = next(n for n in range(1, len(path.parts) + 1) if all(tail(path, n) != tail(o, n) for o in others))
        again = paths[:index].count(path)
        names.append(tail(path, parts) + (f" ({again + 1})" if again else ""))
    return names


def _skipped(names: Sequence[str], bundles: Sequence[Bundle], no_pairs: str | None) -> dict[str, str]:
    """What no candidate could be compared on, and why.

    Args:
        no_pairs: why the text has no next-sentence pairs; None if it has.
    """
    reasons = {}
    for head, words in (("mlm", "masked-word"), ("nsp", "next-sentence")):
        there = [head in bundle.manifest.heads for bundle in bundles]
        if not there[0] or not any(there[1:]):
            without = [name for name, has in zip(names, there, strict=True) if not has]
            reasons[head] = f"no {words} head in {', '.join(without)}"
    if no_pairs is not None:
        reasons.setdefault("nsp", no_pairs)
    return reasons


def float_reference(reference: str | Path, scratch: Path, threads: int, *, cased: bool | None = None) -> BertRuntime:
    """A float bundle: the one given, or one made of the checkpoint given, under its name."""
    if (Path(reference) / MANIFEST).is_file():
        opened = load(reference, threads=threads)
        if opened.bundle.manifest.recipe is not None:
            raise UsageError(
                f"{reference}: is int8, a reference must be float32",
                "name the checkpoint, or a bundle made by bertedge export",
            )
        if cased is not None:
            raise UsageError(f"{reference}: is a bundle, whose casing is fixed", "leave out --cased and --uncased")
        return opened
    checkpoint = open_checkpoint(reference, cased=cased)
    folder = scratch / checkpoint.name
    export(checkpoint, folder)
    return load(folder, threads=threads, check=False)


def _fitting(grid: tuple[Workload, ...], longest: int) -> list[Workload]:
    """The workloads that the model can read; longer ones of the default are left out, others are an error."""
    too_long = [workload.seq_len for workload in grid if workload.seq_len > longest]
    if too_long and grid != DEFAULT_GRID:
        raise UsageError(f"a workload has {max(too_long)} tokens, the model reads {longest}", "shorten it in --lengths")
    fitting = [workload for workload in grid if workload.seq_len <= longest]
    return fitting or [Workload(batch_size=1, seq_len=longest)]


def require_one_vocabulary(models: Sequence[BertRuntime]) -> None:
    """Refuse candidates that cannot be compared with the first model.

    Raises:
        UsageError: one has another vocabulary.
    """
    reference = models[0]
    for model in models[1:]:
        own, others = model.tokenizer.vocabulary(), reference.tokenizer.vocabulary()
        if own != others:
            trimmed = f"export the reference with --keep-vocab {len(own)} and the same text, and name that bundle"
            raise UsageError(
                f"{model.name}: has another vocabulary than the reference {reference.name}",
                trimmed if set(own) < set(others) else "compare it with the model it was made of",
            )


def require_one_tokenizer(models: Sequence[BertRuntime], text: Path) -> None:
    """Refuse candidates whose users get other pieces than those that all are measured on, the first model's.

    Raises:
        UsageError: one cuts the first sentences of the text into other pieces, though it has the same ones.
        CorpusError: the text cannot be read.
    """
    reference, *others = models
    strangers = [model for model in others if model.tokenizer.sha256 != reference.tokenizer.sha256]
    if not strangers:
        return
    lines = [sentence for _, sentence in itertools.islice(read_sentences(text), TOKENIZED_SENTENCES)]
    expected = [encoding.input_ids for encoding in reference.tokenizer.encode_many(lines)]
    for model in strangers:
        if [encoding.input_ids for encoding in model.tokenizer.encode_many(lines)] != expected:
            raise UsageError(
                f"{model.name}: cuts {text.name} into other pieces than the reference {reference.name}",
                "its rules for case or accents are others: bench with --cased or --uncased if it was made so, or "
                "make the bundle again from this checkpoint",
            )
