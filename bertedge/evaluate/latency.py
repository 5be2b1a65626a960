"""Latency of several predictors. They are timed in turn, so that their ratio is correct on a noisy machine too."""

from __future__ import annotations

import math
import reprlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertedge.bounds import Count, Milliseconds, Rate
from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.masking import mask_tokens
from bertedge.errors import FileError
from bertedge.evaluate.intervals import LARGEST_EXPONENT, expanded_tail, t_interval
from bertedge.metric import MetricValue
from bertedge.predictor import Batch

EXCLUDED = ("tokenization",)
#: A block of calls has at least this many calls and takes at least this long. A pause comes before it, in which
#: the threads of other sessions stop spinning.
BLOCK_CALLS, BLOCK_S = 3, 0.02
PAUSE_S = 0.05
#: Untimed calls at the start, in which a runtime may still choose its fastest settings; fewer if calls are slow.
SETTLE_CALLS, SETTLE_S = 26, 0.25
#: The time of a block is this quantile of its calls.
UNDISTURBED = 0.25
BOOTSTRAP = 2000
LARGEST_COUNT = 2**31
#: A larger ratio of times is an error.
MOST_RATIO = 1e9
MEASURE_AGAIN = "was the file edited by hand? measure it again"
#: The number of parts of a run, each of which is resampled as a whole. It is small, so that each part lasts longer than
#: a disturbance of the machine.
CLUSTERS = 10
#: Fewer parts are not resampled: with probability 2 / 2**n, the median is outside the range of all n parts.
FEW_CLUSTERS = 6


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The texts of one call, all of one length. 15 % of the positions are masked."""

    batch_size: int
    seq_len: int


DEFAULT_GRID = tuple(Workload(batch_size=b, seq_len=s) for b, s in ((1, 16), (1, 64), (1, 128), (8, 64)))


@dataclass(frozen=True, kw_only=True)
class LatencyReport:
    """Times of one predictor on one workload, in milliseconds a call.

    Attributes:
        calls: how many calls were timed.
        samples_ms: the lower quartile of each round's block. Equal indices in the samples of two models are the same
            round.
        rounds_per_sitting: consecutive rounds between two loads of the model.
        p50_ms: the median over all calls; the other percentiles are over all calls too.
        ratio_to_reference: median of the rounds' ratios, with its interval; see :func:`paired_ratio`.
    """

    batch_size: int
    seq_len: int
    threads: int
    calls: int
    samples_ms: tuple[float, ...]
    rounds_per_sitting: int
    p50_ms: Milliseconds
    p90_ms: Milliseconds
    p99_ms: Milliseconds
    tokens_per_s: Rate
    warmup: Count
    excluded: tuple[str, ...]
    ratio_to_reference: MetricValue

    def flaw(self) -> str | None:
        """What is wrong with the values, in words; None if they are valid."""
        ratio = self.ratio_to_reference
        if any(abs(number) > MOST_RATIO for number in (ratio.value, ratio.low) if math.isfinite(number)):
            return f"ratio_to_reference is {ratio.value:.4g}"
        return None

    def __post_init__(self) -> None:
        times = (*self.samples_ms, self.p50_ms, self.p90_ms, self.p99_ms)
        counts = (self.batch_size, self.seq_len, self.threads, self.calls, self.rounds_per_sitting)
        if not all(0 < count < LARGEST_COUNT for count in counts):
            workload = f"{reprlib.repr(self.batch_size)} x {reprlib.repr(self.seq_len)}"
            raise FileError(f"latency of {workload}: a count is out of range", MEASURE_AGAIN)
        if len(self.samples_ms) < 2 or not all(0 < ms < math.inf for ms in times):
            raise FileError(
                f"latency of {workload_name(self)}: expected two samples or more, and times above 0 ms", MEASURE_AGAIN
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Timing:
    """Times of one function that was called many times, in milliseconds.

    Attributes:
        blocks: lower quartile of the calls of each round's block, shape (rounds,). Ratios are taken between the same
            rounds of two functions. A low quantile, because other processes can only add time to a call, while work of
            the model is in every call (Chen and Revels 2016, "Robust benchmarking in noisy environments").
        calls: time of every call, shape (calls,). Rare delays are visible only here.
    """

    blocks: NDArray[np.float64]
    calls: NDArray[np.float64]


def workload_name(workload: Workload | LatencyReport) -> str:
    """``1 x 128``: the number of texts and the tokens of each."""
    return f"{workload.batch_size} x {workload.seq_len}"


def workload_batch(workload: Workload, corpus: TokenizedCorpus, layout: Layout, *, seed: int = 0) -> Batch:
    """Real text cut to exactly ``seq_len`` tokens."""
    rng = np.random.default_rng(seed)
    rows, length = workload.batch_size, workload.seq_len
    frame = layout.template.single
    room, start = length - frame.count, len(frame.special[0])
    laid_out = [frame.lay_out(text) for text in np.resize(corpus.token_ids, (rows, room)).tolist()]
    ids, segments = (np.array(part, dtype=np.int64) for part in zip(*laid_out, strict=True))
    maskable = np.zeros(length, dtype=bool)
    maskable[start : start + room] = True
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
        token_type_ids=segments,
        masked_positions=where,
        hidden=layout.hidden,
    )


def interleave(
    calls: Sequence[Callable[[], object]], *, rounds: int, warmup: int = 3, seed: int = 0, one_thread: bool = False
) -> list[Timing]:
    """Time calls in rounds, in a new order each round.

    A round has a block of each call, after a pause and some untimed calls. In the pause, the threads of the
    previous model stop spinning; until then they would use the CPUs. The untimed calls bring the model's weights back
    into the caches.

    Args:
        one_thread: no call starts threads, so there is no pause, and fewer untimed calls.

    Returns:
        One timing for each call, in the order of ``calls``.
    """
    rng = np.random.default_rng(seed)
    blocks: list[list[NDArray[np.float64]]] = [[] for _ in calls]
    pause, settle = (0.0, warmup) if one_thread else (PAUSE_S, SETTLE_CALLS)
    for call in calls:
        time.sleep(pause)
        start = time.perf_counter()
        for done in range(settle):
            if done >= warmup and time.perf_counter() - start > SETTLE_S:
                break
            call()
    for _ in range(rounds):
        for index in rng.permutation(len(calls)):
            time.sleep(pause)
            blocks[index].append(_block(calls[index], warmup))
    return [
        Timing(blocks=np.array([np.quantile(block, UNDISTURBED) for block in own]), calls=np.concatenate(own))
        for own in blocks
    ]


def _block(call: Callable[[], object], warmup: int) -> NDArray[np.float64]:
    """Time calls for at least ``BLOCK_S`` in all; returns milliseconds of each. Reading the clock takes 50 ns a call.

    Long calls need only one untimed call. At least ``BLOCK_CALLS`` are timed, for a quartile.
    """
    start = time.perf_counter()
    for _ in range(warmup):
        call()
        if time.perf_counter() - start > BLOCK_S / 2:
            break
    stamps = [time.perf_counter()]
    while stamps[-1] - stamps[0] < BLOCK_S or len(stamps) <= BLOCK_CALLS:
        call()
        stamps.append(time.perf_counter())
    return 1e3 * np.diff(stamps)


def paired_ratio(
    blocks: NDArray[np.float64], reference: NDArray[np.float64], *, rounds_per_sitting: int = 1, seed: int = 0
) -> MetricValue:
    """Median of the rounds' ratios with a 95 % interval. A disturbance of a whole round cancels out.

    Rounds are not independent. Rounds of one sitting use the same loaded models (addresses in memory, cores of the
    threads, settings that the runtime chose), and consecutive rounds see the same state of the machine. So the run is
    divided into at most ``CLUSTERS`` parts of whole sittings, and the bootstrap draws parts. For so few parts its
    percentiles are too narrow, so they are moved outwards by Student's t (Hesterberg 2015, "What
    teachers should know about the bootstrap", expanded percentile interval). Fewer than ``FEW_CLUSTERS`` parts get an
    interval by Student's t on their logarithms.

    Args:
        blocks: a number for each round, in the order of measuring, shape (rounds,).

    Raises:
        MissingExtraError: scipy is not installed.
    """
    ratios = blocks / reference
    sittings = np.arange(len(ratios)) // rounds_per_sitting
    count = int(sittings[-1]) + 1
    parts = np.array_split(np.arange(count), min(count, CLUSTERS))
    part_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts])[sittings]
    low, high = _few(ratios, part_of) if len(parts) < FEW_CLUSTERS else _many(ratios, part_of, seed)
    value = float(np.median(ratios))  # the median of all rounds, not of the parts' medians
    return MetricValue(value=value, low=min(low, value), high=max(high, value), n=len(ratios))


def _few(ratios: NDArray[np.float64], part_of: NDArray[np.int64]) -> tuple[float, float]:
    """An interval by Student's t: with few parts, the range of the parts misses the true ratio too often."""
    logs = [float(np.log(np.median(ratios[part_of == part]))) for part in np.unique(part_of)]
    if len(logs) < 2:
        return 0.0, math.inf
    low, high = t_interval(logs)
    return math.exp(low), math.exp(min(high, LARGEST_EXPONENT))


