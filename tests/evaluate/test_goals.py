"""Goals: what can be asked for, and what counts as met."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.errors import UsageError
from bertedge.evaluate.goals import (
    GOALS,
    Goal,
    goals_of,
    outcome_sentence,
    require_measurable,
    require_measured,
    sentence,
    total_miss,
)
from bertedge.evaluate.intervals import outcome_of
from bertedge.evaluate.metrics import METRICS
from bertedge.heads.parts import Parts
from bertedge.metric import MetricValue


def seen(value: float) -> MetricValue:
    return MetricValue(value=value, low=value - 0.1, high=value + 0.1, n=10)


@pytest.mark.parametrize("option", GOALS)
@pytest.mark.parametrize("bound", [-0.001, math.nan, math.inf, -math.inf])
def test_a_bound_is_a_number_that_makes_sense(option: str, bound: float) -> None:
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')}") as raised:
        Goal(option=option, bound=bound)
    assert "--" in raised.value.hint


@pytest.mark.parametrize(("option", "bound"), [("min_agreement", 99), ("max_mlm_drop", 5), ("max_p95_ms", 0)])
def test_percent_for_a_share_and_no_time_at_all_are_refused(option: str, bound: float) -> None:
    with pytest.raises(UsageError, match="expected"):
        Goal(option=option, bound=bound)


@pytest.mark.parametrize("option", GOALS)
def test_the_example_of_a_goal_can_be_asked_for(option: str) -> None:
    flag, bound = Goal(option=option, bound=0.5).example.split()
    assert Goal(option=flag.removeprefix("--").replace("-", "_"), bound=float(bound)).option == option
    kind = GOALS[option]
    assert kind.head is None or kind.metric in METRICS


@given(st.floats(0, 1), st.floats(0, 1))
def test_met_means_with_the_whole_interval(bound: float, value: float) -> None:
    ceiling, floor = Goal(option="max_nsp_flips", bound=bound), Goal(option="min_agreement", bound=bound)
    flips, agreement = {"nsp.flip_rate": seen(value)}, {"mlm.top1_agreement": seen(value)}
    assert (ceiling.miss(flips) == 0) == ceiling.reached(flips).met == (outcome_of(seen(value), bound) == "pass")
    assert (floor.miss(agreement) == 0) == floor.reached(agreement).met == (outcome_of(-seen(value), -bound) == "pass")


@pytest.mark.parametrize(
    ("option", "metric", "words"),
    [
        ("max_nsp_flips", "nsp.flip_rate", {0.3: "met", 0.45: "undecided", 0.55: "undecided", 0.7: "not met"}),
        ("min_agreement", "mlm.top1_agreement", {0.3: "not met", 0.45: "undecided", 0.55: "undecided", 0.7: "met"}),
    ],
)
def test_what_is_said_of_a_goal_is_what_a_gate_would_say(option: str, metric: str, words: dict[float, str]) -> None:
    goal = Goal(option=option, bound=0.5)
    for value, word in words.items():
        reached = goal.reached({metric: seen(value)})
        assert reached.met == (word == "met")
        assert outcome_sentence(option, reached).startswith(f"{word}: {metric} is {value:g} (")
        assert ("more text" in outcome_sentence(option, reached)) == (word == "undecided")


def test_an_exact_number_is_never_undecided() -> None:
    exact = MetricValue(value=8.0, low=8.0, high=8.0, n=1)
    for bound, word in ((8.0, "met"), (7.99, "not met")):
        goal = Goal(option="max_p95_ms", bound=bound)
        assert outcome_sentence("max_p95_ms", goal.reached({"latency.p95_ms": exact})).startswith(f"{word}: ")


def test_what_is_missing_or_no_number_is_never_met() -> None:
    goals = goals_of({"max_kl": 0.1, "max_p95_ms": None})
    assert [goal.option for goal in goals] == ["max_kl"]
    assert total_miss(goals, {}) == math.inf
    assert total_miss(goals, {"mlm.kl_mean": seen(math.nan)}) == math.inf


def test_the_sentence_says_what_was_reached_and_what_was_asked_for() -> None:
    goal = Goal(option="min_agreement", bound=0.99)
    words = sentence("min_agreement", goal.reached({"mlm.top1_agreement": seen(0.975)}))
    assert words == "mlm.top1_agreement is 0.975 (0.875 to 1.075), the goal is at least 0.99"


def test_a_goal_for_what_the_model_or_the_text_lacks_is_refused() -> None:
    goals = goals_of({"max_nsp_flips": 0.1})
    require_measurable(goals, Parts(("mlm", "nsp")), lambda head: None, "m")
    with pytest.raises(UsageError, match="m has no nsp head"):
        require_measurable(goals, Parts(("mlm",)), lambda head: None, "m")
    with pytest.raises(UsageError, match="--max-nsp-flips: nsp not here"):
        require_measurable(goals, Parts(("mlm", "nsp")), lambda head: (f"{head.name} not here", "help"), "m")


def test_a_goal_for_what_a_text_does_not_show_is_refused() -> None:
    goals = goals_of({"max_accuracy_drop": 0.1, "max_p95_ms": 3.0})
    require_measured(goals, {"sequence_classification.accuracy_drop": seen(0.1)}, "a.txt")
    with pytest.raises(UsageError, match=r"--max-accuracy-drop: a.txt gives no sequence_classification.accuracy_drop"):
        require_measured(goals, {}, "a.txt")
