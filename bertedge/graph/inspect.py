"""What a graph consists of: the share that is int8, and where the bytes go."""

from __future__ import annotations

from collections import Counter

import numpy as np

from bertedge.bundle import Coverage
from bertedge.graph import plan as layers
from bertedge.graph.layers import BertGraph
from bertedge.graph.plan import PARTS, Int8, Plan

#: The text that multiply-accumulates are counted on, and the rows of its last block that are read: ``[CLS]`` and these.
TOKENS, MASKED = 128, 19


def coverage(graph: BertGraph, plan: Plan) -> Coverage:
    """Shares of int8: in the linear layers' multiply-accumulates (128 tokens, 19 masked), and in the weights' bytes."""
    macs = {layer: _macs(graph, layer) for layer in graph.linear_shapes}
    quantized = sum(count for layer, count in macs.items() if isinstance(plan.get(layer), Int8))
    tensors = graph.builder.tensors.values()
    int8 = sum(t.size_bytes for t in tensors if t.dtype == np.int8)
    return Coverage(macs=quantized / sum(macs.values()), bytes=int8 / sum(t.size_bytes for t in tensors))


def bytes_by_part(graph: BertGraph) -> dict[str, int]:
    """Bytes of the embeddings, of each encoder layer and of each head; small constants between them are ``other``."""
    parts: Counter[str] = Counter()
    for tensor in graph.builder.tensors.values():
        words = tensor.name.split(".")
        part = ".".join(words[:3]) if words[0] == "encoder" else words[0]
        parts[part if words[0] in PARTS else "other"] += tensor.size_bytes
    return dict(parts)


def _macs(graph: BertGraph, layer: str) -> int:
    """Multiply-accumulates of a layer at the positions where it is computed."""
    outputs, inputs = graph.linear_shapes[layer]
    if layer in (layers.POOLER, layers.NSP):
        return outputs * inputs
    if layer in (layers.MLM_TRANSFORM, layers.MLM_DECODER) and graph.positions == "masked":
        return outputs * inputs * MASKED
    if layer not in graph.at_read_rows:
        return outputs * inputs * TOKENS
    read = outputs * inputs * (1 + MASKED)
    if layer.endswith(".qkv"):  # keys and values are needed everywhere, queries only where something is read
        return (read + 2 * outputs * inputs * TOKENS) // 3
    return read
