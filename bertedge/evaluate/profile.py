"""The time of each operator in each part of the model."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bertedge.bounds import Count, Milliseconds
from bertedge.bundle import Bundle
from bertedge.engines.engine import Engine, NodeTime, ProfilingExecutor
from bertedge.heads.parts import PARTS
from bertedge.metric import MetricValue
from bertedge.predictor import Batch
from bertedge.runtime.row_runner import rows_of

OTHER = "other"
#: Total seconds of the profiled calls of one model.
PROFILE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class OperatorTime:
    """The nodes of one kind in one part of the model, in one call.

    Attributes:
        part: a linear layer and its activation (``encoder.layer.0.intermediate``), ``embeddings``, a head, or
            ``other`` for nodes between them.
        op_type: ONNX's name of the operator, or what the native engine does there.
        nodes: number of nodes.
        ms: the sum of their times, as the median over the calls.
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
        """The time in ms with its interval, if there is one."""
        low, high = (self.ms if end is None else end for end in (self.low, self.high))
        return MetricValue(value=self.ms, low=min(low, self.ms), high=max(high, self.ms), n=self.nodes)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The operators of one model in calls of one size. Profiling takes time, so their sum exceeds the latency."""

    batch_size: Count
    seq_len: Count
    threads: Count
    calls: Count
    operators: tuple[OperatorTime, ...]


def profile_bundle(
    bundle: Bundle, batch: Batch, *, engine: Engine, threads: int, seconds: float = PROFILE_S
) -> Profile | None:
    """Run a bundle on a batch of texts of one length, and time each operator; None if the engine cannot.

    Args:
        seconds: the approximate time to measure.
    """
    executor = engine.open(bundle, threads=threads, check=False)
    if not isinstance(executor, ProfilingExecutor):
        return None
    nodes = executor.profile(rows_of(batch), seconds=seconds)
    rows, length = batch.input_ids.shape
    return Profile(
        batch_size=rows,
        seq_len=length,
        threads=threads,
        calls=len(nodes[0].calls_ms),
        operators=by_operator(nodes, bundle.layer_names),
    )


def by_operator(nodes: Sequence[NodeTime], layers: Sequence[str]) -> tuple[OperatorTime, ...]:
    """The times summed by part and operator, in the order of computation."""
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
    """A 95 % interval for the median, by the binomial distribution (Hahn and Meeker 1991, section 5.2).

    For five values or fewer, it goes from the smallest to the largest.
    """
    ordered, n = sorted(values), len(values)
    reach = 0.98 * math.sqrt(n)  # 1.96 times the binomial's standard deviation, sqrt(n) / 2
    first = max(math.floor((n - 1) / 2 - reach), 0)
    return ordered[first], ordered[n - 1 - first]


def part_of(node: str, layers: Sequence[str]) -> str:
    """The layer that a node's name starts with; without one, its head, or ``other``."""
    owners = [layer for layer in layers if node == layer or node.startswith(f"{layer}.")]
    if owners:
        return max(owners, key=len)
    first = node.split(".")[0]
    return first if first in PARTS else OTHER
