"""Run rows of any lengths on the native engine. Nothing is padded, and rows do not affect each other."""

from __future__ import annotations

import ctypes
import os
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bertedge.bundle import Bundle
from bertedge.engines.engine import NodeTime
from bertedge.engines.native import library as c
from bertedge.engines.native.description import Description
from bertedge.engines.native.outputs import CallOutputs, OutputSizes
from bertedge.engines.native.profile_steps import node_times
from bertedge.engines.per_process import survives_fork
from bertedge.engines.side_by_side import side_by_side
from bertedge.errors import BertEdgeError, BundleError, UnfitMachineError, UsageError
from bertedge.predictor import Row, RowOutputs

T = TypeVar("T")

#: Tokens of a batch that one core computes alone: enough that packed weights, which each batch reads once, cost little,
#: and few enough that activations stay in the core's cache.
TOKENS_AT_ONCE = 256
#: Batches per core from which on each core computes its own; with fewer, some cores would wait for the last batch.
BATCHES_A_CORE = 2
#: The environment variable that names the kernel to run, for measurements; by default the best one of this CPU.
KERNEL = "BERTEDGE_KERNEL"
#: Bytes of a message, and the most steps of a profile.
MESSAGE, MOST_STEPS = 512, 8192
#: Profiled calls after those that only warm up.
MIN_CALLS, MAX_CALLS, WARMUP = 5, 50, 3
#: ``be_status`` -> the error and its hint.
ERRORS: dict[int, tuple[type[BertEdgeError], str]] = {
    1: (BundleError, "copy the bundle again from its source, or make it again"),
    2: (UsageError, "encode with the bundle's own tokenizer"),
    3: (UnfitMachineError, "run it with --engine onnxruntime"),
    4: (UnfitMachineError, "run fewer or shorter texts at once, or free memory"),
}


