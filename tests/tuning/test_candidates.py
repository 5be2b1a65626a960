"""Nothing that is registered is forgotten."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from bertedge.errors import FileError
from bertedge.recipe import METHODS, RECIPES, QuantizationRecipe, Static
from bertedge.tuning.candidates import METHOD_STAGE, OPTIONS, RECIPE_STAGE, listed, read_recipes

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


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("default", *METHODS)])
def test_named_recipes_come_last(name: str) -> None:
    (found,) = [c for c in ALL if c.name == f"small {name}"]
    assert found.stage == RECIPE_STAGE
    assert found.recipe.method == RECIPES[name].method


def test_names_tell_candidates_apart_and_stages_are_in_order() -> None:
    names = [c.name for c in ALL]
    assert len(set(names)) == len(names)
    assert [c.stage for c in ALL] == sorted(c.stage for c in ALL)
    assert ALL[0].name == "small dynamic"
    assert "large static rounding=nearest" in names
    assert "large static no-smoothing" in names


def test_recipes_of_a_file_take_the_place_of_the_usual_ones(tmp_path: Path) -> None:
    file = tmp_path / "recipes.toml"
    file.write_text('[mine]\nrounding = "nearest"\n[small]\nmethod = "weight-only"\nexclude = "mlm.decoder"\n')
    recipes = read_recipes(file)
    assert recipes["mine"] == QuantizationRecipe(method=Static(rounding="nearest"))
    found = listed([(0, "")], BASE, recipes)
    assert [(c.name, c.stage, c.recipe.exclude) for c in found] == [
        ("mine", METHOD_STAGE, ("pooler",)),
        ("small", METHOD_STAGE, ("mlm.decoder", "pooler")),
    ]


@pytest.mark.parametrize("text", ["", "rounding = 1", "[a]\nroundin = 1", "a"])
def test_a_file_without_recipes_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipes.toml").write_text(text)
    with pytest.raises(FileError, match=r"recipes\.toml"):
        read_recipes(tmp_path / "recipes.toml")
