"""Measure a graph: the shares in int8, the bytes of each part, and the work."""

from __future__ import annotations

from collections import Counter

import numpy as np

from bertedge.graph.formats import BlockWeights, Float16Weights, Float32, NumberFormat, Plan, Quantized, TwoTermInt8
from bertedge.graph.writer import EncoderGraph
from bertedge.heads.parts import PARTS
from bertedge.layers import Layer, Role
from bertedge.manifest import Coverage

#: The text that multiply-accumulates are counted for: its tokens, and how many of them are masked.
TOKENS, MASKED = 128, 19
#: Cost of a multiply-accumulate relative to plain int8; a format that is not listed costs 1.
MAC_COSTS: dict[type[NumberFormat], int] = {Float32: 4, Float16Weights: 4, TwoTermInt8: 2, BlockWeights: 2}
#: int8, and blocks of 4 or 8 bits.
QUANTIZED_DTYPES = (np.int8, np.uint8)


def coverage(graph: EncoderGraph, plan: Plan) -> Coverage:
    """The shares in 8 bits or fewer: of the linear layers' multiply-accumulates, and of the weights' bytes."""
    counts = macs(graph)
    quantized = sum(count for layer, count in counts.items() if isinstance(plan.get(layer), Quantized))
    tensors = graph.builder.tensors.values()
    int8 = sum(t.size_bytes for t in tensors if t.dtype in QUANTIZED_DTYPES)
    return Coverage(macs=quantized / sum(counts.values()), bytes=int8 / sum(t.size_bytes for t in tensors))


def macs(graph: EncoderGraph) -> dict[str, int]:
    """Multiply-accumulates of each linear layer, on a text of ``TOKENS`` tokens of which ``MASKED`` are masked."""
    return {name: _macs(graph, layer) for name, layer in graph.layers.items()}


def bytes_by_part(graph: EncoderGraph) -> dict[str, int]:
    """Bytes of the embeddings, of each encoder layer and of each head; constants between them are ``other``.

    What all encoder layers share, such as the last norm and tables of relative or rotary positions, is ``encoder``.
    """
    parts: Counter[str] = Counter()
    for tensor in graph.builder.tensors.values():
        words = tensor.name.split(".")
        part = ".".join(words[:3]) if words[:2] == ["encoder", "layer"] else words[0]
        parts[part if words[0] in PARTS else "other"] += tensor.size_bytes
    return dict(parts)


def work(graph: EncoderGraph, plan: Plan) -> float:
    """Cost of the linear layers, as the number of plain int8 multiply-accumulates that take as long."""
    return float(sum(c * MAC_COSTS.get(type(plan.get(layer, Float32())), 1) for layer, c in macs(graph).items()))


def _macs(graph: EncoderGraph, layer: Layer) -> int:
    """Multiply-accumulates of a layer at the positions where it is computed."""
    size = layer.outputs * layer.inputs
    if layer.reads in ("first", "mean"):
        return size
    if layer.reads == "masked" and graph.positions == "masked":
        return size * MASKED
    if layer.name not in graph.at_read_rows:
        return size * TOKENS
    read = size * (1 + MASKED)
    if layer.role == Role.QKV:  # keys and values for every position, queries only for the rows that are read
        return (read + 2 * size * TOKENS) // 3
    return read