class NativeExecutor:
    """A loaded bundle; see :class:`bertedge.engines.engine.Executor`. Its weights are shared with forked processes.

    Args:
        threads: threads that one call may use.
        kernel: a kernel's name; empty for the best one of this CPU.

    Raises:
        BundleError: the bundle is broken.
        UsageError: the engine does not compute a format or a head of the bundle, or has no such kernel.
        UnfitMachineError: it is not built, or has no kernel for this CPU.
    """

    def __init__(self, bundle: Bundle, *, threads: int, kernel: str | None = None) -> None:
        self._library, self._threads, self._name = c.library(), threads, str(bundle.folder)
        description = Description(bundle)
        self._heads = description.heads
        self._sizes = OutputSizes.of(description, bundle.config.hidden_size)
        self._reads_types = bundle.config.type_vocab_size > 0
        self._engine = self._open(description, os.environ.get(KERNEL, "") if kernel is None else kernel)
        weakref.finalize(self, _close, self._library, self._engine, description.files)
        survives_fork(self)

    def _open(self, description: Description, kernel: str) -> ctypes.c_void_p:
        engine, message = ctypes.c_void_p(), ctypes.create_string_buffer(MESSAGE)
        status = self._library.be_open(
            description.model, self._threads, kernel.encode(), ctypes.byref(engine), message, MESSAGE
        )
        self._require(status, message)
        return engine

    @property
    def kernel(self) -> str:
        """The kernel that runs."""
        name: bytes = self._library.be_kernel(self._engine)
        return name.decode()

    def after_fork(self) -> None:
        """Called in a forked process: start threads again."""
        self._library.be_after_fork(self._engine)

    def run(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> list[T]:
        """Run rows; see :meth:`bertedge.engines.engine.Executor.run`."""
        if len(rows) == 1:  # in small calls microseconds matter
            return [read(self._call(rows, alone=0).only())]
        batches = list(_batches(rows, TOKENS_AT_ONCE))
        results: dict[int, T] = {}

        def run_batch(batch: Sequence[int], alone: int = 1) -> list[T]:
            return [read(outputs) for outputs in self._call([rows[i] for i in batch], alone)]

        if self._threads > 1 and len(batches) >= BATCHES_A_CORE * self._threads:
            for batch, found in side_by_side(run_batch, batches, threads=self._threads):
                results.update(zip(batch, found, strict=True))
        else:
            together = TOKENS_AT_ONCE * (BATCHES_A_CORE * self._threads if self._threads > 1 else 1)
            for batch in _batches(rows, together):
                results.update(zip(batch, run_batch(batch, alone=0), strict=True))
        return [results[index] for index in range(len(rows))]

    def profile(self, rows: Sequence[Row], *, seconds: float) -> list[NodeTime]:
        """See :class:`bertedge.engines.engine.ProfilingExecutor`; the steps of the calling thread."""
        steps, message, start = (c.Step * MOST_STEPS)(), ctypes.create_string_buffer(MESSAGE), time.perf_counter()
        calls: list[dict[str, float]] = []
        for call in range(WARMUP + MAX_CALLS):
            if call >= WARMUP + MIN_CALLS and time.perf_counter() - start >= seconds:
                break
            texts, outputs, kept = self._prepared(rows)
            count = self._library.be_profile(self._engine, texts, outputs.struct, steps, MOST_STEPS, message, MESSAGE)
            self._require(-min(count, 0), message)
            del kept
            # a thread repeats its steps for the rows of another one that is late
            calls.append(defaultdict(float))
            for step in steps[:count]:
                calls[-1][step.name.decode()] += step.milliseconds
        return node_times(calls[WARMUP:], self._heads)

    def _call(self, rows: Sequence[Row], alone: int) -> CallOutputs:
        texts, outputs, kept = self._prepared(rows)
        message = ctypes.create_string_buffer(MESSAGE)
        status = self._library.be_run(self._engine, texts, outputs.struct, alone, message, MESSAGE)
        del kept  # the inputs had to live until now
        if status:
            self._require(status, message)
        return outputs

    def _prepared(self, rows: Sequence[Row]) -> tuple[c.Texts, CallOutputs, Any]:
        """The arguments of a call, and the arrays that they point at."""
        ids, masked = _joined([row.input_ids for row in rows]), rows[0].masked_positions
        types = _joined([row.token_type_ids for row in rows]) if self._reads_types else None
        starts = np.zeros(len(rows) + 1, dtype=np.int32)
        if len(rows) == 1:
            starts[1] = len(ids)
        else:
            np.cumsum([len(row.input_ids) for row in rows], out=starts[1:])
            masked = np.concatenate([row.masked_positions + start for row, start in zip(rows, starts, strict=False)])
        places = masked.astype(np.int32)
        texts = c.Texts(
            len(rows),
            len(places),
            starts.ctypes.data,
            ids.ctypes.data,
            None if types is None else types.ctypes.data,
            places.ctypes.data,
        )
        return texts, CallOutputs(self._sizes, rows), (ids, types, starts, places)

    def _require(self, status: int, message: Any) -> None:
        """Raise the error of a status, if it is one."""
        if status:
            kind, hint = ERRORS.get(status, (BundleError, "report this as a mistake of bertedge"))
            raise kind(f"{self._name}: native engine: {message.value.decode(errors='replace')}", hint)


def _close(library: ctypes.CDLL, engine: ctypes.c_void_p, files: Mapping[str, NDArray[np.uint8]]) -> None:
    """Close an engine. Until then the files must stay mapped."""
    library.be_close(engine)


def _joined(arrays: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Arrays one after another. A single one is not copied, unless it has gaps."""
    return np.ascontiguousarray(arrays[0], dtype=np.int64) if len(arrays) == 1 else np.concatenate(arrays)


def _batches(rows: Sequence[Row], most: int) -> Iterator[list[int]]:
    """Indices of rows that run in one call: those with the same outputs, the longest first.

    So no core works on a long batch while the others have finished.

    Args:
        most: tokens of a batch of several rows.
    """
    for hidden in (True, False):
        alike = [index for index, row in enumerate(rows) if row.hidden == hidden]
        alike.sort(key=lambda index: len(rows[index].input_ids), reverse=True)
        batch: list[int] = []
        tokens = 0
        for index in alike:
            length = len(rows[index].input_ids)
            if batch and tokens + length > most:
                yield batch
                batch, tokens = [], 0
            batch.append(index)
            tokens += length
        if batch:
            yield batch
