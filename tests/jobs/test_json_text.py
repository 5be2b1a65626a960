"""JSON by orjson and by the standard library has the same values."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.jobs import json_text
from bertedge.jobs.json_text import json_bytes, standard_json

float32 = st.floats(width=32)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text(alphabet="\ud800\udfffa", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.skipif(json_text.orjson is None, reason="orjson is not installed: pip install 'bertedge[data]'")
@given(values, st.lists(float32, max_size=8))
def test_both_write_the_same_values(value: Any, numbers: list[float]) -> None:
    row = {"value": value, "vector": np.float32(numbers), "vectors": np.float32([numbers, numbers])}
    fast, standard = json_bytes(row), standard_json(row)
    assert json.loads(fast) == json.loads(standard)
    assert b"\n" not in fast


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_float32_comes_back_with_few_digits(numbers: list[float]) -> None:
    vector = np.float32(numbers)
    for text in (json_bytes(vector), standard_json(vector)):
        np.testing.assert_array_equal(np.float32(json.loads(text)), vector)
    assert standard_json(np.float32([0.1])) == b"[0.1]"


def test_values_that_json_lacks() -> None:
    row = {
        "none": [float("nan"), float("inf"), np.float32("nan")],
        "day": datetime.date(2024, 2, 29),
        "time": datetime.datetime(2024, 2, 29, 12, 30),
        "price": Decimal("1.50"),
        "bytes": b"\x00\xff",
        "count": np.int64(7),
        "large": 2**70,
    }
    expected = {
        "none": [None, None, None],
        "day": "2024-02-29",
        "time": "2024-02-29T12:30:00",
        "price": "1.50",
        "bytes": "AP8=",
        "count": 7,
        "large": 2**70,
    }
    assert json.loads(json_bytes(row)) == json.loads(standard_json(row)) == expected
