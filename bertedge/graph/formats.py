"""Number formats of layers, and the plan: which layer has which format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bertedge.recipe import BITS, BLOCK_SIZES
from bertedge.weight_range import FULL_RANGE, WeightRange


@dataclass(frozen=True, kw_only=True)
class Float32:
    """Weights and activations as they are."""


@dataclass(frozen=True, kw_only=True)
class Float16Weights:
    """Weights stored as float16, widened when the model is loaded; everything is computed in float32."""


@dataclass(frozen=True, kw_only=True)
class DynamicInt8:
    """int8 weights, one scale an output channel; uint8 activations whose range is taken from each input tensor.

    Attributes:
        weight_range: limits of the weights, which are tighter where the CPU adds pairs of products in 16 bits.
    """

    weight_range: WeightRange = FULL_RANGE


@dataclass(frozen=True, kw_only=True)
class Int8Rows(DynamicInt8):
    """A look-up table as int8 with one scale a row.

    Attributes:
        exact: rows that are looked up without rounding, for instance those of the words that fill most of any text:
            what rounding took from them is kept as int8 rows of its own and added after the look-up.
    """

    exact: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.exact) > MAX_EXACT_ROWS:
            raise ValueError(f"{len(self.exact)} exact rows, at most {MAX_EXACT_ROWS}")


#: The index of exact rows takes a byte for every row of the table.
MAX_EXACT_ROWS = 255


@dataclass(frozen=True, kw_only=True)
class StaticInt8:
    """int8 weights as in :class:`DynamicInt8`; uint8 activations with a range that calibration found.

    Trained BERTs send a few channels of their activations far beyond the others (Kovaleva et al. 2021). One range for
    all would leave the others a handful of steps, so those few channels get out of the way, in one of two forms.

    Attributes:
        scale: width of one step of the activations.
        zero_point: the step that stands for zero, 0 to 255.
        input_divisors: every channel of the input is divided by its own number before it is quantized, and the weights
            that read it are multiplied by it (Xiao et al. 2023, equation 3); empty for none. In front of the decoder it
            is the layer norm that divides.
        input_shifts: what is taken from every channel of the input before it is divided; its product with the weights
            is added to the bias (Wei et al. 2023, "Outlier Suppression+", equation 3); empty for nothing.
        outliers: channels of the input that are multiplied in float32 beside the others, weights and all (Dettmers et
            al. 2022, section 3.2, with channels that are known beforehand); what does not fit the range is clipped
            there.
    """

    scale: float
    zero_point: int
    weight_range: WeightRange = FULL_RANGE
    input_divisors: tuple[float, ...] = ()
    input_shifts: tuple[float, ...] = ()
    outliers: tuple[int, ...] = ()

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest activation that is not clipped."""
        return -self.zero_point * self.scale, (255 - self.zero_point) * self.scale


@dataclass(frozen=True, kw_only=True)
class TwoTermInt8(StaticInt8):
    """As :class:`StaticInt8`, and what rounding the activations left over is rounded and multiplied as well.

    With q the first rounding, x = s q + r, and r lies within half a step: r / (s / RESIDUAL_STEPS) is an int8 of its
    own, so x has about 16 bits. Both terms meet the same int8 weights, which are stored once; it costs a second int8
    matmul, and coverage stays what it was.
    """


@dataclass(frozen=True, kw_only=True)
class BlockWeights:
    """Weights of few bits, with one scale for every ``block_size`` of a row; see :mod:`bertedge.graph.weight_blocks`.

    Attributes:
        bits: 4 or 8.
        block_size: a power of two, 16 to 256.
    """

    bits: int
    block_size: int

    def __post_init__(self) -> None:
        if self.bits not in BITS or self.block_size not in BLOCK_SIZES:
            raise ValueError(f"{self.bits} bits in blocks of {self.block_size}")

    @property
    def block_bytes(self) -> int:
        """Bytes of a block without its scale."""
        return self.block_size * self.bits // 8

    @property
    def lowest(self) -> int:
        """The lowest level of a weight."""
        return -(2 ** (self.bits - 1))

    @property
    def highest(self) -> int:
        """The highest level of a weight."""
        return 2 ** (self.bits - 1) - 1


@dataclass(frozen=True, kw_only=True)
class BlockRows(BlockWeights):
    """A look-up table in blocks.

    Attributes:
        exact: as in :class:`Int8Rows`.
    """

    exact: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.exact) > MAX_EXACT_ROWS:
            raise ValueError(f"{len(self.exact)} exact rows, at most {MAX_EXACT_ROWS}")


#: Steps that half a step to either side is divided into: 127 on each.
RESIDUAL_STEPS = 254

Int8 = DynamicInt8 | StaticInt8
#: Formats that are multiplied as integers of 8 bits or fewer.
Quantized = Int8 | BlockWeights
NumberFormat = Float32 | Float16Weights | DynamicInt8 | StaticInt8 | BlockWeights
#: Layer name -> number format; a layer that is not named is Float32.
Plan = Mapping[str, NumberFormat]
