"""Nothing that is registered is forgotten."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from bertedge.recipe import METHODS, RECIPES, QuantizationRecipe
from bertedge.tuning.candidates import METHOD_STAGE, OPTIONS, RECIPE_STAGE, folder_name, listed

BASE = QuantizationRecipe(exclude=("pooler",), held_out=0.25)
ALL = listed([(1, "small "), (0, "large ")], BASE)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", [0, 1])
def test_every_registered_method_is_a_candidate_of_every_model(method: str, model: int) -> None:
    (found,) = [c for c in ALL if c.stage == METHOD_STAGE and c.model == model and c.recipe.method.name == method]
    assert found.recipe == QuantizationRecipe(method=METHODS[method](), exclude=("pooler",), held_out=0.25)


@pytest.mark.parametrize("method", METHODS)
def test_every_option_of_a_method_is_tried(method: str) -> None:
    kind = METHODS[method]
    own = [c.recipe.method for c in ALL if c.recipe.method.name == method]
    for f in fields(kind):
        for value in OPTIONS.get(f.name, ()):
            assert value in {getattr(tried, f.name) for tried in own}


def test_every_option_belongs_to_some_method_or_is_a_number_of_bits() -> None:
    there = {f.name for kind in METHODS.values() for f in fields(kind)}
    assert OPTIONS.keys() - there <= {"bits"}  # weight-only methods have it


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "default"])
def test_named_recipes_come_last(name: str) -> None:
    (found,) = [c for c in ALL if c.name == f"small {name}"]
    assert found.stage == RECIPE_STAGE
    assert found.recipe.method == RECIPES[name].method


def test_names_tell_candidates_apart_and_stages_are_in_order() -> None:
    names = [c.name for c in ALL]
    assert len({folder_name(name) for name in names}) == len(set(names)) == len(names)
    assert [c.stage for c in ALL] == sorted(c.stage for c in ALL)
    assert ALL[0].name == "small dynamic"
    assert "large static rounding=nearest" in names
    assert "large static no-smoothing" in names


@pytest.mark.parametrize(
    "names",
    [
        ("模型 static", "модель static", "static"),
        ("a b static", "a-b static"),
        ("Tiny static", "tiny static"),
        ("模", "型"),
    ],
)
def test_names_that_differ_in_what_folders_cannot_hold_get_folders_of_their_own(names: tuple[str, ...]) -> None:
    folders = [folder_name(name) for name in names]
    assert len({folder.lower() for folder in folders}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.=_-]*", folder) for folder in folders)
    assert [folder_name(name) for name in names] == folders


def test_long_names_make_folders_that_file_systems_take() -> None:
    one, other = (folder_name(f"{'x' * 300}{end} static") for end in "ab")
    assert one != other
    assert len(one) < 150
