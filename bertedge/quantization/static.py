"""Static int8: ranges from calibration. The result of a row does not depend on other rows."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from bertedge.graph.formats import Float16Weights, Int8Rows, NumberFormat, StaticInt8, TwoTermInt8
from bertedge.graph.rounding import Nearest, Rounding, Roundings, WithMeanError, least_squares_scales, row_scales
from bertedge.layers import Layer, Role
from bertedge.quantization.calibrate import calibrate, frequent_tokens, observe_clips
from bertedge.quantization.compensate import Products, is_cheap
from bertedge.quantization.job import Decision, Job, plan_of
from bertedge.quantization.observers import CLIPPING, Channels, Clip, scale_and_zero_point
from bertedge.quantization.ranges import Ranges
from bertedge.recipe import Static, matching
from bertedge.weight_range import WeightRange

#: How the scale of each output channel is found; names as in :class:`bertedge.recipe.Static`.
SCALES = {"max": row_scales, "mse": least_squares_scales}
#: A channel is an outlier where its largest absolute value is above this multiple of the median channel's.
OUTLIER_RATIO = 2.0
#: A channel is shifted to zero if its middle is farther from zero than this multiple of half its range.
FAR_OUT = 2.0
#: At most one channel in ``OUTLIER_SHARE`` is multiplied in float, and at most ``MAX_OUTLIERS``.
OUTLIER_SHARE, MAX_OUTLIERS = 16, 64
#: Balancing and float outliers cost one to three operators, so they must reduce the range by this factor.
MIN_GAIN = 1.5
#: Two terms have enough bits for a range of this multiple of the observed one, which clips almost nothing.
FINER_MARGIN = 2.0
#: The pooler reads one position of each text, so calibration observes few of its inputs. With the built-in model,
#: 0.6 % of the values in other texts were outside of the observed range. A range wider by this factor reduces the mean
#: error of P(is next) from 0.0043 to 0.0025.
POOLER_MARGIN = 1.5
#: Number of words whose rows are looked up exactly. They are half of a usual text, and 0.1 % of the file.
EXACT_ROWS = 127
#: Balancing uses at least this share of the median channel's reach, since other texts may have larger values.
MIN_REACH = 0.05


def decide(job: Job, method: Static) -> Decision:
    """int8 with calibrated ranges for every linear layer that is not excluded.

    Raises:
        UsageError, FileError: the given ranges do not fit this job.
    """
    kept_float, compensated = job.kept_float(), _compensates(job, method)
    ranges, products = _seen(job, method, products=compensated)

    def format_of(layer: Layer) -> NumberFormat:
        if layer.role == Role.POSITION_TABLE:
            return Int8Rows()  # looked up, never multiplied
        if layer.role == Role.WORD_TABLE:
            exact = frequent_tokens(job, method, EXACT_ROWS)
            return Int8Rows(weight_range=job.target.weight_range, exact=exact)
        together = job.users[layer.name]
        form = _linear_format(layer.role, ranges.seen(*together), job.target.weight_range, method)
        return form if len(together) == 1 else _in_range(form, ranges.seen(layer.name))

    plan = {n: form for n, form in plan_of(job.layers, format_of).items() if n not in kept_float}
    if method.observer in CLIPPING:
        ranges = replace(ranges, clips=ranges.clips or observe_clips(job, method, plan))
        plan |= {name: _clipped(plan[name], clip) for name, clip in ranges.clips.items() if name in plan}
    positions = {layer.name for layer in job.layers if layer.role == Role.POSITION_TABLE}
    finer = {name: _finer(form) for name, form in plan.items() if isinstance(form, StaticInt8) or name in positions}
    in_finer = set(matching("finer", method.finer, list(finer)))
    job.require_all_users("finer", in_finer)
    plan |= {name: finer[name] for name in sorted(in_finer)}
    return Decision(
        plan=plan,
        ranges=ranges,
        roundings=_roundings(job, method, ranges, products),
        warnings=_clip_warnings(method, ranges),
        finer={"finer": finer},
    )


def _compensates(job: Job, method: Static) -> bool:
    if method.rounding == "auto":
        return is_cheap(job.checkpoint.config)
    return method.rounding == "compensated"


def _seen(job: Job, method: Static, *, products: bool) -> tuple[Ranges, dict[str, Products]]:
    """The given ranges, or new ones; products are not stored in bundles, so they are always new."""
    if job.ranges is not None:
        model = job.float_model
        job.ranges.require(
            source=job.checkpoint.name,
            model_sha256=job.model_sha256,
            held_out=job.recipe.held_out,
            method=method,
            channels={layer: model.channels[value] for layer, value in model.layer_inputs.items()},
        )
        if not products:
            return job.ranges, {}
    seen = calibrate(job, method, products=products)
    return job.ranges or seen.ranges, seen.products


def _roundings(job: Job, method: Static, ranges: Ranges, products: dict[str, Products]) -> Roundings:
    """Layer -> how its weights are rounded, for the inputs of all layers that use them."""
    nearest = Nearest(SCALES[method.weight_scales])

    def rounding(layer: str) -> Rounding:
        chosen: Rounding = nearest
        if layer in products:
            chosen = products[layer].rounding(nearest)
        if method.bias_correction and layer in ranges.layers:
            chosen = WithMeanError(chosen, ranges.seen(*job.users[layer]).mean)
        return chosen

    return rounding


def _clip_warnings(method: Static, ranges: Ranges) -> tuple[str, ...]:
    """A sentence about clipped values."""
    cut = {layer: clip.outside for layer, clip in ranges.clips.items() if clip.outside > 0}
    if not cut:
        return ()
    worst = max(cut, key=lambda layer: cut[layer])
    return (
        f"the observer {method.observer} cuts off values in {len(cut)} layers, "
        f"{100 * cut[worst]:.2f} % of them in {worst}; "
        "BERT may need these outliers: compare with --set observer=min-max",
    )


def _clipped(form: NumberFormat, clip: Clip) -> NumberFormat:
    """The format with another range."""
    if not isinstance(form, StaticInt8):
        return form
    scale, zero_point = scale_and_zero_point(clip.low, clip.high)
    return replace(form, scale=scale, zero_point=zero_point)


#: Roles that read the output of a layer norm.
AFTER_NORM = (Role.QKV, Role.INTERMEDIATE, Role.POOLER)
#: Roles that read the output of attention or of an activation function.
AFTER_ACTIVATION = (Role.ATTENTION_OUTPUT, Role.OUTPUT)


def _linear_format(role: Role, seen: Channels, weight_range: WeightRange, method: Static) -> StaticInt8:
    if role == Role.POOLER:
        seen = seen.with_margin(POOLER_MARGIN)
    if method.smoothing and role in AFTER_NORM:
        return _smoothed(seen, weight_range)
    if method.float_outliers and role in AFTER_ACTIVATION:
        return _with_outliers(seen, weight_range)
    if method.smoothing and role == Role.DECODER:
        return _balanced(seen, weight_range)
    return _plain(seen.low, seen.high, weight_range)


def _in_range(form: StaticInt8, seen: Channels) -> StaticInt8:
    """The format for one of the layers that share weights, and so balance and outliers: the range of its own input."""
    shifts, divisors = (
        np.asarray(values or default, dtype=np.float32)
        for values, default in ((form.input_shifts, 0), (form.input_divisors, 1))
    )
    low, high = (np.delete((end - shifts) / divisors, form.outliers) for end in (seen.low, seen.high))
    scale, zero_point = scale_and_zero_point(float(low.min()), float(high.max()))
    return replace(form, scale=scale, zero_point=zero_point)


def _finer(form: NumberFormat) -> NumberFormat:
    if isinstance(form, StaticInt8):
        same = {field.name: getattr(form, field.name) for field in fields(StaticInt8)}
        return TwoTermInt8(**same | {"scale": form.scale * FINER_MARGIN})
    return Float16Weights()


def _balanced(seen: Channels, weight_range: WeightRange) -> StaticInt8:
    """Divide every channel before the decoder by the square root of its reach, in the layer norm, at no cost.

    Half of the differences between channels moves into the weights (Xiao et al. 2023, equation 4, alpha = 0.5).
    """
    reach = seen.largest
    median = float(np.median(reach))
    if median == 0.0:
        return _plain(seen.low, seen.high, weight_range)
    divisors = np.sqrt(np.maximum(reach / median, MIN_REACH))
    balanced = _plain(seen.low / divisors, seen.high / divisors, weight_range)
    return replace(balanced, input_divisors=tuple(map(float, divisors)))


def _plain(low: NDArray[np.floating], high: NDArray[np.floating], weight_range: WeightRange) -> StaticInt8:
    scale, zero_point = scale_and_zero_point(float(low.min()), float(high.max()))
    return StaticInt8(scale=scale, zero_point=zero_point, weight_range=weight_range)


def _smoothed(seen: Channels, weight_range: WeightRange) -> StaticInt8:
    """After a layer norm, a few channels are outliers in every text: divide them down to the limit.

    A channel far from zero that varies little is shifted to zero first.
    """
    plain = _plain(seen.low, seen.high, weight_range)
    middle, half = (seen.high + seen.low) / 2, (seen.high - seen.low) / 2
    limit = OUTLIER_RATIO * float(np.median(seen.largest))
    shifts = np.where(np.abs(middle) > np.maximum(limit, FAR_OUT * half), middle, np.float32(0))
    low, high = seen.low - shifts, seen.high - shifts
    reach = np.maximum(high, -low)
    bound = OUTLIER_RATIO * float(np.median(reach))
    if bound == 0.0:
        return plain
    divisors = np.maximum(reach / np.float32(bound), np.float32(1))
    smoothed = _plain(low / divisors, high / divisors, weight_range)
    if plain.scale < MIN_GAIN * smoothed.scale:
        return plain
    return replace(
        smoothed,
        input_divisors=tuple(map(float, divisors)) if (divisors > 1).any() else (),
        input_shifts=tuple(map(float, shifts)) if shifts.any() else (),
    )


def _with_outliers(seen: Channels, weight_range: WeightRange) -> StaticInt8:
    """After the feed-forward's activation, a few units have huge values and huge weights: multiply them in float."""
    plain = _plain(seen.low, seen.high, weight_range)
    reach = seen.largest
    limit = min(MAX_OUTLIERS, len(reach) // OUTLIER_SHARE)
    farthest = np.argsort(-reach)[:limit]
    outliers = np.sort(farthest[reach[farthest] > OUTLIER_RATIO * np.median(reach)])
    others = np.setdiff1d(np.arange(len(reach)), outliers)
    inliers = _plain(seen.low[others], seen.high[others], weight_range)
    if plain.scale < MIN_GAIN * inliers.scale:
        return plain
    return replace(inliers, outliers=tuple(map(int, outliers)))
