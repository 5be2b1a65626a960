"""The simulated runtime: onnxruntime's results where nothing is cut, others where something is."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.emulate.cpus import SIMULATED
from bertedge.emulate.saturate import Saturation
from bertedge.emulate.simulate import simulate
from bertedge.errors import UsageError
from bertedge.runtime import load
from bertedge.runtime.golden import verify
from bertedge.target import TARGETS
from bertedge.weight_range import PAIRED_RANGE
from tests.conftest import KINDS

TEXT = "The cat sat on the [MASK]."


@pytest.mark.parametrize("positions", ["masked", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_small_enough_in_pairs_are_never_cut(
    bundle_of: Callable[..., Bundle], kind: str, positions: str
) -> None:
    bundle = bundle_of(kind, "portable", positions)
    runtime, model = simulate(bundle.folder, "avx2")
    result = verify(runtime)
    assert result.passed
    assert result.max_prob_diff < 1e-5
    assert sum(seen.cut_pairs for seen in model.saturation.values()) == 0
    plain = load(bundle.folder, engine="onnxruntime", allow_any_cpu=True)
    np.testing.assert_allclose(runtime.encode(TEXT), plain.encode(TEXT), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(runtime.next_sentence("One.", "Two."), plain.next_sentence("One.", "Two."), atol=1e-5)
    assert runtime.fill_mask(TEXT)[0][0].token_id == plain.fill_mask(TEXT)[0][0].token_id


@pytest.mark.parametrize("target", SIMULATED)
def test_larger_ones_are_cut(bundle_of: Callable[..., Bundle], target: str) -> None:
    assert TARGETS[target].weight_range == PAIRED_RANGE
    runtime, model = simulate(bundle_of("static", "arm64").folder, target)
    result = verify(runtime)
    total = reduce(add, model.saturation.values(), Saturation())
    assert 0 < total.cut_pairs < total.pairs
    assert 0 < total.wrong_sums < total.sums
    assert result.max_prob_diff > 1e-5


def test_every_int8_layer_is_counted(bundle_of: Callable[..., Bundle]) -> None:
    runtime, model = simulate(bundle_of("static").folder, "avx2")
    runtime.fill_mask(TEXT)
    for layer in ("encoder.layer.0.intermediate", "encoder.layer.0.output", "encoder.layer.0.attention.output"):
        assert model.saturation[layer].sums > 0
    assert any("attention.qkv" in layer for layer in model.saturation)


@pytest.mark.parametrize("target", ["avx512-vnni", "arm64", "portable", "avx3"])
def test_only_what_adds_in_sixteen_bits_is_simulated(bundle_of: Callable[..., Bundle], target: str) -> None:
    with pytest.raises(UsageError, match=f"target '{target}' cannot be simulated") as caught:
        simulate(bundle_of("static").folder, target)
    assert "avx2" in caught.value.hint
