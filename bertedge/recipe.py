"""Recipes: which layers are quantized, and how. A method is a dataclass here and a file in ``quantization``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, Literal

from bertedge.errors import FileError, UsageError, nearest
from bertedge.keys import Key, as_file_errors, check_keys, key, keys_of, read_table, read_toml

ROUNDINGS = ("auto", "nearest", "compensated")
PERCENTILE = "percentile"
OBSERVERS = ("min-max", "mse", PERCENTILE)
WEIGHT_SCALES = ("max", "mse")
#: The largest share of the calibration text that can be held out.
MOST_HELD_OUT = 0.5
#: Block sizes that the block-wise kernels of onnxruntime support.
BITS, BLOCK_SIZES = (4, 8), (16, 32, 64, 128, 256)
#: The most texts for a calibration or a measurement: more texts take hours and change little.
MAX_EXAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    """int8 weights; the range of the activations is taken from each input, without calibration.

    ``may_overflow``: on some CPUs the sums of this method can be wrong; see :mod:`bertedge.target`. ``in_blocks``:
    several weights of an output share a scale, not all.
    """

    name: Literal["dynamic"] = "dynamic"
    bits: ClassVar[int] = 8
    may_overflow: ClassVar[bool] = True
    in_blocks: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Static:
    """int8 weights; the ranges of the activations come from calibration.

    Compensated rounding: :mod:`bertedge.quantization.compensate`. Smoothing: Xiao et al. 2022 (SmoothQuant), equation
    4. Bias correction: Nagel et al. 2019, "Data-free quantization", section 4.2, with means from calibration.
    """

    name: Literal["static"] = "static"
    bits: ClassVar[int] = 8
    may_overflow: ClassVar[bool] = True
    in_blocks: ClassVar[bool] = False
    observer: str = key(
        "min-max",
        "Activation ranges: min-max takes all values; mse and percentile clip the rarest.",
        one_of=OBSERVERS,
    )
    percentile: float = key(
        99.99, "Percent of the values inside the range, for observer=percentile.", above=50, at_most=100
    )
    examples: int = key(64, "Texts to calibrate with.", at_least=1)
    max_length: int = key(512, "Most tokens of a calibration text.", at_least=8)
    rounding: str = key(
        "auto",
        "compensated corrects each rounding error in later weights; auto is compensated if that takes only seconds.",
        one_of=ROUNDINGS,
    )
    weight_scales: str = key(
        "max", "Scale of a channel: from its largest weight, or with the least squared error.", one_of=WEIGHT_SCALES
    )
    smoothing: bool = key(True, "Balance channels with outliers (SmoothQuant).")
    float_outliers: bool = key(True, "Multiply the few channels with the largest outliers in float32.")
    bias_correction: bool = key(True, "Correct the mean error of the rounded weights in the biases.")
    finer: tuple[str, ...] = key((), "Layers with 16-bit activations (two int8 terms); they take twice the work.")

    def __post_init__(self) -> None:
        check_keys(self)
        if self.observer != PERCENTILE and self.percentile != Static.percentile:
            raise UsageError(
                f"percentile={self.percentile:g} has no effect with observer={self.observer}",
                f"add observer={PERCENTILE}",
            )


@dataclass(frozen=True, kw_only=True)
class WeightOnly:
    """Weights of 4 or 8 bits with a scale for each block; activations stay float32.

    Use 4 bits for small files, 8 bits for more fidelity. For calls of more than a few tokens, static int8 is faster.
    """

    name: Literal["weight-only"] = "weight-only"
    may_overflow: ClassVar[bool] = False
    in_blocks: ClassVar[bool] = True
    bits: int = key(4, "Bits of a weight.", one_of=BITS)
    block_size: int = key(64, "Weights that share a scale.", one_of=BLOCK_SIZES)
    rounding: str = key("auto", "auto is compensated for 4 bits, nearest for 8.", one_of=ROUNDINGS)
    examples: int = key(128, "Texts that compensated rounding reads.", at_least=1)
    max_length: int = key(128, "Most tokens of such a text.", at_least=8)

    def __post_init__(self) -> None:
        check_keys(self)


def require_examples(count: int) -> None:
    """Refuse a number of texts that would take hours.

    Raises:
        UsageError: the number is 0 or above :data:`MAX_EXAMPLES`.
    """
    if not 1 <= count <= MAX_EXAMPLES:
        raise UsageError(
            f"the number of examples is {count}, expected 1 to {MAX_EXAMPLES}",
            "a few hundred are nearly as good as thousands",
        )


#: Methods that read calibration text.
Calibrated = Static | WeightOnly
Method = Dynamic | Static | WeightOnly
#: Methods by name.
METHODS: dict[str, type[Method]] = {"dynamic": Dynamic, "static": Static, "weight-only": WeightOnly}


@dataclass(frozen=True, kw_only=True)
class QuantizationRecipe:
    """How a float checkpoint becomes a quantized one."""

    method: Method = field(default_factory=Static)
    exclude: tuple[str, ...] = key((), "Layers that stay float32.")
    float16: tuple[str, ...] = key((), "Layers with float16 weights, computed in float32.")
    held_out: float = key(0.0, "Share of the calibration text to measure losses on.", at_least=0, at_most=MOST_HELD_OUT)

    def __post_init__(self) -> None:
        check_keys(self)

    def changed(self, **settings: Any) -> QuantizationRecipe:
        """A copy of this recipe with some settings changed; their names are in :data:`KEYS`.

        Raises:
            UsageError: the method is unknown, or it does not have a setting.
        """
        base = self.method
        name = settings.pop("method", base.name)
        if name != base.name:
            if base != type(base)():
                raise UsageError(
                    f"method={name}: this recipe has settings of the {base.name} method", f"start from --recipe {name}"
                )
            base = method_named(name)
        own = {name: settings.pop(name) for name in sorted(OWN & settings.keys())}
        unknown = settings.keys() - keys_of(type(base))
        if unknown:
            having = [name for name, kind in METHODS.items() if unknown <= keys_of(kind).keys()]
            raise UsageError(
                f"{', '.join(sorted(unknown))}: the {base.name} method has no such setting",
                f"{having[0]} has: add method={having[0]}" if having else nearest(min(unknown), KEYS),
            )
        return replace(self, method=replace(base, **settings), **own)

    def values(self) -> dict[str, Any]:
        """All settings by name, as in a recipe file."""
        options = {name: getattr(self.method, name) for name in keys_of(type(self.method))}
        if options.get("observer", PERCENTILE) != PERCENTILE:
            del options["percentile"]
        return {"method": self.method.name, **options, **{name: getattr(self, name) for name in keys_of(type(self))}}


#: Settings of the recipe itself.
OWN = keys_of(QuantizationRecipe).keys()
#: All settings by name; "method" is the name of the method.
KEYS: dict[str, Key] = {
    "method": Key(name="method", kind=str, default=Static.name, help="How to quantize.", one_of=tuple(METHODS)),
    **keys_of(WeightOnly, Static, QuantizationRecipe),
}


def listed_keys() -> list[Key]:
    """All settings for help. The help of a setting that one method has names the method."""
    listed = [KEYS["method"], *keys_of(QuantizationRecipe).values()]
    for name, kind in METHODS.items():
        listed += [replace(key, help=f"{name}: {key.help}") for key in keys_of(kind).values()]
    return listed


def matching(setting: str, patterns: tuple[str, ...], layers: list[str]) -> dict[str, str]:
    """Layer -> the first pattern that matches it, for all layers that a pattern matches.

    Args:
        setting: the name of the setting that holds the patterns, for the error.

    Raises:
        UsageError: a pattern matches no layer; the hint lists similar names.
    """
    chosen: dict[str, str] = {}
    for pattern in patterns:
        matches = [layer for layer in layers if fnmatchcase(layer, pattern)]
        if not matches:
            raise UsageError(
                f"{setting} {pattern!r} matches no layer that can be chosen here", nearest(pattern, layers)
            )
        chosen = dict.fromkeys(matches, pattern) | chosen
    return chosen


#: Recipes by name; the first one is the default.
RECIPES = {
    "default": QuantizationRecipe(),
    # 16-bit activations in all layers and compensated rounding: the highest fidelity with int8 weights
    "faithful": QuantizationRecipe(method=Static(rounding="compensated", finer=("*",), examples=256)),
    "dynamic": QuantizationRecipe(method=Dynamic()),
    "weight-only": QuantizationRecipe(method=WeightOnly()),
}


def recipe_named(name: str) -> QuantizationRecipe:
    """The built-in recipe of that name.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in RECIPES:
        raise UsageError(f"recipe {name!r} is not known", f"{nearest(name, RECIPES)}; or the name of a TOML file")
    return RECIPES[name]


