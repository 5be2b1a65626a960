"""What a graph consists of: the share that is int8, and where the bytes go."""

from __future__ import annotations

from collections import Counter

import numpy as np

from bertedge.bundle import Coverage
from bertedge.graph import plan as layers
from bertedge.graph.bert import BertGraph
from bertedge.graph.plan import Int8, Plan

#: The text that multiply-accumulates are counted on.
TOKENS, MASKED = 128, 19


def coverage(graph: BertGraph, plan: Plan) -> Coverage:
    """Shares of int8: in the linear layers' multiply-accumulates (128 tokens, 19 masked), and in the weights' bytes."""
    macs = {
        layer: outputs * inputs * _rows(layer, graph.positions)
        for layer, (outputs, inputs) in graph.linear_shapes.items()
    }
    quantized = sum(count for layer, count in macs.items() if isinstance(plan.get(layer), Int8))
    tensors = graph.builder.tensors.values()
    int8 = sum(t.size_bytes for t in tensors if t.dtype == np.int8)
    return Coverage(macs=quantized / sum(macs.values()), bytes=int8 / sum(t.size_bytes for t in tensors))


def bytes_by_part(graph: BertGraph) -> dict[str, int]:
    """Bytes of the embeddings, of each encoder layer and of each head."""
    parts: Counter[str] = Counter()
    for tensor in graph.builder.tensors.values():
        words = tensor.name.split(".")
        parts[".".join(words[:3]) if words[0] == "encoder" else words[0]] += tensor.size_bytes
    return dict(parts)


def _rows(layer: str, positions: str) -> int:
    if layer in (layers.POOLER, layers.NSP):
        return 1
    if layer in (layers.MLM_TRANSFORM, layers.MLM_DECODER) and positions == "masked":
        return MASKED
    return TOKENS
