"""Where the steps that the native engine times belong in the model. ``src/worker.cpp`` and ``heads.cpp`` name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bertedge.engines.engine import NodeTime
from bertedge.plan import StoredHead

#: Step of a block -> the layer that it prepares, computes or follows.
IN_BLOCK = {
    **dict.fromkeys(("query, key, value", "gather", "query", "rotate", "attention"), "attention.qkv"),
    **dict.fromkeys(("quantize context", "attention output", "attention norm"), "attention.output"),
    "intermediate": "intermediate",
    **dict.fromkeys(("quantize activation", "output", "norm"), "output"),
}


def part_of_step(step: str, heads: Mapping[str, StoredHead]) -> tuple[str, str]:
    """The part of the model as in a report, and what the step does there.

    Args:
        step: such as ``block 3 attention output``, ``head 0 logits`` or ``pooler product``.
        heads: in their order.
    """
    prefix, _, rest = step.partition(" ")
    index, _, what = rest.partition(" ")
    if prefix == "block":
        return f"encoder.layer.{index}.{IN_BLOCK.get(what, '')}", what
    if prefix == "head":
        layers = [part.name for part in list(heads.values())[int(index)].steps if part.kind == "linear"]
        return layers[-1 if what == "logits" else 0], what
    return prefix, rest or step


def node_times(calls: Sequence[Mapping[str, float]], heads: Mapping[str, StoredHead]) -> list[NodeTime]:
    """The steps of all calls, in the order of computation; a call may lack some.

    Args:
        calls: step -> milliseconds.
    """
    found = []
    for step in dict.fromkeys(step for call in calls for step in call):
        part, what = part_of_step(step, heads)
        times = tuple(call.get(step, 0.0) for call in calls)
        found.append(NodeTime(name=part, op_type=what, calls_ms=times))
    return found
