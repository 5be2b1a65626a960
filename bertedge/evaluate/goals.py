"""Goals: limits that a user sets for loss, time and size. A new goal is one row, here or in the file of its head."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bertedge.errors import UsageError, nearest
from bertedge.evaluate.intervals import Outcome, outcome_of
from bertedge.heads import HEADS, Head
from bertedge.heads.parts import Parts
from bertedge.manifest import ReachedGoal
from bertedge.metric import ANY, CEILING, GoalKind, MetricValue

#: Begins the sentence about a goal whose interval contains the bound.
UNDECIDED = "undecided"
P95, SIZE = "latency.p95_ms", "size_mb"
Measured = Mapping[str, MetricValue]


#: Option -> goal: the goals of each head, of latency, and of the file.
GOALS = {
    kind.option: kind
    for kind in (
        *(goal for head in HEADS.values() for goal in head.goals),
        GoalKind(
            option="max_p95_ms",
            metric=P95,
            head=None,
            limits=ANY,
            scale=None,
            help="Largest 95th percentile of a call, in milliseconds.",
        ),
        GoalKind(
            option="max_size_mb",
            metric=SIZE,
            head=None,
            limits=ANY,
            scale=None,
            help="Largest size of the model's file, in millions of bytes.",
        ),
    )
}


def flag_of(option: str) -> str:
    """A goal's option as it is typed."""
    return f"--{option.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A limit that a user set.

    Attributes:
        option: a name in ``GOALS``.
    """

    option: str
    bound: float

    def __post_init__(self) -> None:
        low, high = self.kind.limits
        if not (math.isfinite(self.bound) and low <= self.bound <= high) or (self.bound == 0 and not self.kind.scale):
            expected = "a share, 0 to 1" if high == 1 else "a number above 0" if not self.kind.scale else "0 or more"
            raise UsageError(f"{self.flag} {self.bound:g}: expected {expected}", f"for instance {self.example}")

    @property
    def kind(self) -> GoalKind:
        """Its row."""
        return GOALS[self.option]

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return flag_of(self.option)

    @property
    def example(self) -> str:
        """An example of the option with a useful value."""
        scale = self.kind.scale or 10
        return f"{self.flag} {scale if self.kind.is_ceiling else 1 - scale:g}"

    def outcome(self, seen: MetricValue) -> Outcome:
        """Whether the whole interval is within the bound; see :func:`bertedge.evaluate.intervals.outcome_of`."""
        return outcome_of(seen, self.bound) if self.kind.is_ceiling else outcome_of(-seen, -self.bound)

    def miss(self, measured: Measured) -> float:
        """How far the worse end of the interval is beyond the bound; 0 if the goal is met.

        Scaled so that misses of different goals can be compared. Infinite if the value is missing or NaN.
        """
        seen = measured.get(self.kind.metric)
        if seen is None or any(map(math.isnan, (seen.value, seen.low, seen.high))):
            return math.inf
        if self.outcome(seen) == "pass":
            return 0.0
        beyond = seen.high - self.bound if self.kind.is_ceiling else self.bound - seen.low
        return beyond / (self.kind.scale or self.bound)

    def missed(self, measured: Measured) -> bool:
        """Whether the whole interval is beyond the bound."""
        seen = measured.get(self.kind.metric)
        return seen is not None and self.outcome(seen) == "fail"

    def reached(self, measured: Measured) -> ReachedGoal:
        """The measured value and whether it meets the goal; ``measured`` has the metric."""
        seen, met = measured[self.kind.metric], self.miss(measured) == 0
        value, low, high, n = seen.value, seen.low, seen.high, seen.n
        return ReachedGoal(metric=self.kind.metric, bound=self.bound, value=value, low=low, high=high, n=n, met=met)


def sentence(option: str, reached: ReachedGoal) -> str:
    """The measured value and the bound, in words."""
    interval = "" if reached.low == reached.high else f" ({reached.low:.4g} to {reached.high:.4g})"
    words = (
        "at most" if option.startswith(CEILING) else "at least"
    )  # a manifest of a later version may have goals that this version does not know
    return f"{reached.metric} is {reached.value:.4g}{interval}, the goal is {words} {reached.bound:g}"


def outcome_sentence(option: str, reached: ReachedGoal) -> str:
    """The sentence with ``met``, ``not met`` or ``undecided`` in front."""
    seen = MetricValue(value=reached.value, low=reached.low, high=reached.high, n=reached.n)
    words = {"pass": "met", "fail": "not met", "inconclusive": UNDECIDED}
    outcome = Goal(option=option, bound=reached.bound).outcome(seen)
    more = "; the interval contains the bound: give more text" if outcome == "inconclusive" else ""
    return f"{words[outcome]}: {sentence(option, reached)}{more}"


def goals_of(options: Mapping[str, float | None]) -> tuple[Goal, ...]:
    """The goals that were given as options. The value None means: not given."""
    return tuple(Goal(option=name, bound=value) for name, value in options.items() if value is not None)


def goals_of_table(table: Mapping[str, Any]) -> tuple[Goal, ...]:
    """The goals of the table ``[goals]`` of a recipe file, as ``max_kl = 0.001``.

    Raises:
        UsageError: a goal is unknown or is not for a loss, or a bound is not a number.
    """
    known = [name for name, kind in GOALS.items() if kind.head is not None]
    for name, bound in table.items():
        if name not in known:
            raise UsageError(f"there is no goal {name!r}", nearest(name, known))
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise UsageError(f"{name}: {bound!r} is not a number", f"for example {name} = 0.01")
    return goals_of({name: float(bound) for name, bound in table.items()})


def goals_in_words(goals: Collection[Goal], measured: Measured) -> str:
    """The goals that are missed, in a few words."""
    missed = [goal.flag for goal in goals if goal.missed(measured)]
    open_ = [goal.flag for goal in goals if goal.miss(measured) > 0 and goal.flag not in missed]
    words = [f"misses {', '.join(missed)}"] if missed else []
    words += [f"may miss {', '.join(open_)}"] if open_ else []
    return "; ".join(words) or "meets all goals"


def total_miss(goals: Collection[Goal], measured: Measured) -> float:
    """The sum of all misses; 0 if all goals are met."""
    return sum(goal.miss(measured) for goal in goals)


def require_measurable(
    goals: Collection[Goal], parts: Parts, why_not: Callable[[Head], tuple[str, str] | None], name: str
) -> None:
    """Refuse goals that cannot be measured.

    Args:
        parts: the parts of the model.
        why_not: head -> why a text cannot show what it loses, and what helps; None if it can.

    Raises:
        UsageError: the model lacks a head, or the text does not suit it.
    """
    for goal in goals:
        head = goal.kind.head
        if head is None:
            continue
        if not parts.has(head):
            raise UsageError(f"{goal.flag}: {name} has no {head} head", f"its goals are {', '.join(_flags_of(parts))}")
        if (reason := why_not(HEADS[head])) is not None:
            raise UsageError(f"{goal.flag}: {reason[0]}", reason[1])


def _flags_of(parts: Parts) -> list[str]:
    """The goals of a model's own heads; of its vectors if it has none."""
    own = parts.rows or [head for name, head in HEADS.items() if parts.has(name)]
    return [flag_of(goal.option) for head in own for goal in head.goals]


def require_measured(goals: Collection[Goal], measured: Measured, text: str) -> None:
    """Refuse goals for a loss that a text did not show, such as that of right labels without labels.

    Args:
        text: its name, for the message.

    Raises:
        UsageError: there is one.
    """
    for goal in goals:
        if goal.kind.head is not None and goal.kind.metric not in measured:
            raise UsageError(
                f"{goal.flag}: {text} gives no {goal.kind.metric}",
                "calibrate with texts of the task and their right answers, such as a CSV file with a column of labels; "
                "or leave the goal out",
            )
