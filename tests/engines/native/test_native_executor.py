"""The native engine on real bundles: rows of any lengths, threads, forks, profiles."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.engines import ENGINES
from bertedge.engines.native import native_executor
from bertedge.engines.native.native_executor import KERNEL, NativeExecutor
from bertedge.engines.plan_model import PlanModel
from bertedge.errors import UnfitMachineError
from bertedge.evaluate.profile import OTHER, part_of
from bertedge.predictor import Row, RowOutputs
from tests.conftest import skip_where_unfit

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
Open = Callable[..., NativeExecutor]


def row(length: int, masked: list[int], *, hidden: bool) -> Row:
    rng = np.random.default_rng(length)
    types = (np.arange(length) > length // 2).astype(np.int64)
    ids = rng.integers(5, 190, length)
    return Row(input_ids=ids, token_type_ids=types, masked_positions=np.array(masked, dtype=np.int64), hidden=hidden)


ROWS = [
    row(length, masked, hidden=hidden)
    for length, masked, hidden in product((1, 2, 17, 64, 33), ([], [0], [0, 0]), (True, False))
]


@pytest.fixture
def static(bundle_of: Callable[..., Bundle]) -> Bundle:
    bundle = bundle_of("static")
    skip_where_unfit(ENGINES["native"], bundle)
    return bundle


def copied(outputs: RowOutputs) -> RowOutputs:
    return {name: array.copy() for name, array in outputs.items()}


def assert_equal(some: list[RowOutputs], others: list[RowOutputs]) -> None:
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["float32", "static", "dynamic", "faithful"])
def test_a_row_does_not_depend_on_its_company(
    kind: str, static: Bundle, bundle_of: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of(kind)
    executor = NativeExecutor(bundle, threads=2)
    together = executor.run(ROWS, copied)
    assert_equal(together, executor.run(ROWS, copied))
    assert_equal(together, [executor.run([one], copied)[0] for one in ROWS])
    assert_equal(together[::-1], executor.run(ROWS[::-1], copied))
    assert_equal(together, NativeExecutor(bundle, threads=3).run(ROWS, copied))
    monkeypatch.setattr(native_executor, "TOKENS_AT_ONCE", 40)  # each core computes batches of its own
    assert_equal(together, executor.run(ROWS, copied))
    assert_equal(together, NativeExecutor(bundle, threads=1).run(ROWS, copied))


def test_texts_of_one_length_are_rows_of_one_array(static: Bundle) -> None:
    executor = NativeExecutor(static, threads=2)
    for alike in ([row(9, [3], hidden=True)], [row(9, [3, 1], hidden=True)] * 5):
        outputs = executor.run(alike, lambda outputs: outputs)
        for name, first in outputs[0].items():
            assert first.base.shape == (len(alike), *first.shape), name
            assert all(one[name].base is first.base for one in outputs)


def test_masked_positions_in_any_order(static: Bundle) -> None:
    executor = NativeExecutor(static, threads=1)
    (forth, back) = executor.run([row(20, [3, 7, 7, 1], hidden=True), row(20, [1, 7, 3], hidden=True)], copied)
    assert np.array_equal(forth["mlm"], back["mlm"][[2, 1, 1, 0]])


def test_callers_from_many_threads(static: Bundle) -> None:
    executor = NativeExecutor(static, threads=2)
    expected = executor.run(ROWS, copied)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: executor.run(ROWS, copied), range(16)):
            assert_equal(expected, found)


@forks
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only: threads and the CPUs that they may use")
def test_threads_keep_off_the_cpu_of_their_caller(static: Bundle) -> None:
    given = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # more than a worker of the tests has
    try:
        allowed = os.sched_getaffinity(0)
        if len(allowed) < 2:
            pytest.skip("this machine has one CPU for us")
        executor, before = NativeExecutor(static, threads=2), set(os.listdir("/proc/self/task"))
        executor.run([row(24, [3], hidden=True)], copied)
        (other,) = set(os.listdir("/proc/self/task")) - before
        assert len(allowed - os.sched_getaffinity(int(other))) == 1
        assert os.sched_getaffinity(0) == allowed
    finally:
        os.sched_setaffinity(0, given)


def test_forked_processes_share_the_weights(static: Bundle) -> None:
    executor = NativeExecutor(static, threads=2)
    expected = executor.run(ROWS, copied)
    busy = threading.Thread(target=lambda: [executor.run(ROWS, copied) for _ in range(20)])
    busy.start()
    child = os.fork()
    if not child:
        status = 1
        try:
            assert_equal(expected, executor.run(ROWS, copied))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    busy.join()
    assert_equal(expected, executor.run(ROWS, copied))


def test_an_executor_that_is_dropped_is_closed(static: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Any] = []
    monkeypatch.setattr(native_executor, "_close", lambda library, engine, files: closed.append(files))
    executor = NativeExecutor(static, threads=1)
    dropped = weakref.ref(executor)
    (outputs,) = executor.run([ROWS[0]], lambda outputs: outputs)
    del executor
    gc.collect()
    assert dropped() is None
    assert closed
    assert np.isfinite(outputs["hidden_states"]).all()


def test_a_kernel_by_its_name(static: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    best = NativeExecutor(static, threads=1)
    monkeypatch.setenv(KERNEL, best.kernel)
    assert NativeExecutor(static, threads=1).kernel == best.kernel
    monkeypatch.setenv(KERNEL, "avx9")
    with pytest.raises(UnfitMachineError, match="avx9"):
        NativeExecutor(static, threads=1)


@pytest.mark.parametrize("kind", ["static", "faithful"])
def test_every_kernel_computes_the_plan(kind: str, static: Bundle, bundle_of: Callable[..., Bundle]) -> None:
    from bertedge.engines.native.library import kernels_here

    bundle = bundle_of(kind)
    expected = PlanModel(bundle.folder).run(ROWS, copied)
    for kernel in kernels_here():
        found = NativeExecutor(bundle, threads=1, kernel=kernel).run(ROWS, copied)
        for one, given, other in zip(ROWS, expected, found, strict=True):
            for name in given.keys() - (set() if one.hidden else {"hidden_states"}):
                np.testing.assert_allclose(other[name], given[name], atol=2e-2, err_msg=f"{kernel} {name}")


def test_steps_of_a_profile_are_parts_of_the_model(static: Bundle) -> None:
    nodes = NativeExecutor(static, threads=1).profile([row(20, [3], hidden=False)], seconds=0)
    parts = [part_of(node.name, static.layer_names) for node in nodes]
    assert OTHER not in parts
    assert {"embeddings", "mlm.decoder", "pooler", "nsp"} <= set(parts)
    for block, layer in product(range(2), ("attention.qkv", "attention.output", "intermediate", "output")):
        assert f"encoder.layer.{block}.{layer}" in parts
