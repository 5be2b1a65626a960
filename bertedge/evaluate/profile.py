"""Where the time of a call goes: onnxruntime's own profile, by operator and by part of the model."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertedge.bounds import Count, Milliseconds
from bertedge.bundle import Bundle
from bertedge.graph.plan import PARTS, layer_names
from bertedge.predictor import Batch
from bertedge.runtime.padded import padded_feed
from bertedge.runtime.session import open_session
from bertedge.scratch import temporary_folder

OTHER = "other"
#: Calls go on until they took so long together, within these bounds.
PROFILE_S = 0.5
MIN_CALLS, MAX_CALLS = 5, 50
WARMUP = 3
#: What onnxruntime puts behind a node's name.
SUFFIX = "_kernel_time"


@dataclass(frozen=True, kw_only=True)
class OperatorTime:
    """The nodes of one kind in one part of the model, in one call.

    Attributes:
        part: a linear layer with what belongs to it (``encoder.layer.0.intermediate``), ``embeddings``, a head, or
            ``other`` for what reads and writes between them.
        op_type: the operator, as ONNX calls it.
        nodes: how many there are.
        ms: what they take together; of each node the median over the calls.
    """

    part: str
    op_type: str
    nodes: Count
    ms: Milliseconds


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One model's calls of one size. Profiling itself takes time, so the sum is a little more than the latency."""

    batch_size: Count
    seq_len: Count
    threads: Count
    calls: Count
    operators: tuple[OperatorTime, ...]


@dataclass(frozen=True, kw_only=True)
class NodeTime:
    """One node of the graph: the median of its calls."""

    name: str
    op_type: str
    ms: float


def profile_bundle(bundle: Bundle, batch: Batch, *, threads: int) -> Profile:
    """Run a bundle's file on a batch without padding, in a session of its own, and see what each operator takes."""
    with temporary_folder() as scratch:
        session = open_session(bundle.model_path, threads=threads, profile=scratch / "profile")
        feed = padded_feed(batch, all_positions=bundle.manifest.positions == "all")
        calls, start = 0, time.perf_counter()
        while calls < WARMUP + MIN_CALLS or (calls < WARMUP + MAX_CALLS and time.perf_counter() - start < PROFILE_S):
            session.run(None, feed)
            calls += 1
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    rows, length = batch.input_ids.shape
    return Profile(
        batch_size=rows,
        seq_len=length,
        threads=threads,
        calls=calls - WARMUP,
        operators=by_operator(node_times(events), layer_names(bundle.config, bundle.manifest.heads)),
    )


def node_times(events: Iterable[dict], *, warmup: int = WARMUP) -> list[NodeTime]:
    """The nodes of onnxruntime's profile, in the order they ran; the first calls are left out."""
    microseconds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(SUFFIX):
            microseconds[event["name"].removesuffix(SUFFIX), event["args"]["op_name"]].append(event["dur"])
    return [
        NodeTime(name=name, op_type=op_type, ms=statistics.median(times[warmup:]) / 1e3)
        for (name, op_type), times in microseconds.items()
        if times[warmup:]
    ]


def by_operator(nodes: Sequence[NodeTime], layers: Sequence[str]) -> tuple[OperatorTime, ...]:
    """Nodes of one operator and one part added up, in the order of computation."""
    grouped: dict[tuple[str, str], list[float]] = defaultdict(list)
    for node in nodes:
        grouped[part_of(node.name, layers), node.op_type].append(node.ms)
    return tuple(
        OperatorTime(part=part, op_type=op_type, nodes=len(times), ms=round(sum(times), 6))
        for (part, op_type), times in grouped.items()
    )


def part_of(node: str, layers: Sequence[str]) -> str:
    """The layer that a node's name starts with, or else its head, or else ``other``."""
    owners = [layer for layer in layers if node == layer or node.startswith(f"{layer}.")]
    if owners:
        return max(owners, key=len)
    first = node.split(".")[0]
    return first if first in PARTS else OTHER
