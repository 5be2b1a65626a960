"""``tune``: the search itself. Whatever happens, what was measured and the best so far lie in the folder."""

from __future__ import annotations

import logging
import shutil
import time
from collections import ChainMap
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.engines.onnxruntime.cpu_check import require_correct_here
from bertedge.errors import BundleError, FileError, UsageError
from bertedge.evaluate.goals import Goal, require_measurable, told_of
from bertedge.files import alone_in, new_folder
from bertedge.layers import planned_layers
from bertedge.manifest import MANIFEST
from bertedge.progress import Listener, no_progress
from bertedge.quantization.promote import HELD_OUT, reasons_of
from bertedge.recipe import QuantizationRecipe
from bertedge.scratch import temporary_folder
from bertedge.target import resolve_target
from bertedge.tuning.agenda import Agenda, Study
from bertedge.tuning.candidates import Candidate, folder_name, listed
from bertedge.tuning.choice import choose, finalists, loss_metric, not_beaten
from bertedge.tuning.result import write_result
from bertedge.tuning.settings import TuneSettings, fixed, prefixes_of, work_of
from bertedge.tuning.state import (
    BEST,
    CANDIDATES,
    RATIO,
    Entry,
    LayerStudy,
    State,
    Twin,
    open_state,
    save,
)
from bertedge.tuning.tuned import Tuned
from bertedge.tuning.workbench import Workbench

#: Rounds of timing for a first impression, and for the finalists.
FIRST_ROUNDS, FINAL_ROUNDS = 6, 25
_log = logging.getLogger(__name__)
Note = Callable[[str], None]


class BudgetSpent(Exception):
    """The time that the user gave is over."""


def tune(
    models: Sequence[str | Path],
    output: str | Path,
    *,
    goals: Collection[Goal],
    settings: TuneSettings | None = None,
    cased: bool | None = None,
    force: bool = False,
    listen: Listener = no_progress,
    note: Note = _log.info,
) -> Tuned:
    """Search for the fastest bundle that keeps within the goals.

    Every candidate is made, measured and written to ``output`` before the next one; the same call goes on where an
    interrupted one was. At the end the best ones are timed against each other, and ``best``, ``pareto.json`` and
    ``pareto.svg`` are written.

    Args:
        models: checkpoints; the first one is the reference for hits, the others may be its students.
        goals: at least one.
        cased: whether the models' tokenizers keep capital letters; default: what their files say.
        note: is told a line about every candidate; default: bertedge's logger.

    Raises:
        UnfitMachineError: the target's bundles are not right on this CPU.
        UsageError: no goal, goals that cannot be measured, patterns that name no layer, models of different
            vocabularies, a folder with a search of other settings.
        BertEdgeError: a model or a text cannot be read.
    """
    settings, output = settings or TuneSettings(), Path(output)
    if not goals:
        raise UsageError("tune: no goal is given", f"for instance {Goal(option='max_mlm_drop', bound=0.005).example}")
    require_correct_here(resolve_target(settings.target).name)  # its candidates are run here
    checkpoints = [open_checkpoint(model, cased=cased) for model in models]
    for checkpoint in checkpoints:
        layers = planned_layers(checkpoint.parts.layers(checkpoint.config))
        QuantizationRecipe(exclude=settings.exclude).excluded([layer.name for layer in layers])
    with temporary_folder() as scratch:
        bench = Workbench(
            checkpoints=checkpoints,
            calibration=Path(settings.calibration) if settings.calibration else None,
            corpus=Path(settings.corpus) if settings.corpus else None,
            target=settings.target,
            workload=settings.workload,
            examples=settings.examples,
            seed=settings.seed,
            max_threads=max(settings.numbers),
            scratch=scratch,
            listen=listen,
        )
        for checkpoint in checkpoints:
            pairs = bench.text.why_no_pairs is None
            require_measurable(goals, checkpoint.parts, pairs=pairs, name=checkpoint.name)
        with alone_in(output, "searching"):
            state = open_state(output, fixed(settings, checkpoints), force=force)
            save(output, state)
            return _Search(output, state, bench, checkpoints, goals, settings, listen, note).run()


