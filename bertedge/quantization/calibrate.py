"""Run the float graph over calibration text and observe what every linear layer reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bertedge.data.batches import Layout, masked_batch
from bertedge.data.calibration import mixed_texts, reading_warnings
from bertedge.data.pairs import Pair
from bertedge.engines.onnxruntime.feed import feed
from bertedge.engines.onnxruntime.session import inputs_of, open_session
from bertedge.engines.side_by_side import in_order
from bertedge.engines.threads import usable_cpus
from bertedge.graph.formats import Plan, StaticInt8
from bertedge.predictor import Batch
from bertedge.quantization.compensate import Products
from bertedge.quantization.job import Job
from bertedge.quantization.observers import Channels, Clip, Histogram, clip_of, require_ordinary
from bertedge.quantization.ranges import SCHEMA_VERSION, Ranges, channel_range
from bertedge.quantization.result_cache import Observed
from bertedge.recipe import Calibrated, Static

SEED = 0
#: Texts that are observed at the same time at most; the activations of a long one may take 200 MB.
MOST_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What was observed: every layer's range and, if asked for, the products of its inputs, by layer name."""

    ranges: Ranges
    products: dict[str, Products]


def calibrate(job: Job, method: Static, *, products: bool = False) -> Calibration:
    """Observe every linear layer's input.

    Memory is bounded by the activations of :data:`MOST_AT_ONCE` texts, and the float weights.

    Args:
        products: keep the sum of x x^T as well, which takes the square of every layer's inputs in memory.
    """
    model, checkpoint = job.float_model, job.checkpoint
    seen = _seen(job, method, products=products)
    observers, sums = seen.channels, seen.products if products else {}
    ranges = Ranges(
        schema_version=SCHEMA_VERSION,
        source=checkpoint.name,
        model_sha256=job.model_sha256,
        calibration_sha256=job.calibration_sha256,
        held_out=job.recipe.held_out,
        num_examples=method.num_examples,
        max_length=_length(job, method),
        observer=method.observer,
        percentile=method.percentile,
        clips={},
        layers={layer: channel_range(observers[value]) for layer, value in model.layer_inputs.items()},
    )
    return Calibration(
        ranges=ranges, products={layer: sums[value] for layer, value in model.layer_inputs.items() if value in sums}
    )


def _seen(job: Job, method: Calibrated, *, products: bool) -> Observed:
    """Walk the texts, unless an earlier job did.

    Ranges hold what any position may give. Means and products, which weights are rounded by, are those of the positions
    that a layer mostly reads, which are the masked ones in the MLM head.
    """
    key, model = (job.recipe.held_out, method.num_examples, _length(job, method)), job.float_model
    if key in job.cache.observed and (not products or job.cache.observed[key].products):
        return job.cache.observed[key]
    channels = {value: Channels.unseen(extent) for value, extent in model.channels.items()}
    sums = {value: Products(extent) for value, extent in model.channels.items()} if products else {}
    masked = {model.layer_inputs[layer.name] for layer in job.layers if layer.reads == "masked"}
    for batch, arrays in _observed(job, method, "calibrating"):
        for value, array in arrays.items():
            typical = array[:, batch.masked_positions[0]] if value in masked else array
            channels[value].observe(array, typical)
            if value in sums:
                sums[value].observe(typical)
    job.cache.observed = {key: Observed(channels=channels, products=sums)}  # products are large: one set at a time
    return job.cache.observed[key]


def observe_products(job: Job, method: Calibrated) -> dict[str, Products]:
    """The sums of x x^T of every linear layer's inputs x, by layer name."""
    sums = _seen(job, method, products=True).products
    return {layer: sums[value] for layer, value in job.float_model.layer_inputs.items()}


def observe_clips(job: Job, method: Static, plan: Plan) -> dict[str, Clip]:
    """Walk the texts again for the ranges that the method's observer chooses, by layer name.

    Args:
        plan: formats whose ranges hold everything; what they divide and take out is not part of the new ranges.
    """
    forms = {layer: form for layer, form in plan.items() if isinstance(form, StaticInt8)}
    histograms = {layer: Histogram(*form.range) for layer, form in forms.items()}
    for _, arrays in _observed(job, method, "choosing ranges"):
        for layer, form in forms.items():
            histograms[layer].observe(multiplied(form, arrays[job.float_model.layer_inputs[layer]]))
    return {layer: clip_of(seen, method) for layer, seen in histograms.items()}


def multiplied(form: StaticInt8, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a format rounds and multiplies of its input, (..., channels)."""
    if form.input_shifts:
        values = values - np.asarray(form.input_shifts, dtype=np.float32)
    if form.input_divisors:
        return np.divide(values, np.asarray(form.input_divisors, dtype=np.float32), dtype=np.float32)
    return np.delete(values, form.outliers, axis=-1) if form.outliers else values


def _observed(job: Job, method: Calibrated, words: str) -> Iterator[tuple[Batch, dict[str, NDArray[np.float32]]]]:
    """Each text, and what the layers read: value name -> array.

    Each text runs on one thread, several at a time, and they are handed out in order: so the last bits of what is
    observed do not depend on the number of threads.
    """
    # Heads are read at every position: a model is as sure of a word that it sees as it may be of a masked one, and the
    # input of the MLM head is much larger where the model is sure.
    names = list(job.float_model.channels)
    reader = {value: layer for layer, value in job.float_model.layer_inputs.items()}
    session = open_session(job.float_model.observed, threads=1)
    inputs = inputs_of(session)

    def observe(batch: Batch) -> tuple[Batch, list[NDArray[np.float32]]]:
        return batch, session.run(names, feed(batch, inputs, everywhere=True))

    threads = min(usable_cpus(), MOST_AT_ONCE)
    for index, (batch, values) in enumerate(in_order(observe, _texts(job, method), threads=threads)):
        arrays = dict(zip(names, values, strict=True))
        for value, array in arrays.items():
            require_ordinary(array, reader[value], job.checkpoint.name)
        yield batch, arrays
        job.listen((index + 1) / method.num_examples, f"{words} {index + 1}/{method.num_examples}")


def frequent_tokens(job: Job, method: Calibrated, count: int) -> tuple[int, ...]:
    """The ids that occur most in the calibration text as the model reads it, ``[MASK]`` included; at most ``count``."""
    occurrences: Counter[int] = Counter()
    for batch in _texts(job, method):
        occurrences.update(batch.input_ids.ravel().tolist())
    ranked = sorted(occurrences, key=lambda piece: (-occurrences[piece], piece))
    return tuple(sorted(ranked[:count]))


def _texts(job: Job, method: Calibrated) -> Iterator[Batch]:
    """The calibration texts, one a batch; the same ones every time."""
    layout, rng = Layout.of(job.checkpoint.tokenizer, job.checkpoint.config.vocab_size), np.random.default_rng(SEED)
    for text in _unmasked(job, method):
        yield masked_batch([text], layout, rng)


def _unmasked(job: Job, method: Calibrated) -> list[Pair]:
    return mixed_texts(
        job.corpus,
        method.num_examples,
        max_length=_length(job, method),
        seed=SEED,
        pairs=job.checkpoint.reads_pairs,
    )


def about_reading(job: Job) -> tuple[str, ...]:
    """A sentence where calibration reads little of its text, or the same text often."""
    method = job.recipe.method
    if not isinstance(method, Static) or job.ranges is not None:
        return ()
    return reading_warnings(job.corpus, lambda places: _unmasked(replace(job, corpus=places), method), job.corpus_name)


def _length(job: Job, method: Calibrated) -> int:
    return min(method.max_length, job.checkpoint.config.max_length)
