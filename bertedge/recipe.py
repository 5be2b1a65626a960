"""What is quantized and how, apart from the CPU it is for."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from bertedge.errors import UsageError, nearest

ROUNDINGS = ("auto", "nearest", "compensated")


@dataclass(frozen=True, kw_only=True)
class QuantizationRecipe:
    """How a float checkpoint becomes an int8 one.

    Attributes:
        method: a name in ``bertedge.quantization.METHODS``.
        exclude: patterns of layer names that stay float32, such as ``encoder.layer.0.*``.
        num_examples: texts that calibration runs at most.
        max_length: tokens of such a text at most.
        finer: patterns of layer names whose activations get two int8 terms, about 16 bits, for twice the work; the
            method has to be static.
        rounding: of the weights, for methods that calibrate: ``nearest``; ``compensated``, which lets weights make good
            each other's errors (see :mod:`bertedge.quantization.compensate`); or ``auto``, the latter where the model
            is small enough for it to take seconds.
    """

    method: str = "static"
    exclude: tuple[str, ...] = ()
    num_examples: int = 64
    max_length: int = 128
    rounding: str = "auto"
    finer: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.num_examples < 1 or self.max_length < 8:
            raise UsageError(
                f"recipe: {self.num_examples} examples of {self.max_length} tokens",
                "at least 1 example of at least 8 tokens",
            )
        if self.rounding not in ROUNDINGS:
            raise UsageError(f"rounding {self.rounding!r} is not known", nearest(self.rounding, ROUNDINGS))

    def excluded(self, layers: list[str]) -> set[str]:
        """The layers that the patterns name.

        Raises:
            UsageError: a pattern names none.
        """
        return _matching("--exclude", self.exclude, layers)

    def finer_layers(self, layers: list[str]) -> set[str]:
        """The layers that get two terms.

        Args:
            layers: those that can.

        Raises:
            UsageError: a pattern names none.
        """
        return _matching("--finer", self.finer, layers)


def _matching(option: str, patterns: tuple[str, ...], layers: list[str]) -> set[str]:
    chosen: set[str] = set()
    for pattern in patterns:
        matches = {layer for layer in layers if fnmatchcase(layer, pattern)}
        if not matches:
            raise UsageError(f"{option} {pattern!r} names no layer that it could be", nearest(pattern, layers))
        chosen |= matches
    return chosen


#: Recipes by name; the first one is the default.
RECIPES = {
    "default": QuantizationRecipe(),
    # 16 bits for the activations everywhere, and weights rounded with all care: as true as int8 weights allow
    "faithful": QuantizationRecipe(rounding="compensated", finer=("*",), num_examples=256),
}


def recipe_named(name: str) -> QuantizationRecipe:
    """The recipe of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in RECIPES:
        raise UsageError(f"recipe {name!r} is not known", nearest(name, RECIPES))
    return RECIPES[name]
