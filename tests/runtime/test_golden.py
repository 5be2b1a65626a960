"""What a replay of the golden vectors forgives, and what not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bertedge.bundle import GOLDEN, Bundle
from bertedge.engines import ENGINES, Executor
from bertedge.engines.plan_model import PlanModel
from bertedge.errors import BundleError
from bertedge.runtime import BertRuntime, load
from bertedge.runtime.golden import NOISE_FACTOR, TOLERANCE, Verification, verify

Arrays = dict[str, NDArray[Any]]


@pytest.fixture
def replay_with(bundle_of: Callable[..., Bundle], tmp_path: Path) -> Callable[[Callable[[Arrays], None]], Verification]:
    """Replay a bundle whose golden vectors were changed."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_of("static").folder, folder)

    def replay(change: Callable[[Arrays], None]) -> Verification:
        runtime = load(folder, engine="onnxruntime")
        with np.load(folder / GOLDEN) as stored:
            arrays = dict(stored)
        change(arrays)
        np.savez(folder / GOLDEN, **arrays)
        return verify(runtime)

    return replay


def test_noise_is_measured(bundle_of: Callable[..., Bundle]) -> None:
    with np.load(bundle_of("static").folder / GOLDEN) as stored:  # rounding to 8 bits may swallow all of it
        assert 0 <= stored["noise.prob"] < 0.5
        assert 0 < stored["noise.state"] < 0.5
    with np.load(bundle_of("dynamic").folder / GOLDEN) as stored:
        assert 0 < stored["noise.prob"] < 0.5


@pytest.mark.parametrize("kind", ["float32", "faithful"])
def test_what_does_not_round_coarsely_has_none(bundle_of: Callable[..., Bundle], kind: str) -> None:
    result = verify(load(bundle_of(kind).folder))
    assert result.tolerance == TOLERANCE


@pytest.mark.parametrize(("noise", "moved", "passed"), [(0.02, 0.03, True), (0.02, 0.05, False), (0.0, 0.002, False)])
def test_differences_are_held_against_the_noise(
    replay_with: Callable[..., Verification], noise: float, moved: float, passed: bool
) -> None:
    def change(arrays: Arrays) -> None:
        arrays["noise.prob"] = np.array(noise)
        arrays["bundle.nsp_probs"][0, 0] += moved

    result = replay_with(change)
    assert result.passed == passed
    assert result.tolerance == max(TOLERANCE, NOISE_FACTOR * noise)
    assert result.max_prob_diff == pytest.approx(moved, abs=1e-4)


@pytest.mark.parametrize("lead_above_tolerance", [False, True])
def test_another_best_word_is_forgiven_in_a_near_tie(
    replay_with: Callable[..., Verification], lead_above_tolerance: bool
) -> None:
    def change(arrays: Arrays) -> None:
        second, first = np.sort(arrays["bundle.top_probs"][0, 0])[-2:]
        lead = float(first - second)
        arrays["noise.prob"] = np.array(lead / NOISE_FACTOR * (0.5 if lead_above_tolerance else 2))
        arrays["bundle.best_ids"][0, 0] += 1
        assert lead > 2 * TOLERANCE  # or the test would say nothing

    result = replay_with(change)
    assert not result.top1_equal
    assert result.passed != lead_above_tolerance
    assert (result.lost_lead > result.tolerance) == lead_above_tolerance
    assert ("except for near ties" in result.words) != lead_above_tolerance


def test_states_are_held_against_their_own_noise(replay_with: Callable[..., Verification]) -> None:
    def change(arrays: Arrays) -> None:
        arrays["bundle.cls_state"][0, 0] += 0.5 * np.abs(arrays["bundle.cls_state"]).max()
        arrays["noise.state"] = np.array(0.01)

    assert not replay_with(change).passed


def test_a_cpu_that_computes_no_numbers_does_not_pass(replay_with: Callable[..., Verification]) -> None:
    def change(arrays: Arrays) -> None:
        arrays["bundle.nsp_probs"][0, 0] = np.nan

    result = replay_with(change)
    assert np.isnan(result.max_prob_diff)
    assert not result.passed


