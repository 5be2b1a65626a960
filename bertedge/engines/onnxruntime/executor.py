"""Open bundles and single model files."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.bundle import Bundle
from bertedge.encoders import EncoderConfig
from bertedge.engines.engine import NodeTime
from bertedge.engines.onnxruntime.grouping import GroupingExecutor, Model
from bertedge.engines.onnxruntime.session import open_session
from bertedge.engines.onnxruntime.sessions import Sessions
from bertedge.heads.parts import Parts
from bertedge.manifest import OPTIONAL_INPUTS
from bertedge.predictor import Row
from bertedge.scratch import temporary_folder

#: Profiled calls after those that only warm up.
MIN_CALLS, MAX_CALLS = 5, 50
WARMUP = 3
#: onnxruntime appends this to a node's name.
SUFFIX = "_kernel_time"


class OnnxExecutor(GroupingExecutor):
    """A bundle on onnxruntime."""

    def __init__(self, bundle: Bundle, *, threads: int, check: bool) -> None:
        # a forked process, which opens the files again, may have another working directory
        absolute = replace(bundle, folder=bundle.folder.absolute())
        self._path, self._threads = absolute.model_path, threads
        sessions = Sessions(absolute.model_path, threads=threads, check=partial(absolute.check_files, hashes=check))
        sessions.require(bundle.manifest.inputs, bundle.output_sizes, optional=OPTIONAL_INPUTS)
        super().__init__(sessions, bundle.config, **_properties(bundle))

    def profile(self, rows: Sequence[Row], *, seconds: float) -> list[NodeTime]:
        """See :class:`bertedge.engines.engine.ProfilingExecutor`; this opens another session."""
        with temporary_folder() as scratch:
            session = open_session(self._path, threads=self._threads, profile=scratch / "profile")
            feed, start = self.feed(rows), time.perf_counter()
            for call in range(WARMUP + MAX_CALLS):
                if call >= WARMUP + MIN_CALLS and time.perf_counter() - start >= seconds:
                    break
                session.run(None, feed)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return node_times(events)


def open_bundle(bundle: Bundle, *, threads: int, check: bool = True) -> OnnxExecutor:
    """Load a bundle's model.

    Raises:
        BundleError: onnxruntime cannot load it, or its inputs or outputs differ from the manifest.
    """
    return OnnxExecutor(bundle, threads=threads, check=check)


def executor_of(bundle: Bundle, model: Model) -> GroupingExecutor:
    """A bundle that runs on ``model``, which computes the same as the bundle's file."""
    return GroupingExecutor(model, bundle.config, **_properties(bundle))


def open_file(
    path: Path,
    config: EncoderConfig,
    *,
    parts: Parts,
    threads: int,
    row_independent: bool,
    all_positions: bool = False,
    few_calls: bool = False,
    replaced: Mapping[str, NDArray[np.float32]] | None = None,
) -> GroupingExecutor:
    """Load a model file that is not in a bundle.

    Args:
        parts, row_independent, all_positions: see :class:`bertedge.engines.onnxruntime.grouping.GroupingExecutor`.
        few_calls, replaced: see :func:`bertedge.engines.onnxruntime.session.open_session`.

    Raises:
        BundleError: onnxruntime cannot load the file.
    """
    sessions = Sessions(path, threads=threads, few_calls=few_calls, replaced=replaced)
    return GroupingExecutor(sessions, config, parts=parts, all_positions=all_positions, row_independent=row_independent)


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


def _properties(bundle: Bundle) -> dict:
    manifest = bundle.manifest
    return {
        "parts": manifest.parts,
        "all_positions": manifest.positions == "all",
        "row_independent": manifest.row_independent,
        "int8_share": manifest.coverage.macs,
    }
