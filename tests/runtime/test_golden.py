"""What a replay of the golden vectors forgives, and what not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bertedge.bundle import GOLDEN, Bundle
from bertedge.runtime import load
from bertedge.runtime.golden import NOISE_FACTOR, TOLERANCE, Verification, verify

Arrays = dict[str, NDArray[Any]]


@pytest.fixture
def replay_with(bundle_of: Callable[..., Bundle], tmp_path: Path) -> Callable[[Callable[[Arrays], None]], Verification]:
    """Replay a bundle whose golden vectors were changed."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_of("static").folder, folder)

    def replay(change: Callable[[Arrays], None]) -> Verification:
        runtime = load(folder)
        with np.load(folder / GOLDEN) as stored:
            arrays = dict(stored)
        change(arrays)
        np.savez(folder / GOLDEN, **arrays)
        return verify(runtime)

    return replay


def test_noise_is_measured(bundle_of: Callable[..., Bundle]) -> None:
    with np.load(bundle_of("static").folder / GOLDEN) as stored:
        assert 0 < stored["noise.prob"] < 0.5
        assert 0 < stored["noise.state"] < 0.5


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


def test_a_bundle_of_before_has_no_noise(replay_with: Callable[..., Verification]) -> None:
    def change(arrays: Arrays) -> None:
        del arrays["noise.prob"], arrays["noise.state"]

    result = replay_with(change)
    assert result.tolerance == TOLERANCE
    assert result.passed


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
    assert ("near ties apart" in result.words) != lead_above_tolerance


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
