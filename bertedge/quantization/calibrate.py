"""Run the float graph over calibration text and observe the inputs of every linear layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertedge.data.batches import Layout, masked_batch
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
#: The largest number of texts that run at the same time; the activations of a long text may take 200 MB.
MOST_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """The range of every layer and, if asked for, the products of its inputs, by layer name."""

    ranges: Ranges
    products: dict[str, Products]


def calibrate(job: Job, method: Static, *, products: bool = False) -> Calibration:
    """Observe every linear layer's input.

    It takes the memory of the float weights and of the activations of :data:`MOST_AT_ONCE` texts.

    Args:
        products: keep the sums of x x^T as well, (inputs, inputs) for each layer.
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
        examples=method.examples,
        max_length=_length(job, method),
        observer=method.observer,
        percentile=method.percentile,
        clips={},
        layers={layer: channel_range(observers[value]) for layer, value in model.layer_inputs.items()},
    )
    return Calibration(ranges=ranges, products=_by_layer(job, sums) if sums else {})


def _seen(job: Job, method: Calibrated, *, products: bool) -> Observed:
    """Run the texts, unless the cache has the results.

    Ranges are those of all positions. Means and products, which decide how weights are rounded, are those of the
    positions that a layer usually reads: in the MLM head, the masked ones.
    """
    key, model = (job.recipe.held_out, method.examples, _length(job, method)), job.float_model
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
    """The sums of x x^T over the inputs x of every linear layer, (inputs, inputs), by layer name."""
    return _by_layer(job, _seen(job, method, products=True).products)


def _by_layer(job: Job, sums: Mapping[str, Products]) -> dict[str, Products]:
    """The sums by the name under which a layer's weights are stored: those of all layers with these weights."""
    inputs = job.float_model.layer_inputs
    return {
        layer.name: Products.together([sums[inputs[user]] for user in job.users[layer.name]])
        for layer in job.layers
        if layer.name in inputs and layer.shares is None
    }


def observe_clips(job: Job, method: Static, plan: Plan) -> dict[str, Clip]:
    """Run the texts again, and let the method's observer choose the range of each layer, by layer name.

    Args:
        plan: formats whose ranges hold all values. The new ranges are those of balanced channels without outliers.
    """
    forms = {layer: form for layer, form in plan.items() if isinstance(form, StaticInt8)}
    histograms = {layer: Histogram(*form.range) for layer, form in forms.items()}
    for _, arrays in _observed(job, method, "choosing ranges"):
        for layer, form in forms.items():
            histograms[layer].observe(multiplied(form, arrays[job.float_model.layer_inputs[layer]]))
    return {layer: clip_of(seen, method) for layer, seen in histograms.items()}


def multiplied(form: StaticInt8, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values that a format quantizes of its input, (..., channels)."""
    if form.input_shifts:
        values = values - np.asarray(form.input_shifts, dtype=np.float32)
    if form.input_divisors:
        return np.divide(values, np.asarray(form.input_divisors, dtype=np.float32), dtype=np.float32)
    return np.delete(values, form.outliers, axis=-1) if form.outliers else values


def _observed(job: Job, method: Calibrated, words: str) -> Iterator[tuple[Batch, dict[str, NDArray[np.float32]]]]:
    """Each text with the inputs of the layers: value name -> array.

    Each text runs on one thread, and several texts run at a time. They are returned in order, so the last bits of what
    is observed do not depend on the number of threads.
    """
    # Heads are read at every position, not only at masked ones. The input of the MLM head is much larger where the
    # model is sure of a word: for instance at words that are not masked.
    names = list(job.float_model.channels)
    reader = {value: layer for layer, value in job.float_model.layer_inputs.items()}
    session = open_session(job.float_model.observed, threads=1)
    inputs = inputs_of(session)

    def observe(batch: Batch) -> tuple[Batch, list[NDArray[np.float32]]]:
        return batch, session.run(names, feed(batch, inputs, everywhere=True))

    threads = min(usable_cpus(), MOST_AT_ONCE)
    texts = list(_texts(job, method))
    for index, (batch, values) in enumerate(in_order(observe, texts, threads=threads)):
        arrays = dict(zip(names, values, strict=True))
        for value, array in arrays.items():
            require_ordinary(array, reader[value], job.checkpoint.name)
        yield batch, arrays
        job.listen((index + 1) / len(texts), f"{words} {index + 1}/{len(texts)}")


def frequent_tokens(job: Job, method: Calibrated, count: int) -> tuple[int, ...]:
    """The ids that occur most in the masked calibration texts, ``[MASK]`` included; at most ``count``."""
    occurrences: Counter[int] = Counter()
    for batch in _texts(job, method):
        occurrences.update(batch.input_ids.ravel().tolist())
    ranked = sorted(occurrences, key=lambda token: (-occurrences[token], token))
    return tuple(sorted(ranked[:count]))


def _texts(job: Job, method: Calibrated) -> Iterator[Batch]:
    """The calibration texts, one in each batch. Every call gives the same texts."""
    model, rng = job.checkpoint, np.random.default_rng(SEED)
    layout = Layout.of(model.tokenizer, model.config.vocab_size, masks=model.parts.reads_masked)
    for text in job.text.calibration_texts(method.examples, max_length=_length(job, method), seed=SEED):
        yield masked_batch([text], layout, rng)


def about_reading(job: Job) -> tuple[str, ...]:
    """A warning if calibration reads little of its text, or reads the same text often."""
    method = job.recipe.method
    if not isinstance(method, Static) or job.ranges is not None:
        return ()
    return job.text.about_reading(method.examples, max_length=_length(job, method), seed=SEED)


def _length(job: Job, method: Calibrated) -> int:
    return min(method.max_length, job.checkpoint.config.max_length)
