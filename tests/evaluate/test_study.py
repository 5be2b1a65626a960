"""The rule of the gate on times with noise of known kinds, and how long a study goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus
from bertedge.errors import UsageError
from bertedge.evaluate import latency
from bertedge.evaluate.intervals import outcome_of
from bertedge.evaluate.latency import Timing, Workload, paired_ratio
from bertedge.evaluate.study import Effort, LatencyStudy, Reports
from bertedge.predictor import Batch, Outputs
from tests.templates import template

BUDGET = 1.05
CORPUS = TokenizedCorpus(
    template=template(),
    token_ids=np.full(50, 5, dtype=np.int32),
    sentence_starts=np.array([0, 50]),
    document_starts=np.array([0, 1]),
)
LAYOUT = Layout(template=template(0, 0), mask_id=0, pad_id=0, vocab_size=6)
GRID = (Workload(batch_size=1, seq_len=8),)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What disturbs a round.

    Attributes:
        loading: sd of the logarithm of what one loading of a model makes of its speed.
        drift: sd of the logarithm of the whole machine's speed, which changes slowly.
        jitter: scale of what each round has for itself, Student's t with 2 degrees of freedom (no finite variance).
        hit: probability that a round is slowed down by another process, to 1 + an exponential of mean 1.
    """

    loading: float = 0.02
    drift: float = 0.3
    jitter: float = 0.02
    hit: float = 0.0


QUIET = Noise(loading=0.005, drift=0.02, jitter=0.005)
NOISES = {
    "quiet": QUIET,
    "drifting": Noise(drift=1.0),
    "heavy tails": Noise(jitter=0.05),
    "half of the rounds hit": Noise(hit=0.5),
    "loadings differ": Noise(loading=0.05),
}


class Simulated(LatencyStudy):
    """A study whose times are drawn: of a model that takes 1 ms, and of one that takes ``ratio``."""

    def __init__(self, ratio: float, noise: Noise, seed: int, effort: Effort) -> None:
        super().__init__([lambda: None] * 2, GRID, CORPUS, LAYOUT, threads=1, effort=effort)  # type: ignore[list-item]
        self.ratio, self.noise, self.random, self.drift = ratio, noise, np.random.default_rng(seed), 0.0

    def _sit(self, number: int, look: int, listen: Callable[[float, str], None]) -> None:
        rounds, noise, rng = self._effort.rounds_per_sitting, self.noise, self.random
        loading = rng.normal(scale=noise.loading, size=2)
        times = np.empty((2, rounds))
        for index in range(rounds):
            self.drift = 0.9 * self.drift + rng.normal(scale=noise.drift * np.sqrt(1 - 0.9**2))
            hit = (rng.random(2) < noise.hit) * rng.exponential(size=2)
            own = np.clip(noise.jitter * rng.standard_t(2, size=2), -1, 5)
            times[:, index] = np.exp(loading + self.drift + own) * (1 + hit)
        times[1] *= self.ratio
        self._parts[0].append([Timing(blocks=own, calls=own) for own in times])


def outcomes(ratio: float, noise: Noise, trials: int) -> dict[str, int]:
    counts = {"pass": 0, "fail": 0, "inconclusive": 0}
    for seed in range(trials):
        study = Simulated(ratio, noise, seed, Effort(seconds=60))
        study.run(lambda reports: outcome_of(reports[1][0].ratio_to_reference, BUDGET) != "inconclusive", print_nothing)
        counts[outcome_of(study.reports()[1][0].ratio_to_reference, BUDGET)] += 1
    return counts


def print_nothing(share: float, text: str) -> None:
    del share, text


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_what_did_not_change_does_not_fail(noise: Noise) -> None:
    assert outcomes(1.0, noise, 40)["fail"] <= 1


@pytest.mark.parametrize(
    "noise", [QUIET, NOISES["drifting"], NOISES["heavy tails"]], ids=["quiet", "drifting", "heavy tails"]
)
def test_ten_per_cent_more_is_seen_nine_times_in_ten(noise: Noise) -> None:
    assert outcomes(1.10, noise, 40)["fail"] >= 36