def recipe_of_table(table: Mapping[str, Any]) -> QuantizationRecipe:
    """The recipe of a TOML table: the default recipe with these settings changed.

    Raises:
        UsageError: a setting is unknown, or its value is not allowed.
    """
    return QuantizationRecipe().changed(**read_table(table, KEYS))


def read_recipe(name: str | Path) -> tuple[QuantizationRecipe, dict[str, Any]]:
    """A built-in recipe, or one from a TOML file.

    Returns:
        The recipe, and the table ``[goals]`` of the file.

    Raises:
        FileError: the file cannot be read, or does not hold a recipe.
        UsageError: no recipe and no file has that name.
    """
    path = Path(name)
    is_file = os.path.exists(path) and not os.path.isdir(path)  # a pipe counts; a name that is too long does not
    if str(name) in RECIPES or not (path.suffix == ".toml" or is_file):
        return recipe_named(str(name)), {}
    table = read_toml(path)
    goals = table.pop("goals", {})
    if not isinstance(goals, dict):
        raise FileError(f"{path}: goals is not a table", "for example: [goals] and below it max_kl = 0.001")
    with as_file_errors(path):
        return recipe_of_table(table), goals


def method_named(name: str) -> Method:
    """The method of that name, with its default settings.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in METHODS:
        raise UsageError(f"method {name!r} is not known", nearest(name, METHODS))
    return METHODS[name]()
