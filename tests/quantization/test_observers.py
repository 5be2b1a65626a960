"""Ranges that follow from what was seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bertedge.quantization.observers import BINS, CLIPPING, LEVELS, Channels, Histogram, clip_of
from bertedge.recipe import OBSERVERS, Static

RNG = np.random.default_rng(0)
VALUES = arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e4, 1e4, width=32))


def histogram(values: np.ndarray) -> Histogram:
    seen = Histogram(float(values.min()), float(values.max()))
    seen.observe(values)
    return seen


def error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / LEVELS
    steps = np.clip(np.rint((values - low) / step), 0, LEVELS)
    return float(np.square(steps * step + low - values).mean())


def test_every_observer_has_a_way_to_choose() -> None:
    assert set(CLIPPING) | {"min-max"} == set(OBSERVERS)


@given(arrays(np.float32, (7, 3), elements=st.floats(-1e6, 1e6, width=32)), st.integers(1, 6))
def test_channels_hold_what_was_seen_in_whatever_parts(values: np.ndarray, cut: int) -> None:
    whole, parts = Channels.unseen(3), Channels.unseen(3)
    whole.observe(values)
    for part in (values[:cut], values[cut:]):
        parts.observe(part)
    assert (whole.low == values.min(axis=0)).all()
    assert (whole.high == values.max(axis=0)).all()
    for seen in (whole, parts):
        assert np.allclose(seen.mean, values.mean(axis=0, dtype=np.float64), rtol=1e-3, atol=1.0)
    assert (whole.low == parts.low).all()


@given(VALUES)
def test_a_histogram_counts_every_value_once(values: np.ndarray) -> None:
    seen = histogram(values)
    assert seen.counts.sum() == values.size
    assert seen.share_outside(seen.low, seen.high) == 0


@pytest.mark.parametrize("observer", CLIPPING)
@given(values=VALUES)
def test_a_range_lies_within_what_was_seen_and_holds_zero(observer: str, values: np.ndarray) -> None:
    seen = histogram(values)
    clip = clip_of(seen, Static(observer=observer))
    slack = 1e-6 * max(abs(seen.low), abs(seen.high))
    assert seen.low - slack <= clip.low <= 0 <= clip.high <= seen.high + slack
    assert 0 <= clip.outside <= 1


def test_least_squares_clips_a_rare_outlier_and_only_if_it_pays() -> None:
    values = RNG.normal(size=200_000).astype(np.float32)
    clip = clip_of(histogram(values), Static(observer="mse"))
    assert error(values, clip.low, clip.high) <= 1.01 * error(values, float(values.min()), float(values.max()))
    with_outlier = np.append(values, np.float32(9)).astype(np.float32)
    clip = clip_of(histogram(with_outlier), Static(observer="mse"))
    assert clip.high < 7
    assert clip.outside > 0
    even = RNG.uniform(-1, 1, size=100_000).astype(np.float32)
    clip = clip_of(histogram(even), Static(observer="mse"))
    assert (clip.low, clip.high) == pytest.approx((-1, 1), abs=0.03)


@pytest.mark.parametrize("share", [99.0, 99.9, 100.0])
def test_a_percentile_keeps_its_share(share: float) -> None:
    values = RNG.normal(size=200_000).astype(np.float32)
    clip = clip_of(histogram(values), Static(observer="percentile", percentile=share))
    assert clip.outside == pytest.approx(1 - share / 100, abs=2e-3)
    if share == 100.0:
        assert (clip.low, clip.high) == pytest.approx((values.min(), values.max()), abs=8 / BINS)
