"""Ranges, and which layers get which remedy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bertedge.graph.formats import StaticInt8
from bertedge.layers import Role
from bertedge.quantization.observers import Channels, scale_and_zero_point
from bertedge.quantization.static import _linear_format
from bertedge.recipe import Static
from bertedge.weight_range import FULL_RANGE, PAIRED_RANGE

RNG = np.random.default_rng(0)


def seen(*outliers: int, channels: int = 64) -> Channels:
    observer = Channels.unseen(channels)
    for _ in range(3):
        values = RNG.uniform(-1, 1, size=(2, 50, channels)).astype(np.float32)
        values[..., list(outliers)] *= 30
        observer.observe(values)
    return observer


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e6, 1e6, width=32)))
def test_every_value_seen_is_representable(values: np.ndarray) -> None:
    observer = Channels.unseen(4)
    observer.observe(values)
    scale, zero_point = scale_and_zero_point(float(observer.low.min()), float(observer.high.max()))
    assert 0 <= zero_point <= 255
    steps = np.clip(np.rint(values / scale) + zero_point, 0, 255) - zero_point
    assert np.abs(steps * scale - values).max() <= scale * 1.01


def test_observing_nothing_leaves_a_usable_range() -> None:
    observer = Channels.unseen(4)
    observer.observe(np.zeros((2, 0, 4), dtype=np.float32))
    assert scale_and_zero_point(float(observer.low.min()), float(observer.high.max())) == (1.0, 0)


@pytest.mark.parametrize("role", [Role.QKV, Role.INTERMEDIATE])
def test_channels_that_stand_out_are_divided(role: Role) -> None:
    form = _linear_format(role, seen(5), FULL_RANGE, Static())
    assert isinstance(form, StaticInt8)
    assert np.argmax(form.input_divisors) == 5
    assert form.scale < 4.5 / 255
    assert _linear_format(role, seen(), FULL_RANGE, Static()).input_divisors == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("role", [Role.OUTPUT, Role.ATTENTION_OUTPUT])
def test_units_that_stand_out_are_computed_beside(role: Role) -> None:
    form = _linear_format(role, seen(3, 9), FULL_RANGE, Static())
    assert isinstance(form, StaticInt8)
    assert form.outliers == (3, 9)
    assert form.scale < 2.1 / 255
    assert _linear_format(role, seen(), FULL_RANGE, Static()).outliers == ()  # type: ignore[union-attr]


def test_the_decoder_is_balanced() -> None:
    decoder = _linear_format(Role.DECODER, seen(1), PAIRED_RANGE, Static())
    assert isinstance(decoder, StaticInt8)
    assert (decoder.outliers, decoder.weight_range) == ((), PAIRED_RANGE)
    assert np.argmax(decoder.input_divisors) == 1


def test_constant_and_dead_channels() -> None:
    observer = Channels.unseen(64)
    observer.observe(np.zeros((1, 4, 64), dtype=np.float32))
    for role in (Role.QKV, Role.OUTPUT, Role.POOLER):
        form = _linear_format(role, observer, FULL_RANGE, Static())
        assert isinstance(form, StaticInt8)
        assert form.scale == 1.0


def test_wider_channels_have_the_same_middle_and_mean() -> None:
    observer = Channels.unseen(3)
    observer.observe(np.array([[-1.0, 2.0, 0.0], [3.0, 4.0, 0.0]], dtype=np.float32))
    wider = observer.with_margin(1.5)
    assert wider.low.tolist() == [-2.0, 1.5, 0.0]
    assert wider.high.tolist() == [4.0, 4.5, 0.0]
    assert wider.mean.tolist() == observer.mean.tolist()


def test_the_poolers_range_has_a_margin() -> None:
    seen = Channels.unseen(8)
    seen.observe(np.array([[-1.0] * 8, [1.0] * 8], dtype=np.float32))
    pooler, other = (
        _linear_format(role, seen, FULL_RANGE, Static(smoothing=False)) for role in (Role.POOLER, Role.DECODER)
    )
    assert pooler.scale == pytest.approx(1.5 * other.scale)
