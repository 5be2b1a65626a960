"""What is tried: every registered method, one option changed at a time, and the recipes that have a name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from bertedge.recipe import METHODS, RECIPES, Method, QuantizationRecipe

#: Options of methods that are worth trying: name -> values, the likeliest first. A method has those that are fields of
#: its dataclass, so a new method or a new option joins by its name.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "bits": (8, 4),
    "rounding": ("compensated", "nearest"),
    "observer": ("mse",),
    "bias_correction": (True, False),
    "weight_scales": ("mse", "max"),
    "smoothing": (True, False),
    "float_outliers": (True, False),
}
#: Methods as they are, then their options, then named recipes, which trade time for fidelity, then promotions.
METHOD_STAGE, OPTION_STAGE, RECIPE_STAGE, PROMOTION_STAGE = range(4)


#: Characters of a candidate's name in that of its folder; file systems take 255 in all.
LONGEST_NAME = 100


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One model by one recipe.

    Attributes:
        model: which of the models.
        stage: candidates of an earlier stage come first.
    """

    model: int
    recipe: QuantizationRecipe
    name: str
    stage: int


def listed(models: Sequence[tuple[int, str]], base: QuantizationRecipe) -> list[Candidate]:
    """All candidates that are known from the start, stage by stage, in the order of the models.

    Args:
        models: the index of each model, and what the names of its candidates begin with; the cheapest model first.
        base: what all of them have in common: excluded layers, and the share of text that is kept back.
    """
    found: list[Candidate] = []
    for stage, recipes in ((METHOD_STAGE, _methods()), (OPTION_STAGE, _options()), (RECIPE_STAGE, RECIPES)):
        for model, prefix in models:
            for name, own in recipes.items():
                recipe = replace(own, exclude=(*own.exclude, *base.exclude), held_out=base.held_out)
                if not any(c.model == model and c.recipe == recipe for c in found):
                    found.append(Candidate(model=model, recipe=recipe, name=f"{prefix}{name}", stage=stage))
    return found


def name_of(method: Method) -> str:
    """The method, and what differs from its defaults."""
    default, words = type(method)(), [str(method.name)]
    for f in fields(method):
        value = getattr(method, f.name)
        if value != getattr(default, f.name):
            words.append(_option_words(f.name.replace("_", "-"), value))
    return " ".join(words)


def _option_words(option: str, value: Any) -> str:
    if isinstance(value, bool):
        return option if value else f"no-{option}"
    return f"{option}={','.join(value) if isinstance(value, tuple) else value}"


def folder_name(name: str) -> str:
    """A candidate's name as that of a folder; two names never share one, whatever a file system holds for equal."""
    plain = re.sub(r"[^a-z0-9.=_-]+", "-", name.lower()).strip("-.")
    if plain == name and len(plain) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(name.encode("utf-8", errors="surrogateescape")).hexdigest()[:8]
    return f"{plain[:LONGEST_NAME]}-{digest}".lstrip("-")


def _methods() -> dict[str, QuantizationRecipe]:
    return {name: QuantizationRecipe(method=kind()) for name, kind in METHODS.items()}


def _options() -> dict[str, QuantizationRecipe]:
    """Every method with one option changed."""
    changed = [
        replace(method, **{f.name: value})
        for method in (kind() for kind in METHODS.values())
        for f in fields(method)
        for value in OPTIONS.get(f.name, ())
        if value != getattr(method, f.name)
    ]
    return {name_of(method): QuantizationRecipe(method=method) for method in changed}
