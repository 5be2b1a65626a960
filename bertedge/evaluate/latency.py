"""Latency of several predictors, interleaved, so that their ratio means something on a noisy machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.masking import mask_tokens
from bertedge.evaluate.metrics import MetricValue
from bertedge.predictor import NO_LABEL, Batch, Predictor

EXCLUDED = ("tokenization",)
#: A block of calls takes at least so long, and starts after a pause that lets other sessions' threads stop spinning.
BLOCK_S = 0.02
PAUSE_S = 0.05
#: Untimed calls at the very start; a runtime may still be finding out what is fastest.
SETTLE_CALLS = 12
BOOTSTRAP = 2000


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Texts of one length in one call, 15 % of the positions masked."""

    batch_size: int
    seq_len: int


DEFAULT_GRID = tuple(Workload(batch_size=b, seq_len=s) for b, s in ((1, 16), (1, 64), (1, 128), (8, 64)))


@dataclass(frozen=True, kw_only=True)
class LatencyReport:
    """Times of one predictor on one workload, in milliseconds a call.

    Attributes:
        calls: how many calls were timed.
        samples_ms: the mean of each round's block; every call's own time is not kept, a report would be megabytes.
        p50_ms: like the other percentiles, over all calls, each with its own time.
        ratio_to_reference: median of the rounds' ratios of block means.
    """

    batch_size: int
    seq_len: int
    threads: int
    calls: int
    samples_ms: tuple[float, ...]
    p50_ms: float
    p90_ms: float
    p99_ms: float
    tokens_per_s: float
    warmup: int
    excluded: tuple[str, ...]
    ratio_to_reference: MetricValue


@dataclass(frozen=True, kw_only=True, eq=False)
class Timing:
    """Milliseconds of one thing that was called again and again.

    Attributes:
        blocks: mean of the calls of each round's block, shape (rounds,); the same round of another thing was measured
            next to it, so ratios are taken of these.
        calls: every call by itself, shape (calls,); what is rare shows only here.
    """

    blocks: NDArray[np.float64]
    calls: NDArray[np.float64]


def workload_batch(workload: Workload, corpus: TokenizedCorpus, layout: Layout, *, seed: int = 0) -> Batch:
    """Real text cut to exactly ``seq_len`` tokens."""
    rng = np.random.default_rng(seed)
    rows, length = workload.batch_size, workload.seq_len
    pieces = np.resize(corpus.piece_ids, rows * (length - 2)).reshape(rows, length - 2).astype(np.int64)
    ids = np.concatenate([np.full((rows, 1), layout.cls_id), pieces, np.full((rows, 1), layout.sep_id)], axis=1)
    maskable = np.ones(length, dtype=bool)
    maskable[[0, -1]] = False
    changed, positions = zip(
        *(
            mask_tokens(r, maskable, mask_id=layout.mask_id, vocab_size=layout.vocab_size, rng=rng, always_mask=True)
            for r in ids
        ),
        strict=True,
    )
    where = np.stack(positions)
    return Batch(
        input_ids=np.stack(changed),
        attention_mask=np.ones_like(ids),
        token_type_ids=np.zeros_like(ids),
        masked_positions=where,
        masked_labels=np.take_along_axis(ids, where, axis=1),
        next_sentence_labels=np.full(rows, NO_LABEL),
    )


def interleave(calls: Sequence[Callable[[], object]], *, rounds: int, warmup: int = 3, seed: int = 0) -> list[Timing]:
    """Time calls in rounds, in a fresh order each round.

    A round has a block of each call, after a pause and some untimed calls: the pause lets the threads of the model
    before fall asleep (they go on spinning for a while and would take this one's processor), the untimed calls bring
    this model's weights back into the caches.

    Returns:
        One timing for each call, in their order.
    """
    rng = np.random.default_rng(seed)
    blocks: list[list[NDArray[np.float64]]] = [[] for _ in calls]
    for call in calls:
        time.sleep(PAUSE_S)
        for _ in range(SETTLE_CALLS):
            call()
    for _ in range(rounds):
        for index in rng.permutation(len(calls)):
            time.sleep(PAUSE_S)
            blocks[index].append(_block(calls[index], warmup))
    return [Timing(blocks=np.array([block.mean() for block in own]), calls=np.concatenate(own)) for own in blocks]


def _block(call: Callable[[], object], warmup: int) -> NDArray[np.float64]:
    """Milliseconds of each call, together at least ``BLOCK_S``; the clock is read once a call, which takes 50 ns."""
    for _ in range(warmup):
        call()
    stamps = [time.perf_counter()]
    while stamps[-1] - stamps[0] < BLOCK_S:
        call()
        stamps.append(time.perf_counter())
    return 1e3 * np.diff(stamps)


def paired_ratio(blocks: NDArray[np.float64], reference: NDArray[np.float64], *, seed: int = 0) -> MetricValue:
    """Median of the rounds' ratios with a 95 % bootstrap interval; what slows a whole round cancels out."""
    ratios = blocks / reference
    rng = np.random.default_rng(seed)
    draws = np.median(ratios[rng.integers(len(ratios), size=(BOOTSTRAP, len(ratios)))], axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return MetricValue(value=float(np.median(ratios)), low=float(low), high=float(high), n=len(ratios))


def measure_latency(
    predictors: Sequence[Predictor],
    grid: Sequence[Workload],
    corpus: TokenizedCorpus,
    layout: Layout,
    *,
    threads: int,
    rounds: int,
    warmup: int = 3,
    listen: Callable[[float, str], None] = lambda share, text: None,
) -> list[tuple[LatencyReport, ...]]:
    """Time every predictor on every workload; the first predictor is the reference of the ratios."""
    reports: list[list[LatencyReport]] = [[] for _ in predictors]
    for done, workload in enumerate(grid):
        batch = workload_batch(workload, corpus, layout)
        listen(done / len(grid), f"timing {workload.batch_size} x {workload.seq_len}")
        timings = interleave(
            [partial(predictor.predict, batch) for predictor in predictors], rounds=rounds, warmup=warmup
        )
        for report, own in zip(reports, timings, strict=True):
            report.append(_summary(workload, own, timings[0], threads, warmup))
    return [tuple(report) for report in reports]


def _summary(workload: Workload, own: Timing, reference: Timing, threads: int, warmup: int) -> LatencyReport:
    p50, p90, p99 = (float(q) for q in np.quantile(own.calls, [0.5, 0.9, 0.99]))
    return LatencyReport(
        batch_size=workload.batch_size,
        seq_len=workload.seq_len,
        threads=threads,
        calls=len(own.calls),
        samples_ms=tuple(round(float(s), 4) for s in own.blocks),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        tokens_per_s=workload.batch_size * workload.seq_len / p50 * 1e3,
        warmup=warmup,
        excluded=EXCLUDED,
        ratio_to_reference=paired_ratio(own.blocks, reference.blocks),
    )