class _Search:
    """One run of the search."""

    def __init__(
        self,
        output: Path,
        state: State,
        bench: Workbench,
        checkpoints: Sequence[Checkpoint],
        goals: Collection[Goal],
        settings: TuneSettings,
        listen: Listener,
        note: Note,
    ) -> None:
        self.output, self.state, self.bench, self.goals, self.settings, self.note = (
            output, state, bench, goals, settings, note,
        )  # fmt: skip
        minutes = settings.budget_minutes
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self._listen = listen
        bench.listen = self._heard
        prefixes = prefixes_of(checkpoints)
        work = [work_of(checkpoint, settings.workload.seq_len) for checkpoint in checkpoints]
        cheapest_first = sorted(enumerate(prefixes), key=lambda pair: work[pair[0]])
        base = QuantizationRecipe(exclude=settings.exclude, held_out=0.0 if settings.corpus else HELD_OUT)
        self.agenda = Agenda(
            goals=goals,
            listed=listed(cheapest_first, base),
            work=work,
            everything=settings.everything,
        )

        self._ahead = len(self.agenda.listed)

    def run(self) -> Tuned:
        """Try what is on the agenda, then time the finalists."""
        if self.state.entries:
            self.note(f"{self.output}: going on after {len(self.state.entries)} candidates")
        complete = True
        try:
            while (action := self.agenda.next(self.state)) is not None:
                self._heard(0.0, "")
                if isinstance(action, Study):
                    self._study(action)
                else:
                    self._try(action)
        except BudgetSpent:
            complete = False
        self._deadline = None
        timed = self._time_finalists()
        chosen = choose(timed, self.goals)
        self._keep(chosen.entry)
        return write_result(self.output, self.state, timed, chosen, self.goals, complete=complete, together=True)

    def _heard(self, share: float, text: str) -> None:
        """Pass progress on, as one share of all that is known to be ahead; stop where the time is over."""
        if self._deadline is not None and self.state.entries and time.monotonic() > self._deadline:
            raise BudgetSpent
        done = len(self.state.entries) + len(self.state.twins)
        everything = done + max(1, self._ahead)
        self._listen((done + share) / (everything + 1), f"candidate {done + 1} of about {everything}: {text}")

    def _study(self, study: Study) -> None:
        found = self.bench.layers(study.model, study.recipe)
        record = LayerStudy(model=study.model, recipe=study.recipe, sensitivity=found)
        self._save(replace(self.state, studies=(*self.state.studies, record)))

    def _try(self, candidate: Candidate) -> None:
        """Make and measure one candidate."""
        self._measure_float(candidate.model)
        folder = folder_name(candidate.name)
        bundle = self._make(candidate.model, candidate.recipe, self.output / CANDIDATES / folder)
        digest = bundle.model_sha256
        if any(entry.sha256 == digest and entry.model == candidate.model for entry in self.state.entries):
            shutil.rmtree(bundle.folder)
            twin = Twin(model=candidate.model, recipe=candidate.recipe, sha256=digest)
            self._save(replace(self.state, twins=(*self.state.twins, twin)))
            return
        fidelity = self.bench.fidelity(candidate.model, bundle)
        runs = [(bundle, threads) for threads in self.settings.numbers]
        latency = [replace(timed, samples_ms=()) for timed in self.bench.time(runs, rounds=FIRST_ROUNDS)]
        entry = Entry(
            model=candidate.model,
            name=candidate.name,
            stage=candidate.stage,
            recipe=candidate.recipe,
            folder=folder,
            sha256=digest,
            size_bytes=bundle.size_bytes,
            coverage=bundle.manifest.coverage,
            fidelity=fidelity,
            latency=tuple(sorted(latency, key=lambda timed: timed.p95_ms)),
            session=self.state.sessions,
        )
        self._save(replace(self.state, entries=(*self.state.entries, entry)))
        chosen = choose(self.state.entries, self.goals)
        self._keep(chosen.entry)
        self._drop_beaten()
        so_far = finalists(self.state.entries, self.goals)
        write_result(self.output, self.state, so_far, chosen, self.goals, complete=False, together=False)
        self.note(self._line(entry))

    def _measure_float(self, model: int) -> None:
        """What a student loses to the first model in float32 already."""
        if model and str(model) not in self.state.floats:
            seen = self.bench.float_fidelity(model)
            self._save(replace(self.state, floats={**self.state.floats, str(model): seen}))

    def _save(self, state: State) -> None:
        self.state = state
        self._ahead = sum(1 for _ in self.agenda.pending(state))
        save(self.output, state)

    def _line(self, entry: Entry) -> str:
        """A candidate in a line."""
        metrics = dict.fromkeys([*(goal.kind.metric for goal in self.goals), loss_metric(entry)])
        values = [f"{m} {entry.measured[m].value:.4g}" for m in metrics if m in entry.measured]
        verdict = told_of(self.goals, entry.measured)
        return f"{len(self.state.entries)}: {entry.name}: {', '.join(values)}: {verdict}"

    def _bundle(self, entry: Entry) -> Bundle:
        """The bundle of an entry; made again if it was dropped, or if something else lies in its place.

        Raises:
            BundleError: the file that was measured cannot be had any more.
        """
        folder = self.output / CANDIDATES / entry.folder
        with suppress(BundleError, FileError):
            bundle = Bundle.open(folder)
            if bundle.model_sha256 == entry.sha256:
                return bundle
        bundle = self._make(entry.model, entry.recipe, folder)
        if bundle.model_sha256 != entry.sha256:
            raise BundleError(
                f"{folder}: made again, {entry.name} is another file than the one that was measured",
                "measure everything anew with --force",
            )
        return bundle

    def _make(self, model: int, recipe: QuantizationRecipe, folder: Path) -> Bundle:
        studies = [study.sensitivity for study in self.state.studies if study.model == model]
        reasons = [reasons_of(recipe, sensitivity) for sensitivity in studies]
        shutil.rmtree(folder, ignore_errors=True)  # it may hold half a bundle, where somebody was stopped removing it
        return self.bench.make(model, recipe, folder, dict(ChainMap(*reasons)))

    def _keep(self, entry: Entry) -> None:
        """Copy the best so far."""
        source, place = self._bundle(entry), self.output / BEST
        if (place / MANIFEST).is_file() and (place / MANIFEST).read_bytes() == (source.folder / MANIFEST).read_bytes():
            return
        with new_folder(place, force=True) as folder:  # whatever lies there: the folder is the search's own
            for file in source.folder.iterdir():
                shutil.copy2(file, folder)

    def _drop_beaten(self) -> None:
        """Remove the bundles of candidates that will not be finalists, whatever comes."""
        entries = self.state.entries
        kept = (*finalists(entries, self.goals), *not_beaten(entries, self.goals, RATIO))
        wanted = {entry.folder for entry in kept}
        for entry in self.state.entries:
            if entry.folder not in wanted:
                shutil.rmtree(self.output / CANDIDATES / entry.folder, ignore_errors=True)

    def _time_finalists(self) -> list[Entry]:
        """The finalists with new latencies, all from one run."""
        chosen = finalists(self.state.entries, self.goals)
        bundles = [self._bundle(entry) for entry in chosen]
        pairs = list(zip(chosen, bundles, strict=True))
        runs = [(bundle, timed.threads) for entry, bundle in pairs for timed in entry.latency]
        self._listen(0.9, f"timing {len(chosen)} finalists against each other")
        times = iter(self.bench.time(runs, rounds=FINAL_ROUNDS))
        return [
            replace(
                entry,
                session=self.state.sessions,
                latency=tuple(sorted((next(times) for _ in entry.latency), key=lambda timed: timed.p95_ms)),
            )
            for entry in chosen
        ]
