"""The lists of worst disagreements: which cases are kept."""

from __future__ import annotations

import numpy as np
import pytest

from bertedge.heads.cases import Answer, Case, WorstList, passage


def case(index: int) -> Case:
    return Case(texts=(passage(str(index)),), reference=(Answer(text="a"),), candidate=(Answer(text="b"),))


def kept(found: WorstList) -> list[str]:
    return [one.texts[0].parts[0].text for one in found.cases()]


def test_the_largest_of_several_batches_are_kept_and_nan_comes_first() -> None:
    worst = WorstList(above=0.1, count=3)
    worst.add(np.array([0.1, 0.4, 0.2]), case)
    assert kept(worst) == ["1", "2"]
    worst.add(np.array([0.3, np.nan, 0.2]), lambda index: case(10 + index))
    assert kept(worst) == ["11", "1", "10"]


def test_a_text_is_listed_once_with_its_largest_score() -> None:
    worst = WorstList()
    worst.add(np.array([0.1, 0.4, 0.2]), case, rows=np.array([0, 0, 1]))
    assert kept(worst) == ["1", "2"]


@pytest.mark.parametrize("scores", [[], [0.0, 0.0]])
def test_without_differences_a_list_is_empty(scores: list[float]) -> None:
    worst = WorstList()
    worst.add(np.array(scores), case)
    assert worst.cases() == ()


def test_only_cases_that_are_kept_are_made() -> None:
    made: list[int] = []

    def counted(index: int) -> Case:
        made.append(index)
        return case(index)

    worst = WorstList(count=2)
    for scores in ([0.5, 0.6, 0.7], [0.1, 0.2, 0.3]):
        worst.add(np.array(scores), counted)
    assert made == [2, 1]