@pytest.mark.parametrize("noise", [NOISES["half of the rounds hit"], NOISES["loadings differ"]])
def test_what_cannot_be_told_is_not_said(noise: Noise) -> None:
    """Noise too large for the cap on rounds: slower models are not passed for it."""
    assert outcomes(1.10, noise, 20)["pass"] <= 1


def test_at_the_very_edge_of_the_budget_looking_again_costs_little() -> None:
    """The worst case of all that is allowed; every look at the data is a chance to be wrong."""
    assert outcomes(BUDGET, NOISES["drifting"], 50)["fail"] <= 5


def held(sittings: int, rounds_per_sitting: int, assumed: int, trials: int = 150) -> int:
    """How many intervals hold the truth, where loadings differ by 3 % and the rounds of one by less."""
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(trials):
        loading = np.repeat(rng.normal(scale=0.03, size=sittings), rounds_per_sitting)
        times = np.exp(loading + rng.normal(scale=0.01, size=len(loading)))
        ratio = paired_ratio(times, np.ones_like(times), rounds_per_sitting=assumed)
        count += ratio.low <= 1 <= ratio.high
    return count


@pytest.mark.parametrize("rounds_per_sitting", [1, 3])
@pytest.mark.parametrize("sittings", [2, 4, 8, 30])
def test_intervals_hold_the_truth(sittings: int, rounds_per_sitting: int) -> None:
    assert held(sittings, rounds_per_sitting, assumed=rounds_per_sitting) >= 132  # 95 % are 142


def test_rounds_of_one_loading_are_not_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rule above is for: intervals that take every round for itself are too narrow."""
    monkeypatch.setattr(latency, "CLUSTERS", 1000)
    assert held(8, 3, assumed=1) < 125 < held(8, 3, assumed=3)


def study_of(effort: Effort, loaded: list[int]) -> LatencyStudy:
    class Instant:
        name = "instant"

        def predict(self, batch: Batch) -> Outputs:
            return Outputs()

    def open_one(number: int) -> Callable[[], Instant]:
        def opened() -> Instant:
            loaded.append(number)
            return Instant()

        return opened

    return LatencyStudy([open_one(0), open_one(1)], GRID, CORPUS, LAYOUT, threads=1, effort=effort)


def test_every_sitting_loads_every_model_again() -> None:
    loaded: list[int] = []
    study = study_of(Effort(rounds=3, max_rounds=3), loaded)
    study.run(lambda reports: True, print_nothing)
    assert sorted(loaded) == [0, 0, 0, 1, 1, 1]
    assert study.reports()[0][0].rounds_per_sitting == 1


def test_it_looks_again_until_it_is_settled_or_used_up() -> None:
    looks: list[int] = []

    def settled(at: int) -> Callable[[Reports], bool]:
        def look(reports: Reports) -> bool:
            looks.append(len(reports[0][0].samples_ms))
            return looks[-1] >= at

        return look

    study_of(Effort(rounds=2, max_rounds=9), []).run(settled(4), print_nothing)
    assert looks == [2, 3, 5]
    looks.clear()
    study = study_of(Effort(rounds=2, max_rounds=5), [])
    study.run(settled(99), print_nothing)
    assert len(study.reports()[0][0].samples_ms) == 5
    looks.clear()
    study_of(Effort(rounds=2, max_rounds=9, seconds=0), []).run(settled(99), print_nothing)
    assert looks == [2]


def test_one_sitting_says_nothing() -> None:
    study = study_of(Effort(rounds=2, max_rounds=2), [])
    assert study.missing() == list(GRID)
    study._sit(0, 1, print_nothing)
    assert study.reports() == [(), ()]
    study._sit(1, 1, print_nothing)
    assert study.missing() == []


@pytest.mark.parametrize("wrong", [{"rounds": 1}, {"max_rounds": 2}, {"seconds": -1.0}, {"seconds": float("nan")}])
def test_an_effort_checks_itself(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="effort"):
        Effort(**wrong)  # type: ignore[arg-type]
