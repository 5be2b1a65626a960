"""What is tried next, and when enough was tried."""

from __future__ import annotations

from collections.abc import Callable

from bertedge.evaluate.goals import goals_of
from bertedge.quantization.sensitivity import FLOAT16, Remedy, Sensitivity
from bertedge.recipe import METHODS, QuantizationRecipe
from bertedge.tuning.agenda import Agenda, Study
from bertedge.tuning.candidates import (
    METHOD_STAGE,
    OPTION_STAGE,
    PROMOTION_STAGE,
    RECIPE_STAGE,
    Candidate,
    folder_name,
    listed,
)
from bertedge.tuning.state import Entry, LayerStudy, State
from tests.tuning.helpers import entry_of, exactly, state_of

LOSS = {"max_kl": 0.001}
ALL_THREE = {"max_kl": 0.001, "max_p95_ms": 8.0, "max_size_mb": 30.0}


def agenda_of(goals: dict[str, float], *, everything: bool = False, work: tuple[float, ...] = (1.0,)) -> Agenda:
    prefixes = [""] if len(work) == 1 else [f"m{index} " for index in range(len(work))]
    order = sorted(enumerate(prefixes), key=lambda pair: work[pair[0]])
    base = QuantizationRecipe()
    return Agenda(goals=goals_of(goals), listed=listed(order, base), work=work, everything=everything)


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


def run(
    agenda: Agenda, measure: Callable[[Candidate], Entry], state: State | None = None
) -> tuple[list[Candidate], State]:
    """The whole search, with numbers from a function."""
    state, tried = state or state_of(), []
    while (action := agenda.next(state)) is not None:
        if isinstance(action, Study):
            study = LayerStudy(model=action.model, recipe=action.recipe, sensitivity=sensitivity(20))
            state = state_of(*state.entries, studies=(*state.studies, study), floats=state.floats)
        else:
            tried.append(action)
            state = state_of(*state.entries, measure(action), studies=state.studies, floats=state.floats)
        assert len(tried) < 200
    return tried, state


def test_where_a_plain_method_is_good_enough_only_methods_are_tried() -> None:
    tried, _ = run(agenda_of(ALL_THREE), lambda c: entry_of(c, kl=0.0005))
    assert [c.stage for c in tried] == [METHOD_STAGE] * len(METHODS)


def test_everything_is_tried_where_it_is_asked_for() -> None:
    agenda = agenda_of(ALL_THREE, everything=True)
    tried, _ = run(agenda, lambda c: entry_of(c, kl=0.0005))
    assert [c.name for c in tried][: len(agenda.listed)] == [c.name for c in agenda.listed]
    assert [c.name.split()[-3] for c in tried[len(agenda.listed) :]] == ["promoted-5", "promoted-10", "promoted-20"]


def test_promotions_are_searched_for_the_fewest_that_do() -> None:
    def measure(candidate: Candidate) -> Entry:
        promoted = len(candidate.recipe.float16)
        faithful = 0.0001 if candidate.stage == RECIPE_STAGE else 0.01
        return entry_of(candidate, kl=0.01 - 0.001 * promoted if promoted else faithful)

    tried, state = run(agenda_of(LOSS), measure)
    promoted = [c for c in tried if c.stage == PROMOTION_STAGE]
    assert promoted[0].name.endswith("promoted-20 by mlm")
    fewest = min(
        len(e.recipe.float16)
        for e in state.entries
        if e.stage == PROMOTION_STAGE and e.fidelity["mlm.kl_mean"].value <= 0.001
    )
    assert fewest == 9
    assert len(promoted) <= 7
    assert {METHOD_STAGE, OPTION_STAGE, RECIPE_STAGE} <= {c.stage for c in tried}


def test_what_is_too_slow_is_not_made_slower() -> None:
    tried, _ = run(agenda_of(ALL_THREE), lambda c: entry_of(c, kl=0.01, ms=20))
    assert {c.stage for c in tried} == {METHOD_STAGE, OPTION_STAGE}
    tried, _ = run(agenda_of(ALL_THREE), lambda c: entry_of(c, kl=0.01, mb=50))
    assert {c.stage for c in tried} == {METHOD_STAGE, OPTION_STAGE}


def test_a_student_that_is_good_enough_spares_its_teacher() -> None:
    tried, _ = run(agenda_of(ALL_THREE, work=(10.0, 1.0)), lambda c: entry_of(c, kl=0.0005))
    assert {c.model for c in tried} == {1}


def test_a_student_that_fails_in_float_is_not_promoted() -> None:
    goals = {"max_kl": 0.001, "max_mlm_drop": 0.01}
    floats = {"1": {"mlm.kl_mean": exactly(0.0), "mlm.top1_accuracy_drop": exactly(0.05)}}

    def measure(candidate: Candidate) -> Entry:
        made = entry_of(candidate, kl=0.0005 if candidate.model == 0 else 0.01)
        made.fidelity["mlm.top1_accuracy_drop"] = exactly(0.05 if candidate.model else 0.0)
        return made

    tried, _ = run(agenda_of(goals, work=(10.0, 1.0)), measure, state_of(floats=floats))
    assert [c.stage for c in tried if c.model == 1] == [METHOD_STAGE] * len(METHODS)
    assert [c.stage for c in tried if c.model == 0] == [METHOD_STAGE] * len(METHODS)


def test_a_search_goes_on_where_it_was() -> None:
    def measure(candidate: Candidate) -> Entry:
        return entry_of(candidate, kl=0.01 - 0.001 * len(candidate.recipe.float16))

    agenda = agenda_of(LOSS)
    whole, final = run(agenda, measure)
    for cut in range(len(whole)):
        rest, _ = run(agenda, measure, state_of(*final.entries[:cut]))
        assert [c.name for c in rest] == [c.name for c in whole[cut:]]


def test_goals_for_another_head_promote_other_layers_under_other_names() -> None:
    def measure(candidate: Candidate) -> Entry:
        made = entry_of(candidate, kl=0.01 - 0.001 * len(candidate.recipe.float16))
        made.fidelity["nsp.flip_rate"] = exactly(0.1 - 0.01 * len(candidate.recipe.float16))
        return made

    _, state = run(agenda_of(LOSS), measure)
    more, state = run(agenda_of({"max_nsp_flips": 0.01}), measure, state)
    assert any(candidate.stage == PROMOTION_STAGE for candidate in more)
    recipes = {}
    for entry in state.entries:
        assert recipes.setdefault(entry.name, entry.recipe) == entry.recipe
    assert len({folder_name(name) for name in recipes}) == len(recipes)
