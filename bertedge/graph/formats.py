"""Number formats of layers, and the plan: which layer has which format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bertedge.recipe import BITS, BLOCK_SIZES
from bertedge.weight_range import FULL_RANGE, WeightRange


@dataclass(frozen=True, kw_only=True)
class Float32:
    """Weights and activations in float32."""


@dataclass(frozen=True, kw_only=True)
class Float16Weights:
    """Weights stored as float16 and converted when the model is loaded; everything is computed in float32."""


@dataclass(frozen=True, kw_only=True)
class DynamicInt8:
    """int8 weights with one scale for each output; uint8 activations with the range of each input tensor.

    Attributes:
        weight_range: limits of the weights; tighter for CPUs that add pairs of products in 16 bits.
    """

    weight_range: WeightRange = FULL_RANGE


@dataclass(frozen=True, kw_only=True)
class Int8Rows(DynamicInt8):
    """A look-up table as int8 with one scale for each row.

    Attributes:
        exact: rows that are looked up without rounding errors, for instance those of the most frequent words. Their
            errors are stored as further int8 rows, and added after the look-up.
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

    In trained BERTs a few channels of the activations have much larger values than the others (Kovaleva et al. 2021).
    With one range for all, the other channels would have a few steps only. So these channels are balanced, or
    multiplied in float.

    Attributes:
        scale: width of one step of the activations.
        zero_point: the uint8 value of zero, 0 to 255.
        input_divisors: each channel of the input is divided by its divisor before it is quantized, and its weights are
            multiplied by it (Xiao et al. 2023, equation 3); empty for none. Before the decoder, the layer norm divides.
        input_shifts: subtracted from each channel of the input before it is divided; their product with the weights is
            added to the bias (Wei et al. 2023, "Outlier Suppression+", equation 3); empty for none.
        outliers: channels of the input that are multiplied in float32 (Dettmers et al. 2022, section 3.2, with channels
            known from calibration). In the int8 product their weights are zero.
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
    """As :class:`StaticInt8`, with the rounding error of the activations as a second int8 term.

    With q the rounded activation and s its scale, x = s q + r, and r is at most half a step. So r / (s /
    RESIDUAL_STEPS) is an int8 as well, and x has about 16 bits. Both terms are multiplied by the same int8 weights,
    which are stored once.
    """


@dataclass(frozen=True, kw_only=True)
class BlockWeights:
    """Weights of a few bits, with a scale for each block of a row; see :mod:`bertedge.graph.weight_blocks`.

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


#: Steps of the second term in one step of the first: 127 on each side.
RESIDUAL_STEPS = 254

Int8 = DynamicInt8 | StaticInt8
#: Formats that are multiplied as integers of 8 bits or fewer.
Quantized = Int8 | BlockWeights
NumberFormat = Float32 | Float16Weights | DynamicInt8 | StaticInt8 | BlockWeights
#: Layer name -> number format; a layer that is not named is Float32.
Plan = Mapping[str, NumberFormat]
