"""The candidates: every method, methods with one setting changed, and built-in recipes; or the recipes of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertedge.errors import FileError
from bertedge.keys import as_file_errors, keys_of, read_toml
from bertedge.recipe import METHODS, RECIPES, Method, QuantizationRecipe, recipe_of_table

#: Settings of methods that are worth trying: name -> values, the most promising first. Each is tried alone with every
#: method that has it.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "bits": (8, 4),
    "rounding": ("compensated", "nearest"),
    "observer": ("mse",),
    "bias_correction": (True, False),
    "weight_scales": ("mse", "max"),
    "smoothing": (True, False),
    "float_outliers": (True, False),
}
#: Stages: methods with their defaults; with one setting changed; built-in recipes, slower and closer to float;
#: promotions.
METHOD_STAGE, OPTION_STAGE, RECIPE_STAGE, PROMOTION_STAGE = range(4)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One model and one recipe.

    Attributes:
        model: index of the model.
        stage: candidates of an earlier stage come first.
    """

    model: int
    recipe: QuantizationRecipe
    name: str
    stage: int


def listed(
    models: Sequence[tuple[int, str]],
    base: QuantizationRecipe,
    recipes: Mapping[str, QuantizationRecipe] | None = None,
) -> list[Candidate]:
    """All candidates except promotions, sorted by stage and then by model.

    Args:
        models: index of each model and the prefix of its candidates' names; the cheapest model first.
        base: the settings that all share: excluded layers, and the share of text that is held out.
        recipes: the recipes to try instead of the default ones.
    """
    stages = (_methods(), _options(), RECIPES) if recipes is None else (recipes,)
    found: list[Candidate] = []
    for stage, named in enumerate(stages):
        for model, prefix in models:
            for name, own in named.items():
                recipe = replace(own, exclude=(*own.exclude, *base.exclude), held_out=base.held_out)
                if not any(c.model == model and c.recipe == recipe for c in found):
                    found.append(Candidate(model=model, recipe=recipe, name=f"{prefix}{name}", stage=stage))
    return found


def read_recipes(path: Path) -> dict[str, QuantizationRecipe]:
    """The recipes of a TOML file, by name: a table ``[NAME]`` for each, with the keys of a recipe file.

    Raises:
        FileError: the file cannot be read, or is not a file of recipes.
    """
    table = read_toml(path)
    if not table or not all(isinstance(recipe, dict) for recipe in table.values()):
        raise FileError(f"{path}: expected a table for each recipe", "for example [a] and then bits = 8")
    with as_file_errors(path):
        return {name: recipe_of_table(recipe) for name, recipe in table.items()}


def name_of(method: Method) -> str:
    """The method, and the settings that differ from its defaults."""
    default, words = type(method)(), [str(method.name)]
    for name in keys_of(type(method)):
        value = getattr(method, name)
        if value != getattr(default, name):
            words.append(_option_words(name.replace("_", "-"), value))
    return " ".join(words)


def _option_words(option: str, value: Any) -> str:
    if isinstance(value, bool):
        return option if value else f"no-{option}"
    return f"{option}={','.join(value) if isinstance(value, tuple) else value}"


def _methods() -> dict[str, QuantizationRecipe]:
    return {name: QuantizationRecipe(method=kind()) for name, kind in METHODS.items()}


def _options() -> dict[str, QuantizationRecipe]:
    """Every method with one setting changed."""
    changed = [
        replace(method, **{name: value})
        for method in (kind() for kind in METHODS.values())
        for name in keys_of(type(method))
        for value in OPTIONS.get(name, ())
        if value != getattr(method, name)
    ]
    return {name_of(method): QuantizationRecipe(method=method) for method in changed}