def _many(ratios: NDArray[np.float64], part_of: NDArray[np.int64], seed: int) -> tuple[float, float]:
    rng, parts = np.random.default_rng(seed), int(part_of[-1]) + 1
    drawn = rng.multinomial(parts, np.full(parts, 1 / parts), size=BOOTSTRAP)
    tail = expanded_tail(parts)
    low, high = np.quantile(_weighted_medians(ratios, drawn[:, part_of]), [tail, 1 - tail])
    return float(low), float(high)


def _weighted_medians(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Medians of resamples in which value i occurs ``counts[:, i]`` times, counts of shape (resamples, values)."""
    order = np.argsort(values)
    upto = np.cumsum(counts[:, order], axis=1)
    total = upto[:, -1:]
    lower = np.argmax(upto >= (total + 1) // 2, axis=1)
    upper = np.argmax(upto >= total // 2 + 1, axis=1)
    return 0.5 * (values[order][lower] + values[order][upper])


def latency_report(
    workload: Workload, own: Timing, reference: Timing, *, threads: int, warmup: int, rounds_per_sitting: int
) -> LatencyReport:
    """The report of one model's times."""
    p50, p90, p99 = (float(q) for q in np.quantile(own.calls, [0.5, 0.9, 0.99]))
    return LatencyReport(
        batch_size=workload.batch_size,
        seq_len=workload.seq_len,
        threads=threads,
        calls=len(own.calls),
        samples_ms=tuple(round(float(s), 4) for s in own.blocks),
        rounds_per_sitting=rounds_per_sitting,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        tokens_per_s=workload.batch_size * workload.seq_len / p50 * 1e3,
        warmup=warmup,
        excluded=EXCLUDED,
        ratio_to_reference=paired_ratio(own.blocks, reference.blocks, rounds_per_sitting=rounds_per_sitting),
    )
