"""What is quantized and how, apart from the CPU it is for. A method is a dataclass here and a file that decides."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

from bertedge.errors import UsageError, nearest

ROUNDINGS = ("auto", "nearest", "compensated")
PERCENTILE = "percentile"
OBSERVERS = ("min-max", "mse", PERCENTILE)
WEIGHT_SCALES = ("max", "mse")
#: Share of the calibration text that can be kept back at most; the rest has to do for the ranges.
MOST_HELD_OUT = 0.5
#: What onnxruntime's block-wise kernels take.
BITS, BLOCK_SIZES = (4, 8), (16, 32, 64, 128, 256)


#: Texts that a calibration or a measurement may run: more take hours and tell no more.
MAX_EXAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    """int8 weights; the range of the activations is taken from each input, so nothing is calibrated.

    ``may_overflow`` of a method: whether there are CPUs on which its sums can be wrong; see :mod:`bertedge.target`.
    """

    name: Literal["dynamic"] = "dynamic"
    bits: ClassVar[int] = 8
    may_overflow: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Static:
    """int8 weights; activations keep to ranges that calibration found.

    Attributes:
        observer: how a range follows from what was seen: ``min-max``, all of it; ``mse``, what costs the smallest
            squared error; ``percentile``, what holds so many of the values. The latter two clip.
        percentile: share of the values that ``percentile`` keeps, in percent.
        num_examples: texts that calibration runs at most.
        max_length: tokens of such a text at most, as far as the model reads so many.
        rounding: of the weights: ``nearest``; ``compensated``, which lets weights make good each other's errors (see
            :mod:`bertedge.quantization.compensate`); or ``auto``, the latter where the model is small enough for it to
            take seconds.
        weight_scales: of each output channel: ``max``, by its largest weight; ``mse``, with the least squared error.
        smoothing: even channels that stand out: divided in front of a layer, multiplied into its weights.
        outliers_beside: multiply channels of huge values and weights in float32 beside the others.
        bias_correction: put right, in the biases, the mean of what rounded weights get wrong (Nagel et al. 2019,
            "Data-free quantization", section 4.2, with means from calibration).
        finer: patterns of layer names whose activations get two int8 terms, about 16 bits, for twice the work.
    """

    name: Literal["static"] = "static"
    bits: ClassVar[int] = 8
    may_overflow: ClassVar[bool] = True
    observer: str = "min-max"
    percentile: float = 99.99
    num_examples: int = 64
    max_length: int = 512
    rounding: str = "auto"
    weight_scales: str = "max"
    smoothing: bool = True
    outliers_beside: bool = True
    bias_correction: bool = True
    finer: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_sample(self.num_examples, self.max_length)
        if not 50 < self.percentile <= 100:
            raise UsageError(
                f"percentile {self.percentile:g}: has to be above 50 and at most 100", "99.99, for example"
            )
        for word, value, known in (
            ("rounding", self.rounding, ROUNDINGS),
            ("observer", self.observer, OBSERVERS),
            ("weight_scales", self.weight_scales, WEIGHT_SCALES),
        ):
            if value not in known:
                raise UsageError(f"{word} {value!r} is not known", nearest(value, known))

    def finer_layers(self, layers: list[str]) -> set[str]:
        """The layers that get two terms.

        Args:
            layers: those that can.

        Raises:
            UsageError: a pattern names none.
        """
        return set(matching("--finer", self.finer, layers))


@dataclass(frozen=True, kw_only=True)
class WeightOnly:
    """Weights of 4 or 8 bits with a scale for every few of them; activations need no ranges.

    For small files (4 bits) or more fidelity (8 bits); with more than a few tokens a call, static int8 is faster.

    Attributes:
        bits: of a weight.
        block_size: weights that share a scale, at most: 16, 32, 64, 128 or 256.
        rounding: of the weights, as in :class:`Static`; ``auto`` is ``compensated`` for 4 bits and ``nearest`` for 8.
        num_examples: texts that compensated rounding looks at.
        max_length: tokens of such a text at most.
    """

    name: Literal["weight-only"] = "weight-only"
    may_overflow: ClassVar[bool] = False
    bits: int = 4
    block_size: int = 64
    rounding: str = "auto"
    num_examples: int = 128
    max_length: int = 128

    def __post_init__(self) -> None:
        for option, value, known in (("bits", self.bits, BITS), ("block size", self.block_size, BLOCK_SIZES)):
            if value not in known:
                raise UsageError(f"{option} {value}: expected one of {', '.join(map(str, known))}", f"try {known[0]}")
        if self.rounding not in ROUNDINGS:
            raise UsageError(f"rounding {self.rounding!r} is not known", nearest(self.rounding, ROUNDINGS))
        _check_sample(self.num_examples, self.max_length)


def _check_sample(num_examples: int, max_length: int) -> None:
    if num_examples < 1 or max_length < 8:
        raise UsageError(
            f"recipe: {num_examples} examples of {max_length} tokens", "at least 1 example of at least 8 tokens"
        )


def require_examples(count: int) -> None:
    """Refuse so many texts that nobody would wait for them.

    Raises:
        UsageError: there are more than :data:`MAX_EXAMPLES`, or none.
    """
    if not 1 <= count <= MAX_EXAMPLES:
        raise UsageError(
            f"--examples {count}: expected 1 to {MAX_EXAMPLES}", "a few hundred tell nearly as much as thousands"
        )


#: Methods that look at calibration text.
Calibrated = Static | WeightOnly
Method = Dynamic | Static | WeightOnly
#: Methods by name.
METHODS: dict[str, type[Method]] = {"dynamic": Dynamic, "static": Static, "weight-only": WeightOnly}


@dataclass(frozen=True, kw_only=True)
class QuantizationRecipe:
    """How a float checkpoint becomes a quantized one.

    Attributes:
        exclude: patterns of layer names that stay float32, such as ``encoder.layer.0.*``.
        float16: patterns of layer names whose weights are stored in float16 and computed in float32.
        held_out: share of the calibration text that is kept back, so that losses can be measured on it.
    """

    method: Method = field(default_factory=Static)
    exclude: tuple[str, ...] = ()
    float16: tuple[str, ...] = ()
    held_out: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.held_out <= MOST_HELD_OUT:
            raise UsageError(
                f"recipe: {self.held_out:g} of the calibration text held out", f"0 to {MOST_HELD_OUT:g} of it"
            )

    def excluded(self, layers: list[str]) -> dict[str, str]:
        """The layers that the patterns name, each with its pattern.

        Raises:
            UsageError: a pattern names none.
        """
        return matching("--exclude", self.exclude, layers)

    def widened(self, layers: list[str]) -> dict[str, str]:
        """The layers in float16, each with its pattern.

        Raises:
            UsageError: a pattern names none.
        """
        return matching("--float16", self.float16, layers)

    def changed(
        self, *, method: str | None = None, exclude: tuple[str, ...] = (), float16: tuple[str, ...] = (), **options: Any
    ) -> QuantizationRecipe:
        """This recipe with another method, or with some of its method's options changed; None leaves one as it is.

        Raises:
            UsageError: there is no such method, or it has no such option.
        """
        base = self.method
        if method is not None and method != base.name:
            if base != type(base)():
                raise UsageError(
                    f"--method {method}: the recipe is one of the {base.name} method", "leave out the one or the other"
                )
            base = method_named(method)
        given = {name: value for name, value in options.items() if value is not None}
        strange = given.keys() - {f.name for f in fields(base)}
        if strange:
            having = [name for name, kind in METHODS.items() if strange <= {f.name for f in fields(kind)}]
            option = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(strange))
            hint = f"--method {having[0]} has it" if having else "no method has all of them"
            raise UsageError(f"{option}: means nothing to the {base.name} method", hint)
        chosen = replace(base, **given)
        if "percentile" in given and isinstance(chosen, Static) and chosen.observer != PERCENTILE:
            raise UsageError(
                f"--percentile: means nothing to the observer {chosen.observer}", f"add --observer {PERCENTILE}"
            )
        return replace(
            self,
            method=chosen,
            exclude=exclude or self.exclude,
            float16=float16 or self.float16,
        )


def matching(option: str, patterns: tuple[str, ...], layers: list[str]) -> dict[str, str]:
    """Layers that patterns name, each with the first pattern that does.

    Raises:
        UsageError: a pattern names none; it lists near names.
    """
    chosen: dict[str, str] = {}
    for pattern in patterns:
        matches = [layer for layer in layers if fnmatchcase(layer, pattern)]
        if not matches:
            raise UsageError(f"{option} {pattern!r} names no layer that it could be", nearest(pattern, layers))
        chosen = dict.fromkeys(matches, pattern) | chosen
    return chosen


#: Recipes by name; the first one is the default.
RECIPES = {
    "default": QuantizationRecipe(),
    # 16 bits for the activations everywhere, and weights rounded with all care: as true as int8 weights allow
    "faithful": QuantizationRecipe(method=Static(rounding="compensated", finer=("*",), num_examples=256)),
}


def recipe_named(name: str) -> QuantizationRecipe:
    """The recipe of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in RECIPES:
        raise UsageError(f"recipe {name!r} is not known", nearest(name, RECIPES))
    return RECIPES[name]


def method_named(name: str) -> Method:
    """The method of that name, with its default options.

    Raises:
        UsageError: there is none.
    """
    if name not in METHODS:
        raise UsageError(f"method {name!r} is not known", nearest(name, METHODS))
    return METHODS[name]()
