"""The rules of the search: which candidates to try, given the goals and the results so far."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from bertedge.evaluate.goals import Goal, require_measured, total_miss
from bertedge.metric import MetricValue
from bertedge.quantization.promote import next_try, reasons_of, taken_of
from bertedge.quantization.sensitivity import SMOOTH_LOSS, recipe_with
from bertedge.recipe import QuantizationRecipe
from bertedge.tuning.candidates import METHOD_STAGE, OPTION_STAGE, PROMOTION_STAGE, Candidate
from bertedge.tuning.measured import Entry, Records
from bertedge.tuning.workbench import Workbench

#: If a latency or a size exceeds its goal by this share, candidates with more work or bytes are not tried.
HOPELESS = 0.1
#: With ``everything``: the shares of promoted layers to try.
SHARES = (0.25, 0.5, 1.0)
#: Rounds of timing of a single candidate.
FIRST_ROUNDS = 6


class BudgetSpent(Exception):
    """The time limit of the user is reached."""


class Rounds:
    """Tries candidates.

    Args:
        work: the multiply-accumulates of each model.
        on_entry: called with each candidate, and whether it was measured now.

    Attributes:
        entries: the measured candidates. Candidates with the same model file are counted once.
    """

    def __init__(
        self,
        bench: Workbench,
        records: Records,
        goals: Collection[Goal],
        work: Sequence[float],
        on_entry: Callable[[Entry, bool], None],
    ) -> None:
        self.entries: list[Entry] = []
        self._by_recipe: dict[tuple[int, QuantizationRecipe], Entry] = {}
        self._floats: dict[int, dict[str, MetricValue]] = {}
        self._bench, self._records, self._goals, self._work, self._on_entry = bench, records, goals, work, on_entry
        self._losses = [goal for goal in goals if goal.kind.head is not None]
        self._settings, self._total = bench.settings, 1
        minutes = self._settings.budget_minutes
        self._deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._listen = bench.listen
        bench.listen = self._report_progress

    def try_all(self, candidates: Sequence[Candidate]) -> bool:
        """Try the worthwhile candidates, then promote layers of each model's best candidate, the cheapest model first.

        Returns:
            Whether all of this was done within the time limit.
        """
        try:
            self._try_in_order(candidates)
        except BudgetSpent:
            return False
        self._deadline = math.inf
        return True

    def _try_in_order(self, candidates: Sequence[Candidate]) -> None:
        self._total = len(candidates)
        for candidate in candidates:
            if self._settings.everything or self._is_worthwhile(candidate):
                self._try(candidate, {})
        for model in sorted(range(len(self._work)), key=lambda m: self._work[m]):
            base = self._base(model)
            if base is not None and (self._settings.everything or self._promotions_may_help(model)):
                self._promote(base)

    def _report_progress(self, share: float, text: str) -> None:
        """Report progress. Stop if the time limit is reached."""
        if self.entries and time.monotonic() > self._deadline:
            self._deadline = math.inf
            raise BudgetSpent
        done = len(self._by_recipe)
        self._listen(min(0.9, (done + share) / (self._total + 1)), f"candidate {done + 1}: {text}")

    def _try(self, candidate: Candidate, reasons: dict[str, str]) -> Entry:
        """The results of a candidate: read from the disk, or else measured.

        Args:
            reasons: layer -> why its format is finer.
        """
        known = self._by_recipe.get((candidate.model, candidate.recipe))
        if known is not None:
            return known
        entry = self._records.read(candidate)
        new = entry is None
        if entry is None:
            self._report_progress(0.0, "")
            entry = self._measure(candidate, reasons)
            self._records.write(entry)
        self._by_recipe[candidate.model, candidate.recipe] = entry
        if not any((other.model, other.sha256) == (entry.model, entry.sha256) for other in self.entries):
            self.entries.append(entry)
            self._on_entry(entry, new)
        return entry

    def _measure(self, candidate: Candidate, reasons: dict[str, str]) -> Entry:
        """Make and measure a candidate. A model file that was measured before is not measured again."""
        name = self._records.name(candidate)
        folder = self._records.folder / name
        shutil.rmtree(folder, ignore_errors=True)  # a process that was killed may have left a part of a bundle
        bundle = self._bench.make(candidate.model, candidate.recipe, folder, reasons)
        identity: dict[str, Any] = {
            "model": candidate.model,
            "name": candidate.name,
            "stage": candidate.stage,
            "recipe": candidate.recipe,
            "folder": name,
        }
        for entry in self.entries:
            if (entry.model, entry.sha256) == (candidate.model, bundle.model_sha256):
                return replace(entry, **identity)
        fidelity = self._bench.fidelity(candidate.model, bundle)
        require_measured(self._losses, fidelity, self._bench.text.name)
        runs = [(bundle.folder, threads) for threads in self._settings.numbers]
        latency = [replace(timed, samples_ms=()) for timed in self._bench.time(runs, rounds=FIRST_ROUNDS)]
        return Entry(
            **identity,
            sha256=bundle.model_sha256,
            size_bytes=bundle.size_bytes,
            coverage=bundle.manifest.coverage,
            fidelity=fidelity,
            latency=tuple(sorted(latency, key=lambda timed: timed.p95_ms)),
        )

    def _is_worthwhile(self, candidate: Candidate) -> bool:
        """False if a candidate that costs no more meets all goals, or if this candidate cannot meet them."""
        good = [self._work[e.model] for e in self.entries if total_miss(self._goals, e.measured) == 0]
        cheapest, work = min(good, default=math.inf), self._work[candidate.model]
        if work > cheapest or (work == cheapest and candidate.stage > METHOD_STAGE):
            return False
        if candidate.stage == METHOD_STAGE:
            return True
        return not self._float_misses(candidate.model) and (
            candidate.stage == OPTION_STAGE or not self._too_slow_or_large(candidate.model)
        )

    def _base(self, model: int) -> Entry | None:
        """The entry whose layers are promoted: the entry with the least loss among methods and their options."""
        smooth = SMOOTH_LOSS.values()
        return min(
            self._plain(model),
            key=lambda e: (
                total_miss(self._losses, e.measured),
                *(e.fidelity[metric].value for metric in smooth if metric in e.fidelity),
            ),
            default=None,
        )

    def _plain(self, model: int) -> list[Entry]:
        return [entry for entry in self.entries if entry.model == model and entry.stage <= OPTION_STAGE]

    def _promotions_may_help(self, model: int) -> bool:
        """Whether the plain candidates of a model lose too much, and no cheaper candidate meets all goals.

        A built-in recipe costs more than a few promotions. So promotions are tried even if a built-in recipe of this
        model meets the goals.
        """
        good = [entry for entry in self.entries if total_miss(self._goals, entry.measured) == 0]
        plain = [entry for entry in good if entry.stage <= OPTION_STAGE or entry.model != model]
        if any(self._work[entry.model] <= self._work[model] for entry in plain):
            return False
        return (
            all(total_miss(self._losses, entry.measured) > 0 for entry in self._plain(model))
            and not self._float_misses(model)
            and not self._too_slow_or_large(model)
        )

    def _promote(self, base: Entry) -> None:
        """Search for the fewest promotions that meet the goals; with ``everything``, also try fixed shares."""
        sensitivity = self._records.sensitivity(base, lambda: self._bench.layers(base.model, base.recipe))
        heads = _heads([goal for goal in self._losses if goal.miss(base.measured) > 0] or self._losses, base)
        steps = sensitivity.path(heads)
        met = {0: total_miss(self._losses, base.measured) == 0}

        def try_first(count: int) -> Entry:
            recipe = recipe_with(base.recipe, taken_of(steps[:count]))
            # the order of the layers depends on the heads, and another run may have goals for other heads
            name = f"{base.name} promoted-{count} by {'+'.join(heads)}"
            candidate = Candidate(model=base.model, recipe=recipe, name=name, stage=PROMOTION_STAGE)
            return self._try(candidate, reasons_of(recipe, sensitivity))

        while (count := next_try(met, len(steps))) is not None:
            met[count] = total_miss(self._losses, try_first(count).measured) == 0
        if self._settings.everything:
            for count in sorted({math.ceil(share * len(steps)) for share in SHARES} - {0}):
                try_first(count)

    def _float_misses(self, model: int) -> bool:
        """Whether a student misses a goal for hits even in float32. No recipe can correct this."""
        if model == 0 or not self._losses:
            return False
        if model not in self._floats:
            self._floats[model] = self._bench.float_fidelity(model)
        return any(goal.missed(self._floats[model]) for goal in self._losses)

    def _too_slow_or_large(self, model: int) -> bool:
        """Whether all candidates of a model are too far beyond a goal to try candidates with more work or bytes."""
        bounds = [goal for goal in self._goals if goal.kind.head is None]
        entries = [entry for entry in self.entries if entry.model == model]
        return bool(entries) and any(min(goal.miss(e.measured) for e in entries) > HOPELESS for goal in bounds)


def _heads(goals: Collection[Goal], base: Entry) -> tuple[str, ...]:
    """The heads that have goals; if there are none, all measured heads."""
    named = {goal.kind.head for goal in goals}
    there = tuple(head for head in SMOOTH_LOSS if any(metric.startswith(f"{head}.") for metric in base.fidelity))
    return tuple(head for head in there if head in named) or there
