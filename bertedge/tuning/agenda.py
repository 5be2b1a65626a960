"""What to try next, from nothing but the goals and what was measured: so an interrupted search goes on where it was."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bertedge.evaluate.goals import Goal, total_miss
from bertedge.quantization.promote import next_try, taken_of
from bertedge.quantization.sensitivity import SMOOTH_LOSS, Remedy, recipe_with
from bertedge.recipe import QuantizationRecipe
from bertedge.tuning.candidates import METHOD_STAGE, OPTION_STAGE, PROMOTION_STAGE, Candidate
from bertedge.tuning.state import Entry, State

#: A latency or a size that is this share beyond its goal will not come back within it by work that is added.
HOPELESS = 0.1
#: Where everything is to be tried: the share of the promotions that are.
SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Study:
    """The layers of a candidate have to be measured first."""

    model: int
    recipe: QuantizationRecipe


@dataclass(frozen=True, kw_only=True)
class Agenda:
    """The rules of the search.

    Attributes:
        listed: candidates that are known from the start, in order.
        work: for each model, what it costs to run.
        everything: go on when the goals are met.
    """

    goals: Collection[Goal]
    listed: Sequence[Candidate]
    work: Sequence[float]
    everything: bool

    def next(self, state: State) -> Candidate | Study | None:
        """What to do next; None where nothing is left."""
        return next(self.pending(state), None)

    def pending(self, state: State) -> Iterator[Candidate | Study]:
        """What is left as far as is known by now; what is done may change it."""
        for candidate in self.listed:
            if state.find(candidate.model, candidate.recipe) is None and self._worthwhile(candidate, state):
                yield candidate
        for model in sorted(range(len(self.work)), key=lambda m: self.work[m]):
            action = self._promotion(model, state)
            if action is not None:
                yield action

    def _worthwhile(self, candidate: Candidate, state: State) -> bool:
        """Not where a candidate that costs no more meets all goals, or where this one cannot."""
        if self.everything:
            return True
        cheapest = self._cheapest_good(state)
        work = self.work[candidate.model]
        if work > cheapest or (work == cheapest and candidate.stage > METHOD_STAGE):
            return False
        if candidate.stage == METHOD_STAGE:
            return True
        return not self._float_misses(candidate.model, state) and (
            candidate.stage == OPTION_STAGE or not self._too_slow_or_large(candidate.model, state)
        )

    def _promotion(self, model: int, state: State) -> Candidate | Study | None:
        """The next number of promoted layers to try with a model's most faithful candidate."""
        base = self._base(model, state)
        if base is None or (not self.everything and not self._promotions_may_help(model, state)):
            return None
        sensitivity = state.study(model, base.recipe)
        losses = [goal for goal in self.goals if goal.kind.head is not None]
        missed = [goal for goal in losses if goal.miss(base.measured) > 0]
        if sensitivity is None:
            return Study(model=model, recipe=base.recipe)
        heads = _heads(missed or losses, base)
        steps = sensitivity.path(heads)
        counts = self._counts(losses, base, steps, state)
        for count in counts:
            recipe = recipe_with(base.recipe, taken_of(steps[:count]))
            if state.find(model, recipe) is None:
                # which layers come first depends on the head, and another run's goals may be for another one
                name = f"{base.name} promoted-{count} by {'+'.join(heads)}"
                return Candidate(model=model, recipe=recipe, name=name, stage=PROMOTION_STAGE)
        return None

    def _counts(self, losses: Sequence[Goal], base: Entry, steps: Sequence[Remedy], state: State) -> list[int]:
        """How many promotions to try: what the search for the fewest asks for, or a few shares of all."""
        met = {0: total_miss(losses, base.measured) == 0}
        while (count := next_try(met, len(steps))) is not None:
            entry = state.find(base.model, recipe_with(base.recipe, taken_of(steps[:count])))
            if entry is None:
                return [count]
            met[count] = total_miss(losses, entry.measured) == 0
        return sorted({math.ceil(share * len(steps)) for share in SHARES} - {0}) if self.everything else []

    def _base(self, model: int, state: State) -> Entry | None:
        """The entry whose layers are promoted: of methods and options, the one that loses least."""
        losses = [goal for goal in self.goals if goal.kind.head is not None]
        entries = [entry for entry in state.entries if entry.model == model and entry.stage <= OPTION_STAGE]
        smooth = SMOOTH_LOSS.values()
        return min(
            entries,
            key=lambda e: (total_miss(losses, e.measured), *(e.fidelity[m].value for m in smooth if m in e.fidelity)),
            default=None,
        )

    def _promotions_may_help(self, model: int, state: State) -> bool:
        """Whether a model's plain candidates lose too much and nothing cheaper than their promotion is good enough.

        A named recipe that is good enough costs more than a few promotions, and many promotions more than few.
        """
        good = [entry for entry in state.entries if total_miss(self.goals, entry.measured) == 0]
        plain = [entry for entry in good if entry.stage <= OPTION_STAGE or entry.model != model]
        if any(self.work[entry.model] <= self.work[model] for entry in plain):
            return False
        losses = [goal for goal in self.goals if goal.kind.head is not None]
        entries = [entry for entry in state.entries if entry.model == model and entry.stage <= OPTION_STAGE]
        return (
            all(total_miss(losses, entry.measured) > 0 for entry in entries)
            and not self._float_misses(model, state)
            and not self._too_slow_or_large(model, state)
        )

    def _cheapest_good(self, state: State) -> float:
        """The least work of a model that meets all goals."""
        good = (entry for entry in state.entries if total_miss(self.goals, entry.measured) == 0)
        return min((self.work[entry.model] for entry in good), default=math.inf)

    def _float_misses(self, model: int, state: State) -> bool:
        """Whether a model misses a goal for its hits in float32 already, which no recipe can put right."""
        seen = state.floats.get(str(model))
        return seen is not None and any(goal.missed(seen) for goal in self.goals if goal.kind.head is not None)

    def _too_slow_or_large(self, model: int, state: State) -> bool:
        """Whether all candidates of a model are so far beyond a goal that more work or bytes make no sense."""
        bounds = [goal for goal in self.goals if goal.kind.head is None]
        entries = [entry for entry in state.entries if entry.model == model]
        return bool(entries) and any(min(goal.miss(e.measured) for e in entries) > HOPELESS for goal in bounds)


def _heads(goals: Collection[Goal], base: Entry) -> tuple[str, ...]:
    named = {goal.kind.head for goal in goals}
    there = tuple(head for head in SMOOTH_LOSS if any(metric.startswith(f"{head}.") for metric in base.fidelity))
    return tuple(head for head in there if head in named) or there
