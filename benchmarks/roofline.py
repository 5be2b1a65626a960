"""Estimate the least time of a call on another CPU: its multiplications and reads over the CPU's peak rates.

Layer norms, GELU, the rounding between layers and all waiting are left out, and no kernel reaches the peak of its CPU
(Williams et al. 2009, "Roofline: an insightful visual performance model").
"""

from __future__ import annotations

from dataclasses import dataclass

from bertedge.bundle import Bundle
from bertedge.encoders import EncoderConfig
from bertedge.graph.inspect import MASKED, TOKENS
from bertedge.recipe import Static, WeightOnly


@dataclass(frozen=True)
class Chip:
    """A CPU in a few numbers.

    Attributes:
        target: the row of ``bertedge/target.py`` that it is.
        cores: that are used.
        ghz: with all of these cores at work.
        int8_macs: multiply-accumulates of 8 bits a cycle and core, by the instructions that onnxruntime's kernel uses.
        float_macs: the same in float32.
        gigabytes_per_s: that these cores can read from memory.
        blocks_in_float: onnxruntime multiplies blocks of 4 and 8 bits (weight-only) in float32 there.
    """

    target: str
    name: str
    cores: int
    ghz: float
    int8_macs: int
    float_macs: int
    gigabytes_per_s: float
    blocks_in_float: bool = False


#: One CPU for each target. Rates follow from the width of the vectors and the number of ports that multiply: vpdpbusd,
#: udot and ummla count as they are, vpmaddubsw with its vpmaddwd as two instructions of one port, smull as eight
#: products. Two cores of a server are given 25 GB/s; weights are taken to come from memory, once a call.
#: Columns: target, chip, cores, GHz, int8 and float32 multiply-accumulates a cycle and core, GB/s.
CHIPS = (
    Chip("amx", "Xeon 8480 (Sapphire Rapids)", 2, 3.0, 1024, 32, 25),
    Chip("avx512-vnni", "EPYC 9004 (Zen 4)", 2, 3.7, 64, 16, 25),
    Chip("avx-vnni", "Core i5-12400 (Alder Lake)", 6, 4.0, 64, 16, 51),
    Chip("avx512", "Xeon 8124M (Skylake)", 2, 3.0, 64, 32, 25),
    Chip("avx2", "Core i7-4770 (Haswell)", 4, 3.7, 16, 16, 25),
    Chip("arm64-i8mm", "Graviton 3 (Neoverse V1)", 2, 2.6, 128, 16, 25),
    Chip("arm64-dotprod", "Raspberry Pi 5 (Cortex-A76)", 4, 2.4, 32, 8, 17),
    Chip("arm64", "Raspberry Pi 4 (Cortex-A72)", 4, 1.8, 8, 4, 12.8, blocks_in_float=True),
)


def least_ms(bundle: Bundle, linear: int, chip: Chip) -> float:
    """Milliseconds that one text of ``TOKENS`` tokens with ``MASKED`` words to fill takes at least.

    Args:
        linear: multiply-accumulates of the linear layers, see :func:`bertedge.graph.inspect.macs`.
    """
    manifest = bundle.manifest
    attention = _attention_macs(bundle.config)
    low = linear * manifest.coverage.macs
    recipe = manifest.recipe
    terms = 2 if recipe and isinstance(recipe.method, Static) and recipe.method.finer else 1
    in_float = linear - low + attention
    if recipe and isinstance(recipe.method, WeightOnly) and chip.blocks_in_float:
        low, in_float = 0.0, in_float + low
    cycles = terms * low / chip.int8_macs + in_float / chip.float_macs
    computing = cycles / (chip.cores * chip.ghz * 1e6)
    reading = manifest.model_bytes / (chip.gigabytes_per_s * 1e6)
    return max(computing, reading)


def _attention_macs(config: EncoderConfig) -> float:
    """Multiply-accumulates of scores and contexts, which are in float32 with every recipe."""
    return 2 * TOKENS * config.hidden_size * ((config.num_hidden_layers - 1) * TOKENS + MASKED + 1)