def test_an_engine_is_compared_with_its_own_arithmetic(bundle_of: Callable[..., Bundle]) -> None:
    def open(bundle: Bundle, *, threads: int, check: bool = True) -> Executor:
        return PlanModel(bundle.folder)

    bundle, engine = bundle_of("static"), replace(ENGINES["onnxruntime"], open=open)
    runtime = BertRuntime(bundle, engine=replace(engine, arithmetic="per_token"), threads=1)
    result = verify(runtime)
    assert result.passed
    assert result.max_prob_diff < 1e-5
    assert result.tolerance > TOLERANCE
    as_the_graph = verify(BertRuntime(bundle, engine=engine, threads=1))
    assert as_the_graph.max_prob_diff > 10 * result.max_prob_diff


SIGNED_DAMAGE: dict[str, Callable[[Arrays], None]] = {
    "no array": lambda a: a.pop("bundle.cls_state"),
    "no noise": lambda a: a.pop("noise.prob"),
    "more masked positions than there are": lambda a: a["input.masked_counts"].__setitem__(0, 10**6),
    "no inputs": lambda a: a.pop("input.token_type_ids"),
    "other type": lambda a: a.update({"input.input_ids": a["input.input_ids"].astype(np.float64)}),
    "text": lambda a: a.update({"bundle.top_ids": np.array("x")}),
    "other shape": lambda a: a.update({"bundle.nsp_probs": a["bundle.nsp_probs"][:, :1]}),
    "fewer examples": lambda a: a.update({"float.cls_state": a["float.cls_state"][:1]}),
    "no examples": lambda a: a.update({name: array[:0] for name, array in a.items() if array.ndim}),
    "thousands of examples": lambda a: a.update(
        {name: np.repeat(array, 200, axis=0) for name, array in a.items() if array.ndim}
    ),
    "longer than the model": lambda a: a.update(
        {name: np.tile(a[name], (1, 9)) for name in ("input.input_ids", "input.attention_mask", "input.token_type_ids")}
    ),
    "an id that the model has not": lambda a: a["input.input_ids"].__setitem__((0, 0), 10**6),
    "a best word that the model has not": lambda a: a["bundle.top_ids"].__setitem__((0, 0, 0), 10**6),
    "a negative id": lambda a: a["bundle.best_ids"].__setitem__((0, 0), -1),
    "a hole in the mask": lambda a: a["input.attention_mask"].__setitem__((0, 0), 0),
    "an empty text": lambda a: a["input.attention_mask"].__setitem__(0, 0),
    "a position behind the text": lambda a: a["input.masked_positions"].__setitem__((0, 0), 10**6),
    "noise that forgives everything": lambda a: a.update({"noise.prob": np.array(np.inf)}),
    "float's vector that is no number": lambda a: a["float.cls_state"].__setitem__((0, 0), np.nan),
    "float's probability that has no end": lambda a: a["float.top_probs"].__setitem__((0, 0, 0), np.inf),
    "nothing for the other arithmetic": lambda a: a.pop("per_token.cls_state"),
    "no noise for it": lambda a: a.update({"token_noise.prob": np.array(np.inf)}),
    "noise that is no number": lambda a: a.update({"noise.state": np.array(np.nan)}),
}


@pytest.mark.parametrize("damage", SIGNED_DAMAGE.values(), ids=SIGNED_DAMAGE)
def test_golden_vectors_that_are_none_are_refused(
    replay_with: Callable[..., Verification], damage: Callable[[Arrays], None]
) -> None:
    with pytest.raises(BundleError, match=r"golden\.npz"):
        replay_with(damage)


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_archive(bundle_of: Callable[..., Bundle], tmp_path: Path, content: bytes) -> None:
    folder = Path(shutil.copytree(bundle_of("dynamic").folder, tmp_path / "bundle"))
    runtime = load(folder)
    (folder / GOLDEN).write_bytes(content)
    with pytest.raises(BundleError, match=r"golden\.npz"):
        verify(runtime)
