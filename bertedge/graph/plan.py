"""The plan: which linear layer is computed in which number format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bertedge.config import BertConfig


@dataclass(frozen=True, kw_only=True)
class Float32:
    """Weights and activations as they are."""


@dataclass(frozen=True, kw_only=True)
class DynamicInt8:
    """int8 weights, one scale an output channel; uint8 activations whose range is taken from each input tensor.

    Attributes:
        weight_range: the largest weight, 127, or 63 where the CPU adds pairs of products in 16 bits.
    """

    weight_range: int = 127


@dataclass(frozen=True, kw_only=True)
class StaticInt8:
    """int8 weights as in :class:`DynamicInt8`; uint8 activations with a range that calibration found.

    Attributes:
        scale: width of one step of the activations.
        zero_point: the step that stands for zero, 0 to 255.
    """

    scale: float
    zero_point: int
    weight_range: int = 127


Int8 = DynamicInt8 | StaticInt8
NumberFormat = Float32 | DynamicInt8 | StaticInt8
#: Layer name (see :func:`layer_names`) -> number format; a layer that is not named is Float32.
Plan = Mapping[str, NumberFormat]

WORD_TABLE = "embeddings.word"
POSITION_TABLE = "embeddings.position"
POOLER = "pooler"
MLM_TRANSFORM = "mlm.transform"
MLM_DECODER = "mlm.decoder"
#: The next-sentence classifier is two rows: it stays float.
NSP = "nsp"


@dataclass(frozen=True, kw_only=True)
class BlockNames:
    """The linear layers of one encoder block."""

    qkv: str
    attention_output: str
    intermediate: str
    output: str

    @classmethod
    def of(cls, index: int) -> BlockNames:
        """The names in block ``index``."""
        prefix = f"encoder.layer.{index}"
        return cls(
            qkv=f"{prefix}.attention.qkv",
            attention_output=f"{prefix}.attention.output",
            intermediate=f"{prefix}.intermediate",
            output=f"{prefix}.output",
        )


def layer_names(config: BertConfig, heads: tuple[str, ...]) -> list[str]:
    """Every layer that a plan can give a format to, in the order of computation."""
    names = []
    for index in range(config.num_hidden_layers):
        block = BlockNames.of(index)
        names += [block.qkv, block.attention_output, block.intermediate, block.output]
    if "pooler" in heads:
        names.append(POOLER)
    if "mlm" in heads:
        names += [MLM_TRANSFORM, MLM_DECODER]
    return names
