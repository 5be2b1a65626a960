"""Recipes: what cannot be written, and what options change."""

from __future__ import annotations

import os
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.errors import FileError, UsageError
from bertedge.keys import to_toml
from bertedge.recipe import (
    BITS,
    BLOCK_SIZES,
    METHODS,
    MOST_HELD_OUT,
    OBSERVERS,
    PERCENTILE,
    RECIPES,
    ROUNDINGS,
    Dynamic,
    QuantizationRecipe,
    Static,
    WeightOnly,
    matching,
    method_named,
    read_recipe,
    recipe_named,
    recipe_of_table,
)
from bertedge.records import from_json, to_json

#: What a file in UTF-8 can hold.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
METHOD = st.one_of(
    st.builds(Dynamic),
    st.builds(WeightOnly, bits=st.sampled_from(BITS), block_size=st.sampled_from(BLOCK_SIZES)),
    st.builds(
        Static,
        observer=st.sampled_from(OBSERVERS),
        examples=st.integers(1, 500),
        rounding=st.sampled_from(ROUNDINGS),
        finer=st.lists(TEXT, max_size=2).map(tuple),
    ),
    st.builds(Static, observer=st.just(PERCENTILE), percentile=st.floats(51, 100), smoothing=st.booleans()),
)


PATTERNS = st.lists(TEXT, max_size=3).map(tuple)


@given(
    st.builds(
        QuantizationRecipe, method=METHOD, exclude=PATTERNS, float16=PATTERNS, held_out=st.floats(0, MOST_HELD_OUT)
    )
)
def test_a_recipe_survives_json_and_toml(recipe: QuantizationRecipe) -> None:
    assert from_json(QuantizationRecipe, to_json(recipe)) == recipe
    text = to_toml(recipe.values())
    assert recipe_of_table(tomllib.loads(text)) == recipe
    assert to_toml(recipe_of_table(tomllib.loads(text)).values()) == text


@pytest.mark.parametrize("method", [{"name": "magic"}, {"name": ["static"]}, "static", None, {}, 5])
def test_json_of_no_method_is_refused(method: object) -> None:
    with pytest.raises(FileError, match="method"):
        from_json(QuantizationRecipe, {"method": method, "exclude": []})


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_known_by_its_own_name(name: str) -> None:
    assert method_named(name).name == name


@pytest.mark.parametrize(
    "options",
    [{"examples": 0}, {"max_length": 7}, {"rounding": "up"}, {"observer": "entropy"}, {"percentile": 0.9999}],
)
def test_a_static_method_checks_itself(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Static(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_most_of_the_text_is_for_calibration(share: float) -> None:
    with pytest.raises(UsageError, match="held_out"):
        QuantizationRecipe(held_out=share)


@pytest.mark.parametrize("options", [{"bits": 3}, {"block_size": 48}, {"rounding": "up"}, {"max_length": 7}])
def test_a_weight_only_method_checks_itself(options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as raised:
        QuantizationRecipe().changed(method="weight-only", **options)
    assert raised.value.hint


def test_options_change_the_method_and_nothing_else() -> None:
    recipe = RECIPES["faithful"].changed(examples=3)
    assert isinstance(recipe.method, Static)
    assert (recipe.method.examples, recipe.method.finer) == (3, ("*",))
    plain = RECIPES["default"].changed(method="dynamic", exclude=("a",))
    assert plain == QuantizationRecipe(method=Dynamic(), exclude=("a",))
    assert recipe.changed(method="static", exclude=()) == recipe
    assert plain.changed(exclude=()) == RECIPES["dynamic"]


def test_an_option_of_another_method_is_an_error_that_names_the_method() -> None:
    with pytest.raises(UsageError, match="finer: the dynamic method has no such setting") as raised:
        QuantizationRecipe().changed(method="dynamic", finer=("*",))
    assert "static" in raised.value.hint


def test_unknown_names_list_near_ones() -> None:
    with pytest.raises(UsageError, match="faithfull"):
        recipe_named("faithfull")
    with pytest.raises(UsageError, match="dynamo"):
        method_named("dynamo")
    with pytest.raises(UsageError, match="exclude") as raised:
        matching("exclude", ("pooller",), ["pooler", "mlm.decoder"])
    assert "pooler" in raised.value.hint


def test_a_layer_knows_the_first_pattern_that_named_it() -> None:
    chosen = matching("exclude", ("a.*", "*"), ["a.b", "c"])
    assert chosen == {"a.b": "a.*", "c": "*"}


def test_a_percentile_without_its_observer_is_refused() -> None:
    with pytest.raises(UsageError, match="percentile=99.9 has no effect with observer=min-max") as caught:
        QuantizationRecipe().changed(percentile=99.9)
    assert caught.value.hint == "add observer=percentile"
    assert QuantizationRecipe().changed(observer="percentile", percentile=99.9).changed(percentile=99.5)


@pytest.mark.parametrize("method", ["dynamic", "weight-only"])
def test_a_recipe_is_not_dropped_for_another_method(method: str) -> None:
    with pytest.raises(UsageError, match=f"method={method}: this recipe has settings of the static method"):
        recipe_named("faithful").changed(method=method)
    assert recipe_named("default").changed(method=method).method == METHODS[method]()


def test_a_file_may_hold_goals_and_need_not_name_everything(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('rounding = "nearest"\nexclude = "pooler"\n[goals]\nmax_kl = 0.1\n')
    assert read_recipe(file) == (QuantizationRecipe().changed(rounding="nearest", exclude=("pooler",)), {"max_kl": 0.1})
    assert read_recipe("faithful") == (RECIPES["faithful"], {})


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b'\xef\xbb\xbfmethod = "dynamic"\r\n')
    assert read_recipe(file) == (RECIPES["dynamic"], {})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
def test_a_recipe_comes_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('method = "dynamic"\n',), daemon=True)
    writer.start()
    assert read_recipe(pipe)[0] == RECIPES["dynamic"]
    writer.join()


def test_what_is_no_file_is_no_recipe(tmp_path: Path) -> None:
    for name in ("x" * 300, str(tmp_path), ""):
        with pytest.raises(UsageError, match="is not known"):
            read_recipe(name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('observr = "mse"', "there is no setting 'observr'"),
        ("bits = 8", "bits: the static method"),
        ('smoothing = "yes"', "smoothing: 'yes' is not true or false"),
        ("exclude = [1]", "exclude"),
        ("goals = 1", "goals is not a table"),
        ("percentile = 1e99", "percentile is 1e"),
        ("[method]", "method"),
    ],
)
def test_a_file_that_is_no_recipe_is_an_error_that_names_it(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(FileError) as raised:
        read_recipe(file)
    assert words in raised.value.message
    assert str(file) in raised.value.message
    assert raised.value.hint
