"""Mixed precision: layers get finer formats, the largest gain for its cost first, until the goals are met."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from bertedge.data.text_source import TextSource
from bertedge.evaluate.bootstrap import estimate_all
from bertedge.evaluate.goals import Goal, Measured, require_measured, total_miss
from bertedge.manifest import ReachedGoal
from bertedge.quantization.job import Decision
from bertedge.quantization.sensitivity import (
    FLOAT16,
    SMOOTH_LOSS,
    Remedy,
    Sensitivity,
    Trials,
    measure_layers,
    recipe_with,
    with_remedies,
)
from bertedge.recipe import QuantizationRecipe

#: Share of the calibration text that losses are measured on, and the number of pairs drawn from it.
HELD_OUT, EXAMPLES = 0.25, 192
SEED = 3


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """The fewest promotions that meet the goals, or the best attempt.

    Attributes:
        sensitivity: None if the goals are met without promotions.
        promoted: layer -> the measured effect of its promotion, in words.
    """

    recipe: QuantizationRecipe
    decision: Decision
    sensitivity: Sensitivity | None = None
    promoted: dict[str, str] = field(default_factory=dict)
    goals: dict[str, ReachedGoal] = field(default_factory=dict)


def promote(trials: Trials, goals: Collection[Goal], held_out: TextSource) -> Promotion:
    """Promote as few layers as the goals need.

    Args:
        goals: allowed losses.
        held_out: text that calibration did not read.

    Raises:
        UsageError: it does not show what a goal limits.
    """
    listen = trials.job.listen
    sample = trials.record(held_out, examples=EXAMPLES, seed=SEED)
    measured: dict[int, Measured] = {0: estimate_all(trials.measure({}, sample))}
    require_measured(goals, measured[0], held_out.name)
    sensitivity: Sensitivity | None = None
    steps: list[Remedy] = []
    if total_miss(goals, measured[0]) > 0:
        sensitivity = measure_layers(trials)
        steps = sensitivity.path(heads_of(goals, measured[0]))
        met = {0: False}
        while (count := next_try(met, len(steps))) is not None:
            listen(count / len(steps), f"with {count} of {len(steps)} promotions")
            measured[count] = estimate_all(trials.measure(taken_of(steps[:count]), sample))
            met[count] = total_miss(goals, measured[count]) == 0
    count = min(measured, key=lambda k: (total_miss(goals, measured[k]), k))
    taken = taken_of(steps[:count])
    return Promotion(
        recipe=recipe_with(trials.job.recipe, taken),
        decision=with_remedies(trials.decision, taken),
        sensitivity=sensitivity,
        promoted={} if sensitivity is None else promotion_reasons(sensitivity, taken),
        goals={goal.option: goal.reached(measured[count]) for goal in goals},
    )


def heads_of(goals: Collection[Goal], measured: Measured) -> tuple[str, ...]:
    """The heads whose losses are too large."""
    heads = {goal.kind.head: None for goal in goals if goal.kind.head is not None and goal.miss(measured) > 0}
    return tuple(heads)


def taken_of(steps: Collection[Remedy]) -> dict[str, Remedy]:
    """Group -> its remedy after some steps; a later remedy replaces an earlier one."""
    return {remedy.group: remedy for remedy in steps}


def next_try(met: Mapping[int, bool], last: int) -> int | None:
    """The number of steps to try next, to find the smallest that meets the goals; None when it is found.

    Args:
        met: number of steps -> whether they met the goals; contains 0.
        last: the number of all steps.
    """
    if last not in met and not any(met.values()):
        return last
    enough = min((count for count, good in met.items() if good), default=None)
    if enough is None:
        return None
    too_few = max((count for count, good in met.items() if not good and count < enough), default=enough)
    return (too_few + enough) // 2 if enough - too_few > 1 else None


def reasons_of(recipe: QuantizationRecipe, sensitivity: Sensitivity) -> dict[str, str]:
    """Layer -> the measured effect of its remedy, for the remedies that a recipe names."""

    def named(field: str) -> set[str]:
        return {*getattr(recipe if field == FLOAT16 else recipe.method, field, ())}

    taken = {remedy.group: remedy for remedy in sensitivity.remedies if {*remedy.layers} <= named(remedy.field)}
    return promotion_reasons(sensitivity, taken)


def promotion_reasons(sensitivity: Sensitivity, taken: Mapping[str, Remedy]) -> dict[str, str]:
    """Layer -> the measured effect of its remedy, in words."""
    reasons: dict[str, str] = {}
    for remedy in taken.values():
        parts = [
            f"{metric} {sensitivity.losses[metric]:.3g} to {remedy.losses[metric]:.3g}"
            for metric in SMOOTH_LOSS.values()
            if metric in remedy.losses
        ]
        whose = "alone" if len(remedy.layers) == 1 else f"with {' and '.join(remedy.layers)}"
        reasons |= dict.fromkeys(remedy.layers, f"promoted, which {whose} changes {', '.join(parts)}")
    return reasons
