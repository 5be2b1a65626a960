"""The steps of ``bench``: compare outputs, time calls, profile, and start processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bertedge.benchmark.bench_settings import BenchSettings, Standard
from bertedge.benchmark.bench_texts import EXAMPLES, BenchTexts, TextFiles
from bertedge.benchmark.models import (
    candidate_names,
    fitting,
    float_reference,
    require_one_tokenizer,
    require_one_vocabulary,
    skipped,
)
from bertedge.engines.threads import checked_threads
from bertedge.evaluate.bootstrap import estimate_all, estimate_changes
from bertedge.evaluate.clipping import LayerClipping, measure_clipping
from bertedge.evaluate.cold_start import ColdStart, measure_cold_start
from bertedge.evaluate.details import Details
from bertedge.evaluate.fidelity import Kind, metrics_of, observe_all
from bertedge.evaluate.invariance import invariance
from bertedge.evaluate.latency import LatencyReport, workload_name
from bertedge.evaluate.lengths import by_length
from bertedge.evaluate.machine_record import this_machine
from bertedge.evaluate.metrics import PADDED_FILE
from bertedge.evaluate.profile import PROFILE_S
from bertedge.evaluate.stability import Snapshot, Stability, stability
from bertedge.evaluate.study import LatencyStudy, Reports
from bertedge.heads import HEADS
from bertedge.metric import Change, MetricValue
from bertedge.progress import Listener
from bertedge.report.budget import LATENCY, LATENCY_MS
from bertedge.report.comparable import require_judgeable
from bertedge.report.gate import judge
from bertedge.report.schema import SCHEMA_VERSION, CandidateReport, KindFidelity, Report
from bertedge.runtime import load

#: The number of texts of each length; a chart needs no more.
SHORT_EXAMPLES = 256
#: Batches of each kind of texts that clipping is measured on.
CLIPPED_BATCHES = 4
#: Without a judge, rounds are added until the interval of every ratio extends at most this far to each side.
WANTED_PRECISION = 0.025
#: Progress at the end of each step: outputs, outputs on other lengths, times, profiles; cold starts end at 1.
COMPARED, SHORTENED, TIMED, PROFILED = 0.2, 0.4, 0.9, 0.93


class Measurement:
    """The state of a run. :meth:`report` can be called after any step."""

    def __init__(
        self,
        candidates: Sequence[str | Path],
        *,
        reference: str | Path,
        texts: TextFiles,
        settings: BenchSettings,
        standard: Standard,
        scratch: Path,
        cased: bool | None,
    ) -> None:
        self.settings, self.standard = settings, standard
        self.threads = checked_threads(settings.threads)
        wanted = [(folder, engine) for folder in candidates for engine in settings.engines]
        wanted += [(standard.against, settings.engines[0])] if standard.against else []
        self.models = [
            float_reference(reference, scratch, self.threads, cased=cased),
            *(load(folder, engine=engine, threads=self.threads) for folder, engine in wanted),
        ]
        require_one_vocabulary(self.models)
        require_one_tokenizer(self.models, texts.main)
        first = self.models[0]
        self.bundles = [model.bundle for model in self.models]
        self.engines = [model.engine for model in self.models]
        self.names = [first.name, *candidate_names(candidates, settings.engines)]
        self.names += [model.name for model in self.models[len(self.names) :]]
        self.texts = BenchTexts(texts, first, settings)
        self.head_settings = first.bundle.head_settings
        self.study = LatencyStudy(
            [
                partial(load, bundle.folder, engine=engine.name, threads=self.threads, check=False)
                for bundle, engine in zip(self.bundles, self.engines, strict=True)
            ],
            fitting(settings.grid, self.texts.longest),
            self.texts.corpus,
            self.texts.layout,
            threads=self.threads,
            effort=settings.effort,
            seed=settings.seed,
        )
        self.fidelity: list[dict[str, MetricValue]] = [{} for _ in self.bundles]
        self.changes: list[dict[str, Change]] = [{} for _ in self.bundles]
        self.by_kind: list[tuple[KindFidelity, ...]] = [() for _ in self.bundles]
        self.clipping: list[tuple[LayerClipping, ...] | None] = [None for _ in self.bundles]
        self.details = Details(len(self.bundles), first.tokenizer, self.head_settings)
        self.before: Snapshot | None = None
        self.after: Snapshot | None = None
        self.starts: dict[int, ColdStart] = {}
        if standard.baseline or standard.against:
            require_judgeable(self.report(), standard.baseline, standard.budgets, threads=self.threads)

    def compare(self, listen: Listener) -> None:
        """Compare the outputs of every model with the reference's, on texts of each kind."""
        kinds, samples = self.texts.kinds, self.texts.samples
        for place, kind in enumerate(kinds):
            self._compare(
                kind,
                lambda share, note, place=place: listen(  # type: ignore[misc]
                    COMPARED * (place + share) / len(kinds), note
                ),
            )
        every = [batch for kind in kinds for batch in samples[kind][:CLIPPED_BATCHES]]
        for index, (bundle, engine) in enumerate(zip(self.bundles, self.engines, strict=True)):
            if index and engine.arithmetic == "graph":  # the range of a token clips nothing
                self.clipping[index] = measure_clipping(bundle, every, threads=self.threads)

    def _compare(self, kind: Kind, listen: Listener) -> None:
        first, *others = self.models
        batches = self.texts.samples[kind]
        seen = observe_all(first, others, batches, listen, watch=self.details.watch, settings=self.head_settings)
        for index, (model, observations) in enumerate(zip(others, seen, strict=True), start=1):
            judged = self.standard.against and model is not others[-1]
            changes = estimate_changes(observations, seen[-1]) if judged else {}
            if kind == self.texts.kinds[0]:
                if self.texts.are_own:
                    self.details.by_length[index] = by_length(observations, batches)
                padded = invariance(model.padded(), batches[0], PADDED_FILE)
                self.fidelity[index] = {**metrics_of(model, observations, batches[0]), **padded}
                self.changes[index] = changes
            else:
                self._add_kind(index, kind, estimate_all(observations), changes)

    def _add_kind(self, index: int, kind: Kind, found: dict[str, MetricValue], changes: dict[str, Change]) -> None:
        """Keep the metrics of a kind of texts other than the main kind.

        Vectors of texts, which every model has, are measured on single texts only, so they belong to the main numbers
        if these lack them.
        """
        texts = sum(len(batch.input_ids) for batch in self.texts.samples[kind])
        of_every_model = {name for head in HEADS.values() if head.in_every_model for name in head.metrics}
        vectors = (found.keys() & of_every_model) - self.fidelity[index].keys()
        self.fidelity[index] |= {name: found.pop(name) for name in sorted(vectors)}
        self.changes[index] |= {name: changes.pop(name) for name in sorted(vectors & changes.keys())}
        entry = KindFidelity(kind=kind, texts=texts, fidelity=found, changes=changes)
        self.by_kind[index] = (*self.by_kind[index], entry)

    def compare_lengths(self, listen: Listener) -> None:
        """Compare outputs on texts of other lengths. The user's own texts are not cut, so they have lengths already."""
        if self.texts.are_own:
            return
        self.details.compare_lengths(
            self.models,
            self.texts.corpus,
            self.texts.layout,
            (self.texts.main, self.fidelity),
            examples=min(self.settings.examples or EXAMPLES, SHORT_EXAMPLES),
            max_length=self.texts.max_length,
            longest=self.texts.longest,
            kind=self.texts.kinds[0],
            settings=self.head_settings,
            seed=self.settings.seed,
            listen=lambda share, note: listen(COMPARED + (SHORTENED - COMPARED) * share, note),
        )

    def time(self, listen: Listener) -> None:
        """Time calls in rounds until the times are precise enough."""
        self.models = []  # every sitting loads the models again
        self.before = Snapshot.now()
        try:
            self.study.run(
                self._settled, lambda share, note: listen(SHORTENED + (TIMED - SHORTENED) * min(share, 1.0), note)
            )
        finally:
            self.after = Snapshot.now()

    def _settled(self, reports: Reports) -> bool:
        """Whether all verdicts are decided, so no more rounds are needed."""
        if self.standard.baseline or self.standard.against:
            budgets = self.standard.budgets
            limits = {metric: budgets[metric] for metric in (LATENCY, LATENCY_MS) if metric in budgets}
            verdicts = judge(self.report(), self.standard.baseline, limits)
            return not any(verdict.undecided for verdict in verdicts)
        ratios = [entry.ratio_to_reference for model in reports[1:] for entry in model]
        return all(math.log(max(r.high / r.value, r.value / r.low)) <= WANTED_PRECISION for r in ratios)

    def profile(self, listen: Listener) -> None:
        """Measure the time of each operator."""
        self.details.profile(
            list(zip(self.bundles, self.engines, strict=True)),
            self.study.grid,
            self.texts.corpus,
            self.texts.layout,
            threads=self.threads,
            seconds=min(PROFILE_S, self.settings.effort.seconds),
            listen=lambda share, note: listen(TIMED + (PROFILED - TIMED) * share, note),
        )

    def start(self, listen: Listener) -> None:
        """Measure cold starts."""
        repeats = min(self.settings.starts, self.settings.effort.rounds)
        for index, (bundle, engine) in enumerate(zip(self.bundles, self.engines, strict=True)):
            listen(PROFILED + (1 - PROFILED) * index / len(self.bundles), "cold starts")
            self.starts[index] = measure_cold_start(
                bundle.folder, engine=engine.name, threads=self.threads, repeats=repeats
            )

    def report(self) -> Report:
        """The report of what was measured so far."""
        latency = self.study.reports()
        rows = [self._row(index, times) for index, times in enumerate(latency)]
        end = -1 if self.standard.against else None
        missing = tuple(self._missing())
        return Report(
            schema_version=SCHEMA_VERSION,
            machine=this_machine(),
            corpus=self.texts.info,
            reference=rows[0],
            candidates=tuple(rows[1:end]),
            skipped=skipped(self.names, self.bundles, self.texts.why_not),
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
        missing += [] if len(self.details.profiles) == len(self.bundles) else ["profile"]
        return missing + ([] if len(self.starts) == len(self.bundles) else ["cold start"])

    def _row(self, index: int, latency: tuple[LatencyReport, ...]) -> CandidateReport:
        bundle, start = self.bundles[index], self.starts.get(index)
        return CandidateReport(
            name=self.names[index],
            target=bundle.manifest.target,
            engine=self.engines[index].name,
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
            profile=self.details.profiles.get(index),
        )
