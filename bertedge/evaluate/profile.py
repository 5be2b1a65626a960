"""Where the time of a call goes: onnxruntime's own profile, by operator and by part of the model."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertedge.bounds import Count, Milliseconds
from bertedge.bundle import Bundle
from bertedge.engines.onnxruntime.padded import padded_feed
from bertedge.engines.onnxruntime.session import open_session
from bertedge.evaluate.metrics import MetricValue
from bertedge.layers import PARTS
from bertedge.predictor import Batch
from bertedge.scratch import temporary_folder

OTHER = "other"
#: Seconds that the calls take together, within these numbers of calls.
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
        ms: what they take together, the median over the calls.
        low, high: the 95 % interval of that median; None in reports of earlier versions.
    """

    part: str
    op_type: str
    nodes: Count
    ms: Milliseconds
    low: Milliseconds | None = None
    high: Milliseconds | None = None

    @property
    def value(self) -> MetricValue:
        """The time with its interval, in ms; without one the time alone."""
        low, high = (self.ms if end is None else end for end in (self.low, self.high))
        return MetricValue(value=self.ms, low=min(low, self.ms), high=max(high, self.ms), n=self.nodes)


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
    """One node of the graph: what it took in each call, in milliseconds."""

    name: str
    op_type: str
    calls_ms: tuple[float, ...]

    @property
    def ms(self) -> float:
        """The median."""
        return statistics.median(self.calls_ms)


def profile_bundle(bundle: Bundle, batch: Batch, *, threads: int, seconds: float = PROFILE_S) -> Profile:
    """Run a bundle's file on a batch without padding, in a session of its own, and see what each operator takes.

    Args:
        seconds: how long to go on, within ``MIN_CALLS`` and ``MAX_CALLS``.
    """
    with temporary_folder() as scratch:
        session = open_session(bundle.model_path, threads=threads, profile=scratch / "profile")
        feed = padded_feed(batch, all_positions=bundle.manifest.positions == "all")
        calls, start = 0, time.perf_counter()
        while calls < WARMUP + MIN_CALLS or (calls < WARMUP + MAX_CALLS and time.perf_counter() - start < seconds):
            session.run(None, feed)
            calls += 1
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    rows, length = batch.input_ids.shape
    return Profile(
        batch_size=rows,
        seq_len=length,
        threads=threads,
        calls=calls - WARMUP,
        operators=by_operator(node_times(events), bundle.layer_names),
    )


def node_times(events: Iterable[dict], *, warmup: int = WARMUP) -> list[NodeTime]:
    """The nodes of onnxruntime's profile, in the order they ran; the first calls are left out."""
    microseconds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(SUFFIX):
            microseconds[event["name"].removesuffix(SUFFIX), event["args"]["op_name"]].append(event["dur"])
    return [
        NodeTime(name=name, op_type=op_type, calls_ms=tuple(time / 1e3 for time in times[warmup:]))
        for (name, op_type), times in microseconds.items()
        if times[warmup:]
    ]


def by_operator(nodes: Sequence[NodeTime], layers: Sequence[str]) -> tuple[OperatorTime, ...]:
    """Nodes of one operator and one part added up, in the order of computation."""
    grouped: dict[tuple[str, str], list[NodeTime]] = defaultdict(list)
    for node in nodes:
        grouped[part_of(node.name, layers), node.op_type].append(node)
    return tuple(_together(part, op_type, members) for (part, op_type), members in grouped.items())


def _together(part: str, op_type: str, nodes: Sequence[NodeTime]) -> OperatorTime:
    calls = [sum(times) for times in zip(*(node.calls_ms for node in nodes), strict=False)]
    low, high = median_interval(calls)
    return OperatorTime(
        part=part,
        op_type=op_type,
        nodes=len(nodes),
        ms=round(statistics.median(calls), 6),
        low=round(low, 6),
        high=round(high, 6),
    )


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval for the median: the values around it that the binomial distribution leaves open.

    Of five values or fewer it is from the smallest to the largest (Hahn and Meeker 1991, section 5.2).
    """
    ordered, n = sorted(values), len(values)
    reach = 0.98 * math.sqrt(n)  # 1.96 times the binomial's standard deviation, sqrt(n) / 2
    first = max(math.floor((n - 1) / 2 - reach), 0)
    return ordered[first], ordered[n - 1 - first]


def part_of(node: str, layers: Sequence[str]) -> str:
    """The layer that a node's name starts with, or else its head, or else ``other``."""
    owners = [layer for layer in layers if node == layer or node.startswith(f"{layer}.")]
    if owners:
        return max(owners, key=len)
    first = node.split(".")[0]
    return first if first in PARTS else OTHER
