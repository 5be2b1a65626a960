"""Recipes: what cannot be written, and what options change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.errors import FileError, UsageError
from bertedge.recipe import (
    BITS,
    BLOCK_SIZES,
    METHODS,
    MOST_HELD_OUT,
    OBSERVERS,
    RECIPES,
    ROUNDINGS,
    Dynamic,
    QuantizationRecipe,
    Static,
    WeightOnly,
    matching,
    method_named,
    recipe_named,
)
from bertedge.records import from_json, to_json

METHOD = st.one_of(
    st.builds(Dynamic),
    st.builds(WeightOnly, bits=st.sampled_from(BITS), block_size=st.sampled_from(BLOCK_SIZES)),
    st.builds(
        Static,
        observer=st.sampled_from(OBSERVERS),
        percentile=st.floats(51, 100),
        num_examples=st.integers(1, 500),
        rounding=st.sampled_from(ROUNDINGS),
        finer=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    ),
)


PATTERNS = st.lists(st.text(max_size=9), max_size=3).map(tuple)


@given(
    st.builds(
        QuantizationRecipe, method=METHOD, exclude=PATTERNS, float16=PATTERNS, held_out=st.floats(0, MOST_HELD_OUT)
    )
)
def test_a_recipe_survives_json(recipe: QuantizationRecipe) -> None:
    assert from_json(QuantizationRecipe, to_json(recipe)) == recipe


@pytest.mark.parametrize("method", [{"name": "magic"}, {"name": ["static"]}, "static", None, {}, 5])
def test_json_of_no_method_is_refused(method: object) -> None:
    with pytest.raises(FileError, match="method"):
        from_json(QuantizationRecipe, {"method": method, "exclude": []})


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_known_by_its_own_name(name: str) -> None:
    assert method_named(name).name == name


@pytest.mark.parametrize(
    "options",
    [{"num_examples": 0}, {"max_length": 7}, {"rounding": "up"}, {"observer": "entropy"}, {"percentile": 0.9999}],
)
def test_a_static_method_checks_itself(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Static(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_most_of_the_text_is_for_calibration(share: float) -> None:
    with pytest.raises(UsageError, match="held out"):
        QuantizationRecipe(held_out=share)


@pytest.mark.parametrize("options", [{"bits": 3}, {"block_size": 48}, {"rounding": "up"}, {"max_length": 7}])
def test_a_weight_only_method_checks_itself(options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as raised:
        QuantizationRecipe().changed(method="weight-only", **options)
    assert raised.value.hint


def test_options_change_the_method_and_nothing_else() -> None:
    recipe = RECIPES["faithful"].changed(num_examples=3, observer=None)
    assert isinstance(recipe.method, Static)
    assert (recipe.method.num_examples, recipe.method.finer) == (3, ("*",))
    plain = RECIPES["default"].changed(method="dynamic", exclude=("a",))
    assert plain == QuantizationRecipe(method=Dynamic(), exclude=("a",))
    assert recipe.changed(method="static", exclude=()) == recipe


def test_an_option_of_another_method_is_an_error_that_names_the_method() -> None:
    with pytest.raises(UsageError, match="--finer") as raised:
        QuantizationRecipe().changed(method="dynamic", finer=("*",))
    assert "static" in raised.value.hint


def test_unknown_names_list_near_ones() -> None:
    with pytest.raises(UsageError, match="faithfull"):
        recipe_named("faithfull")
    with pytest.raises(UsageError, match="dynamo"):
        method_named("dynamo")
    with pytest.raises(UsageError, match="--exclude") as raised:
        matching("--exclude", ("pooller",), ["pooler", "mlm.decoder"])
    assert "pooler" in raised.value.hint


def test_a_layer_knows_the_first_pattern_that_named_it() -> None:
    chosen = matching("--exclude", ("a.*", "*"), ["a.b", "c"])
    assert chosen == {"a.b": "a.*", "c": "*"}


def test_a_percentile_without_its_observer_is_refused() -> None:
    with pytest.raises(UsageError, match="--percentile: means nothing to the observer min-max") as caught:
        QuantizationRecipe().changed(percentile=99.9)
    assert caught.value.hint == "add --observer percentile"
    assert QuantizationRecipe().changed(observer="percentile", percentile=99.9).changed(percentile=99.5)


@pytest.mark.parametrize("method", ["dynamic", "weight-only"])
def test_a_recipe_is_not_dropped_for_another_method(method: str) -> None:
    with pytest.raises(UsageError, match=f"--method {method}: the recipe is one of the static method"):
        recipe_named("faithful").changed(method=method)
    assert recipe_named("default").changed(method=method).method == METHODS[method]()
