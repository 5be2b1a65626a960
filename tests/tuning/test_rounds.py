"""What is tried, and when enough was tried, with numbers from a function instead of measurements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bertedge.evaluate.goals import goals_of
from bertedge.metric import MetricValue
from bertedge.quantization.sensitivity import FLOAT16, Remedy, Sensitivity
from bertedge.recipe import METHODS, QuantizationRecipe
from bertedge.tuning.candidates import METHOD_STAGE, OPTION_STAGE, PROMOTION_STAGE, RECIPE_STAGE, Candidate, listed
from bertedge.tuning.measured import Entry, Records
from bertedge.tuning.rounds import Rounds
from bertedge.tuning.tuning_settings import TuneSettings
from tests.tuning.helpers import entry_of, exactly

LOSS = {"max_kl": 0.001}
ALL_THREE = {"max_kl": 0.001, "max_p95_ms": 8.0, "max_size_mb": 30.0}
Measure = Callable[[Candidate], Entry]


class Numbers(Rounds):
    """Measures by a function."""

    def __init__(self, folder: Path, goals: dict[str, float], measure: Measure, work: tuple[float, ...], **more: Any):
        self.measure, self.tried = measure, []
        bench = SimpleNamespace(
            settings=TuneSettings(everything=more.get("everything", False)),
            listen=lambda share, text: None,
            layers=lambda model, recipe: sensitivity(20),
            float_fidelity=lambda model: more["floats"],
        )
        super().__init__(bench, Records(folder, {}), goals_of(goals), work, lambda entry, new: None)  # type: ignore[arg-type]

    def _measure(self, candidate: Candidate, reasons: dict[str, str]) -> Entry:
        assert len(self.tried) < 200
        self.tried.append(candidate)
        return self.measure(candidate)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Numbers]:
    def search(goals: dict[str, float], measure: Measure, work: tuple[float, ...] = (1.0,), **more: Any) -> Numbers:
        rounds = Numbers(tmp_path, goals, measure, work, **more)
        assert rounds.try_all(candidates(work))
        return rounds

    return search


def candidates(work: tuple[float, ...]) -> list[Candidate]:
    prefixes = [""] if len(work) == 1 else [f"m{index} " for index in range(len(work))]
    return listed(sorted(enumerate(prefixes), key=lambda pair: work[pair[0]]), QuantizationRecipe())


def sensitivity(layers: int) -> Sensitivity:
    remedies = tuple(
        Remedy(
            group=f"layer.{index}",
            field=FLOAT16,
            layers=(f"layer.{index}",),
            losses={"mlm.kl_mean": 0.009 - 0.0001 * index, "nsp.prob_mae": 0.007 + 0.0001 * index},
            work=0.1,
            bytes=0.1,
        )
        for index in range(layers)
    )
    return Sensitivity(examples=1, positions=1, losses={"mlm.kl_mean": 0.01, "nsp.prob_mae": 0.01}, remedies=remedies)


def test_where_a_plain_method_is_good_enough_only_methods_are_tried(run: Callable[..., Numbers]) -> None:
    found = run(ALL_THREE, lambda c: entry_of(c, kl=0.0005))
    assert [c.stage for c in found.tried] == [METHOD_STAGE] * len(METHODS)


def test_everything_is_tried_where_it_is_asked_for(run: Callable[..., Numbers]) -> None:
    names = [c.name for c in run(ALL_THREE, lambda c: entry_of(c, kl=0.0005), everything=True).tried]
    known = [c.name for c in candidates((1.0,))]
    assert names[: len(known)] == known
    assert [name.split()[-3] for name in names[len(known) :]] == ["promoted-5", "promoted-10", "promoted-20"]


def test_promotions_are_searched_for_the_fewest_that_do(run: Callable[..., Numbers]) -> None:
    def measure(candidate: Candidate) -> Entry:
        promoted = len(candidate.recipe.float16)
        faithful = 0.0001 if candidate.stage == RECIPE_STAGE else 0.01
        return entry_of(candidate, kl=0.01 - 0.001 * promoted if promoted else faithful)

    found = run(LOSS, measure)
    promoted = [c for c in found.tried if c.stage == PROMOTION_STAGE]
    assert promoted[0].name.endswith("promoted-20 by mlm")
    fewest = min(
        len(e.recipe.float16)
        for e in found.entries
        if e.stage == PROMOTION_STAGE and e.fidelity["mlm.kl_mean"].value <= 0.001
    )
    assert fewest == 9
    assert len(promoted) <= 7
    assert {METHOD_STAGE, OPTION_STAGE, RECIPE_STAGE} <= {c.stage for c in found.tried}


@pytest.mark.parametrize("beyond", [{"ms": 20.0}, {"mb": 50.0}])
def test_what_is_too_slow_or_too_large_gets_no_more_work(run: Callable[..., Numbers], beyond: dict[str, float]) -> None:
    found = run(ALL_THREE, lambda c: entry_of(c, kl=0.01, **beyond))
    assert {c.stage for c in found.tried} == {METHOD_STAGE, OPTION_STAGE}


def test_a_student_that_is_good_enough_spares_its_teacher(run: Callable[..., Numbers]) -> None:
    assert {c.model for c in run(ALL_THREE, lambda c: entry_of(c, kl=0.0005), (10.0, 1.0)).tried} == {1}


def test_a_student_that_fails_in_float_is_not_promoted(run: Callable[..., Numbers]) -> None:
    goals = {"max_kl": 0.001, "max_mlm_drop": 0.01}
    floats: dict[str, MetricValue] = {"mlm.kl_mean": exactly(0.0), "mlm.top1_accuracy_drop": exactly(0.05)}

    def measure(candidate: Candidate) -> Entry:
        made = entry_of(candidate, kl=0.0005 if candidate.model == 0 else 0.01)
        made.fidelity["mlm.top1_accuracy_drop"] = exactly(0.05 if candidate.model else 0.0)
        return made

    tried = run(goals, measure, (10.0, 1.0), floats=floats).tried
    for model in (0, 1):
        assert [c.stage for c in tried if c.model == model] == [METHOD_STAGE] * len(METHODS)


def test_goals_for_another_head_promote_other_layers_under_other_names(run: Callable[..., Numbers]) -> None:
    def measure(candidate: Candidate) -> Entry:
        made = entry_of(candidate, kl=0.01 - 0.001 * len(candidate.recipe.float16))
        made.fidelity["nsp.flip_rate"] = exactly(0.1 - 0.01 * len(candidate.recipe.float16))
        return made

    tried = [c for goals in (LOSS, {"max_nsp_flips": 0.01}) for c in run(goals, measure).tried]
    recipes: dict[str, QuantizationRecipe] = {}
    for candidate in tried:
        assert recipes.setdefault(candidate.name, candidate.recipe) == candidate.recipe
    heads = {name.split()[-1] for name in recipes if "promoted" in name}
    assert heads == {"mlm", "nsp"}
