"""Verdicts: when something fails, when nothing can be said, and that the sentence says it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.benchmark import BenchSettings
from bertedge.checkpoint import BUILT_IN, open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.errors import FileError, UsageError
from bertedge.evaluate.bootstrap import Observations, Seen, estimate_all, estimate_changes
from bertedge.evaluate.fidelity import evaluation_batches
from bertedge.evaluate.intervals import difference, outcome_of, quotient
from bertedge.evaluate.latency import paired_ratio
from bertedge.metric import Change, MetricValue
from bertedge.report.budget import DEFAULTS, LATENCY, Budget, Budgets
from bertedge.report.comparable import FEW_TEXTS, require_judgeable
from bertedge.report.gate import interrupted, judge
from bertedge.report.schema import CandidateReport, Report
from bertedge.report.verdict import Verdict, counted, is_regression
from tests.report.samples import QUIET, manifest, model, report_of, times


def about(value: float, half: float) -> MetricValue:
    return MetricValue(value=value, low=value - half, high=value + half, n=100)


def verdict_of(new: Report, old: Report | None, budget: Budget) -> Verdict:
    (verdict,) = judge(new, old, {budget.metric: budget})
    return verdict


def agreeing(value: float, half: float = 0.001) -> CandidateReport:
    return model("small", fidelity={"mlm.top1_agreement": about(value, half)})


def timed(ratio: float, half: float = 0.005, name: str = "small") -> CandidateReport:
    return model(name, 1_000_000, {}, times(1.0, 1.1, ratio=about(ratio, half)))


AGREEMENT = Budget(metric="mlm.top1_agreement", max_drop=0.01)


@pytest.mark.parametrize(
    ("now", "half", "outcome"),
    [
        (0.98, 0.001, "pass"),
        (0.99, 0.001, "pass"),
        (0.95, 0.001, "fail"),
        (0.971, 0.001, "inconclusive"),
        (0.965, 0.02, "inconclusive"),
    ],
)
def test_only_a_whole_interval_decides(now: float, half: float, outcome: str) -> None:
    new = replace(report_of(agreeing(now, half)), corpus=replace(report_of().corpus, seed=1))
    assert verdict_of(new, report_of(agreeing(0.98, half)), AGREEMENT).outcome == outcome


def test_the_sentence_says_by_how_much_and_how_sure() -> None:
    verdict = verdict_of(report_of(agreeing(0.95)), report_of(agreeing(0.98)), AGREEMENT)
    assert verdict.sentence == (
        "0.95, the baseline 0.98: 0.03 worse (95 %: 0.02859 to 0.03141); allowed: 0.01 worse; "
        "the whole interval is beyond the budget (two separate samples)"
    )
    better = verdict_of(report_of(agreeing(0.99)), report_of(agreeing(0.98)), AGREEMENT)
    assert "0.01 better (95 %: 0.008586 to 0.01141); allowed: 0.01 worse; the whole" in better.sentence


def test_a_fall_of_exactly_the_budget_is_within_it() -> None:
    assert verdict_of(report_of(agreeing(0.98, 0)), report_of(agreeing(0.99, 0)), AGREEMENT).outcome == "pass"


def test_the_same_to_the_last_digit_is_no_change_however_wide_the_interval() -> None:
    wide = report_of(agreeing(0.98, 0.05))
    assert verdict_of(wide, wide, AGREEMENT).outcome == "pass"
    other_texts = replace(wide, corpus=replace(wide.corpus, seed=1))
    assert verdict_of(other_texts, wide, AGREEMENT).outcome == "inconclusive"


def test_fidelity_on_another_text_is_refused() -> None:
    old = report_of(agreeing(0.98))
    new = replace(report_of(agreeing(0.5)), corpus=replace(old.corpus, sha256="1", name="other.txt"))
    for report in (new, replace(new, against=agreeing(0.98))):  # a baseline always judges fidelity
        with pytest.raises(UsageError, match="measured on other.txt, the baseline's on another text: text") as caught:
            judge(report, old, {AGREEMENT.metric: AGREEMENT})
        assert "--corpus" in caught.value.hint
    assert verdict_of(new, old, SIZE).outcome == "pass"


def test_rounding_in_float_is_no_regression() -> None:
    def floating(kl: float) -> Report:
        return report_of(model("float", fidelity={"mlm.kl_mean": about(kl, 0)}))

    budget = Budget(metric="mlm.kl_mean", max_ratio=1.25)
    assert verdict_of(floating(9e-7), floating(1e-9), budget).outcome == "pass"
    assert verdict_of(floating(1e-3), floating(1e-9), budget).outcome == "fail"


SLOWER = Budget(metric=LATENCY, max_ratio=1.05, apart=1.05)  # the same between two runs as in one


@pytest.mark.parametrize(
    ("now", "half", "outcome"),
    [(0.5, 0.005, "pass"), (0.56, 0.005, "fail"), (0.525, 0.005, "inconclusive"), (0.56, 0.05, "inconclusive")],
)
def test_latency_of_two_runs_is_compared_by_the_ratios_to_float(now: float, half: float, outcome: str) -> None:
    verdict = verdict_of(report_of(timed(now, half)), report_of(timed(0.5)), SLOWER)
    assert (verdict.outcome, verdict.detail) == (outcome, "1 x 16")
    assert "of float's time" in verdict.sentence


def busy(report: Report, **shares: float) -> Report:
    return replace(report, stability=replace(QUIET, **shares))


def test_a_busier_machine_halves_the_low_end_of_a_time() -> None:
    """In another run on a loaded machine, an unchanged bundle took up to 1.8 times its share of float's time."""
    old = report_of(timed(0.5))
    slower = report_of(timed(0.9))
    verdict = verdict_of(busy(slower, others=0.5), old, SLOWER)
    assert verdict.outcome == "inconclusive"
    assert not verdict.undecided  # more rounds do not make the machine quiet
    assert "low end divided by 2, because other processes used 50 % of the CPU time now and 1 % in" in verdict.sentence
    assert verdict_of(busy(slower, others=0.01), old, SLOWER).outcome == "fail"
    assert "the host took 30 %" in verdict_of(busy(slower, stolen=0.3), old, SLOWER).sentence
    assert verdict_of(busy(report_of(timed(1.2)), others=0.9), old, SLOWER).outcome == "fail"
    assert verdict_of(busy(report_of(timed(0.5)), others=0.9), old, SLOWER).outcome == "pass"
    assert verdict_of(slower, busy(old, others=0.5), SLOWER).outcome == "fail"  # the baseline's machine was busy


def test_on_a_busier_machine_a_start_may_be_as_much_longer_as_floats() -> None:
    """Next to fourteen processes on two cores, the same bundle started 5.9 times as slowly, and float 4.6 times."""
    budget = DEFAULTS["cold_start_ms"]

    def started(model: CandidateReport, times_as_long: float) -> CandidateReport:
        samples = tuple(times_as_long * ms for ms in (95.0, 98.0, 100.0, 101.0, 103.0))
        return replace(model, cold_start_ms=samples[2], cold_start_samples_ms=samples)

    old = report_of(timed(0.5))
    for own, floats, outcome in ((5.9, 4.6, "inconclusive"), (5.9, 1.0, "fail"), (20.0, 4.6, "fail")):
        new = replace(old, reference=started(old.reference, floats), candidates=(started(old.candidates[0], own),))
        assert verdict_of(busy(new, others=0.9), old, budget).outcome == outcome
    slow = replace(old, reference=started(old.reference, 4.6), candidates=(started(old.candidates[0], 4.6),))
    assert verdict_of(slow, old, budget).outcome == "fail"  # on a quiet machine: the runtime itself became slower


def test_a_busier_machine_excuses_no_memory() -> None:
    old = report_of(timed(0.5))
    heavier = busy(report_of(replace(old.candidates[0], peak_rss_bytes=2 * 10**8)), others=0.9)
    assert verdict_of(heavier, old, Budget(metric="peak_rss_bytes", max_ratio=1.1)).outcome == "fail"


def on_machine(report: Report, **changes: object) -> Report:
    return replace(report, machine=replace(report.machine, **changes))  # type: ignore[arg-type]


def test_of_two_runs_more_is_allowed_than_in_one_run() -> None:
    """From one day to the next, an unchanged bundle took 1.17 times its share of float's time on the same machine."""
    default = DEFAULTS[LATENCY]
    assert (default.limit(apart=False), default.limit(apart=True)) == (1.05, 1.25)
    old = report_of(timed(0.5))
    for new in (report_of(timed(0.585)), on_machine(report_of(timed(0.585)), cpu="Another CPU")):
        verdict = verdict_of(new, old, default)
        assert verdict.outcome == "pass"
        assert "allowed: 1.25 times" in verdict.sentence
        assert verdict_of(new, old, SLOWER).outcome == "fail"
    assert verdict_of(report_of(timed(0.7)), old, default).outcome == "fail"
    assert verdict_of(on_machine(new, target="avx2"), old, default).sentence.startswith("another kind of CPU: avx2")
    slower = same_rounds([1.1 * ms for ms in (1.0, 1.01, 1.02, 1.0)], [1.0, 1.01, 1.02, 1.0])
    assert verdict_of(slower, None, default).outcome == "fail"


@pytest.mark.parametrize("metric", ["cold_start_ms", "peak_rss_bytes", "latency.p50_ms"])
@pytest.mark.parametrize("change", [{"cpu": "x"}, {"generation": "1.2"}, {"cpus": 99}, {"onnxruntime": "0"}])
def test_times_and_memory_are_judged_on_the_same_machine_only(metric: str, change: dict[str, object]) -> None:
    new, budget = report_of(timed(0.5)), Budget(metric=metric, max_ratio=1.5)
    assert verdict_of(new, new, budget).outcome in ("pass", "inconclusive")
    verdict = verdict_of(on_machine(new, **change), new, budget)
    assert verdict.outcome == "skipped"
    assert verdict.sentence.startswith("another machine: ")
    assert next(iter(change)) in verdict.sentence


def test_the_sentence_names_the_engines_if_they_differ() -> None:
    old = report_of(timed(0.5))
    (small,) = old.candidates
    other = replace(old, candidates=(replace(small, engine="native"),))
    for budget, named in ((SLOWER, True), (SIZE, False)):
        assert verdict_of(other, old, budget).sentence.endswith(
            "engine native, the baseline onnxruntime)" if named else "within the budget"
        )
        assert "engine" not in verdict_of(old, old, budget).sentence
    floated = replace(old, reference=replace(old.reference, engine="native"))
    assert "; float: engine native, the baseline onnxruntime)" in verdict_of(floated, old, SLOWER).sentence


def test_other_threads_are_refused() -> None:
    old = report_of(timed(0.5))
    (entry,) = old.reference.latency
    new = replace(old, reference=replace(old.reference, latency=(replace(entry, threads=1),)))
    with pytest.raises(UsageError, match="threads: 1, but the baseline has 2") as caught:
        judge(new, old, {LATENCY: SLOWER})
    assert "--threads 2" in caught.value.hint
    assert verdict_of(new, old, SIZE).outcome == "pass"
    unmeasured = replace(old, reference=replace(old.reference, latency=()))
    with pytest.raises(UsageError, match="threads: 4, but the baseline has 2"):
        require_judgeable(unmeasured, old, {LATENCY}, threads=4)
    judge(replace(new, against=timed(0.5)), old, {LATENCY: SLOWER})  # which judges times


def same_rounds(new: list[float], old: list[float]) -> Report:
    """A candidate and an earlier bundle in the same rounds; their ratios to float are not used."""
    return replace(
        report_of(model("new", 1, {}, times(*new))), against=replace(model("old", 1, {}, times(*old)), fidelity={})
    )


def test_rounds_of_one_run_are_compared_in_pairs() -> None:
    """The machine's speed doubles in the middle; within each round the two differ by ten per cent."""
    old = [1.0, 1.01, 1.02, 1.0, 2.0, 2.01, 2.02, 2.0]
    slower = same_rounds([1.1 * ms for ms in old], old)
    verdict = verdict_of(slower, None, SLOWER)
    assert verdict.outcome == "fail"
    assert "1.661 ms, old 1.51 ms: 1.1 times as much" in verdict.sentence  # medians of the rounds
    assert "pairs of 8 rounds of one run" in verdict.sentence
    assert verdict_of(busy(slower, others=0.9), None, SLOWER).outcome == "fail"  # both were there
    assert verdict_of(same_rounds(old, old), None, SLOWER).outcome == "pass"
    noisy = [ms * factor for ms, factor in zip(old, [1.3, 0.8, 1.2, 0.9, 1.4, 0.7, 1.1, 1.0], strict=True)]
    assert verdict_of(same_rounds(noisy, old), None, SLOWER).outcome == "inconclusive"


def test_times_by_the_bundle_beside_and_the_rest_by_the_baseline() -> None:
    old = report_of(replace(timed(0.1), fidelity={"mlm.top1_agreement": about(0.98, 0.001)}, size_bytes=1000))
    new = same_rounds([1.0] * 8, [1.0] * 8)
    (row,) = new.candidates
    new = replace(new, candidates=(replace(row, fidelity={"mlm.top1_agreement": about(0.9, 0.001)}),))
    budgets: Budgets = {LATENCY: SLOWER, AGREEMENT.metric: AGREEMENT}
    outcomes = {verdict.metric: verdict.outcome for verdict in judge(new, old, budgets)}
    assert outcomes == {LATENCY: "pass", AGREEMENT.metric: "fail"}


def test_rounds_that_cannot_be_paired() -> None:
    with pytest.raises(FileError, match="different numbers of rounds"):
        verdict_of(same_rounds([1.0, 1.0], [1.0, 1.0, 1.0]), None, SLOWER)


def test_size_is_exact_and_judged_everywhere() -> None:
    old, budget = report_of(model("small", 1000)), Budget(metric="size_bytes", max_ratio=1.02)
    assert verdict_of(on_machine(report_of(model("small", 1020)), cpu="x"), old, budget).outcome == "pass"
    verdict = verdict_of(report_of(model("small", 1021)), old, budget)
    assert verdict.outcome == "fail"
    assert "1.021 times as much; allowed: 1.02 times; beyond the budget" in verdict.sentence


def test_a_baseline_of_another_model() -> None:
    old, new = report_of(timed(0.5)), report_of(timed(0.5))
    other = replace(new, reference=replace(new.reference, manifest=manifest("e" * 64)))
    with pytest.raises(UsageError, match="of another model: its reference big has the weights ffffffffffff") as caught:
        judge(other, old, DEFAULTS)
    assert "--update-baseline" in caught.value.hint
    retrained = replace(new.candidates[0], manifest=manifest("e" * 64))  # a new student of the same teacher
    assert judge(replace(new, candidates=(retrained,)), old, DEFAULTS)


def test_an_interrupted_run_is_no_baseline_but_can_be_judged() -> None:
    old = report_of(timed(0.5))
    cut = replace(
        report_of(replace(timed(0.5), latency=(), cold_start_ms=None)), complete=False, missing=("latency 1 x 16",)
    )
    with pytest.raises(UsageError, match="the baseline's run was interrupted: latency 1 x 16 missing"):
        judge(old, cut, DEFAULTS)
    verdict = verdict_of(cut, old, SLOWER)
    assert (verdict.outcome, verdict.sentence) == ("skipped", "not measured this time, but the baseline has it")
    lost = replace(cut, candidates=(replace(cut.candidates[0], fidelity={}),))
    assert verdict_of(lost, report_of(agreeing(0.98)), AGREEMENT).outcome == "skipped"  # not yet measured


def test_candidates_are_found_by_their_names() -> None:
    old = report_of(timed(0.5, name="a"), timed(0.9, name="b"))
    by_name = {v.candidate: v.outcome for v in judge(report_of(timed(0.9, name="b")), old, {LATENCY: SLOWER})}
    assert by_name == {"b": "pass", "a": "skipped"}
    with pytest.raises(UsageError, match="c is not in the baseline, which has a, b"):
        judge(report_of(timed(0.9, name="c")), old, {LATENCY: SLOWER})
    renamed = verdict_of(report_of(timed(0.5, name="new")), report_of(timed(0.5, name="old")), SLOWER)
    assert renamed.outcome == "pass"


def test_workloads_that_only_one_report_has() -> None:
    old = report_of(model("small", 1, {}, times(1.0, 1.0), times(1.0, 1.0, seq_len=64)))
    new = report_of(model("small", 1, {}, times(1.0, 1.0), times(1.0, 1.0, seq_len=128)))
    sentences = {verdict.detail: verdict.sentence for verdict in judge(new, old, {LATENCY: SLOWER})}
    assert sentences["1 x 64"] == "not measured this time, but the baseline has it"
    assert sentences["1 x 128"] == "the baseline does not have it"


def test_numbers_that_are_none_decide_nothing() -> None:
    nothing = MetricValue(value=math.nan, low=math.nan, high=math.nan, n=0)
    old = report_of(model("small", fidelity={"mlm.top1_agreement": nothing}))
    for new in (old, report_of(agreeing(0.98))):
        assert verdict_of(new, old, AGREEMENT).outcome == "inconclusive"


def test_counting_and_exit() -> None:
    budgets: Budgets = {LATENCY: SLOWER, "size_bytes": Budget(metric="size_bytes", max_ratio=1.0)}
    old = report_of(timed(0.5))
    good, unsure = judge(old, old, budgets), judge(report_of(timed(0.525)), old, budgets)
    assert counted(good) == "2 pass"
    assert counted(unsure) == "1 pass, 1 inconclusive"
    assert not is_regression(good, strict=True)
    assert not is_regression(unsure, strict=False)
    assert is_regression(unsure, strict=True)
    assert counted([]) == "nothing was judged"
    with pytest.raises(UsageError, match="nothing to judge by"):
        judge(old, None, budgets)


numbers = st.floats(min_value=1e-3, max_value=1e3)
values = st.builds(
    lambda value, low, high: MetricValue(value=value, low=value / (1 + low), high=value * (1 + high), n=2),
    numbers,
    numbers,
    numbers,
)


@given(values, values)
def test_a_difference_is_as_wide_as_its_parts_allow(new: MetricValue, old: MetricValue) -> None:
    for change, parts in (
        (difference(new, old), (new.low - old.high, new.high - old.low)),
        (quotient(new, old), (new.low / old.high, new.high / old.low)),
    ):
        assert change.low <= change.value <= change.high
        slack = 1e-6 * (1 + abs(parts[0]) + abs(parts[1]))
        assert parts[0] - slack <= change.low
        assert change.high <= parts[1] + slack


def test_quotients_of_nothing() -> None:
    nothing, something = about(0.0, 0.0), about(1.0, 0.1)
    assert quotient(nothing, nothing).value == 1
    assert quotient(something, nothing).low == math.inf
    assert quotient(nothing, something).high == 0
    assert quotient(something, MetricValue(value=1.0, low=0.0, high=2.0, n=3)).high == math.inf


SIZE = Budget(metric="size_bytes", max_ratio=1.0)


def test_what_judges_nothing_has_not_passed() -> None:
    old = report_of(timed(0.5))
    new = on_machine(report_of(timed(0.5)), target="avx2")
    nothing = judge(new, old, {LATENCY: SLOWER})
    assert {verdict.outcome for verdict in nothing} == {"skipped"}
    assert is_regression(nothing, strict=False)
    some = judge(new, old, {LATENCY: SLOWER, "size_bytes": Budget(metric="size_bytes", max_ratio=1.0)})
    assert counted(some) == "1 pass, 1 skipped"
    assert not is_regression(some, strict=False)
    assert is_regression(some, strict=True)
    assert not is_regression((), strict=True)  # every budget was switched off


def test_a_head_that_was_lost_is_a_failure() -> None:
    new = report_of(model("small", fidelity={"mlm.kl_mean": about(0.001, 0)}))
    verdict = verdict_of(new, report_of(agreeing(0.98)), AGREEMENT)
    assert verdict.outcome == "fail"
    assert "a lost head?" in verdict.sentence


def test_fidelity_beside_another_bundle_is_judged_by_pairs_of_answers() -> None:
    """Each alone is uncertain by far more than the budget; that they differ by so little is not."""
    change = Change(difference=about(-0.002, 0.001), ratio=about(0.998, 0.001))
    new = replace(agreeing(0.968, 0.02), changes={AGREEMENT.metric: change})
    report = replace(report_of(new), against=agreeing(0.970, 0.02))
    verdict = verdict_of(report, None, AGREEMENT)
    assert verdict.outcome == "pass"
    assert verdict.change is not None
    assert (verdict.change.low, verdict.change.high) == pytest.approx((0.001, 0.003))
    assert "0.002 worse" in verdict.sentence
    assert "pairs of answers to the same texts" in verdict.sentence
    worse = replace(new, changes={AGREEMENT.metric: replace(change, difference=about(-0.03, 0.001))})
    assert verdict_of(replace(report, candidates=(worse,)), None, AGREEMENT).outcome == "fail"
    assert (
        verdict_of(replace(report, candidates=(replace(new, changes={}),)), None, AGREEMENT).outcome == "inconclusive"
    )


def test_a_budget_for_what_nobody_measured_is_no_pass() -> None:
    plain = report_of(model("small"))
    (verdict,) = judge(plain, plain, {AGREEMENT.metric: AGREEMENT})
    assert (verdict.outcome, verdict.metric) == ("skipped", "budgets")
    assert is_regression([verdict], strict=False)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_any_more_fails(bad: float) -> None:
    broken = MetricValue(value=bad, low=bad, high=bad, n=9)
    new = report_of(model("small", fidelity={"mlm.top1_agreement": broken}))
    assert verdict_of(new, report_of(agreeing(0.98)), AGREEMENT).outcome == "fail"


def test_fidelity_on_few_texts_is_refused() -> None:
    old = report_of(agreeing(0.98))
    few = replace(old, corpus=replace(old.corpus, examples=FEW_TEXTS - 1))
    for report, baseline in ((few, old), (old, few), (few, few)):
        with pytest.raises(UsageError, match="15 texts are too few to judge fidelity: 16 are needed"):
            judge(report, baseline, {AGREEMENT.metric: AGREEMENT})
    assert verdict_of(few, old, SIZE).outcome == "pass"


def test_one_metric_that_is_the_same_by_chance_says_nothing_of_the_answers() -> None:
    wide = about(0.98, 0.05)
    new, old = (
        report_of(model("small", fidelity={"mlm.top1_agreement": wide, "mlm.kl_mean": about(kl, 0.0)}))
        for kl in (0.0020, 0.0021)
    )
    assert verdict_of(new, old, AGREEMENT).outcome == "inconclusive"


def test_an_interrupted_run_cannot_pass() -> None:
    cut = replace(report_of(timed(0.5)), complete=False, missing=("cold start",))
    (verdict,) = interrupted(cut)
    assert is_regression([verdict], strict=False)
    assert "before it measured cold start" in verdict.sentence
    assert interrupted(report_of(timed(0.5))) == ()


MLM_QUANTITIES = ("top1_equal", "top5_overlap", "kl", "reference_hit", "hit", "reference_nll", "nll")
NSP_QUANTITIES = ("flip", "prob_diff", "reference_hit", "hit")


def drawn(rng: np.random.Generator, texts: int, equal: float, flipped: float) -> Observations:
    """Answers to some texts with five masked words and a pair each, with the given true shares."""
    return Observations(
        groups={
            "mlm": Seen(
                values={name: (rng.random(5 * texts) < equal).astype(float) for name in MLM_QUANTITIES},
                text=np.repeat(np.arange(texts), 5),
            ),
            "nsp": Seen(
                values={name: (rng.random(texts) < flipped).astype(float) for name in NSP_QUANTITIES},
                text=np.arange(texts),
            ),
        },
        texts=texts,
    )


def shares_of_passes(texts: int, *, trials: int = 80) -> dict[str, float]:
    """How often a change of four times the budget of 0.01 is taken to be within it, in trials with a number of texts.

    Beside another bundle, and of flips also by a baseline's intervals, which is the other way that they are judged.
    """
    rng, passes = np.random.default_rng(0), Counter[str]()
    for _ in range(trials):
        new, old = drawn(rng, texts, 0.95, 0.04), drawn(rng, texts, 0.99, 0.0)
        changes = estimate_changes(new, old, resamples=100)
        apart = [estimate_all(seen, names=("nsp.flip_rate",), resamples=100)["nsp.flip_rate"] for seen in (new, old)]
        for name, change in (
            ("agreement", -changes[AGREEMENT.metric].difference),
            ("flips", changes["nsp.flip_rate"].difference),
            ("flips apart", difference(*apart)),
        ):
            passes[name] += outcome_of(change, 0.01) == "pass"
    return {name: passes[name] / trials for name in ("agreement", "flips", "flips apart")}


def test_the_fewest_texts_that_decide_seldom_decide_wrongly() -> None:
    for texts in (FEW_TEXTS, 2 * FEW_TEXTS, 64, 256):
        assert max(shares_of_passes(texts).values()) <= 0.05, texts


def test_no_flip_at_all_is_within_the_default_budget_of_the_text_that_ships() -> None:
    """Which has fewer pairs than bench asks for."""
    checkpoint = open_checkpoint(BUILT_IN[0])
    corpus = tokenize_corpus(default_text(), checkpoint.tokenizer)
    layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
    settings = BenchSettings()
    batches = evaluation_batches(corpus, layout, examples=settings.examples, max_length=settings.max_length, seed=0)
    seen = drawn(np.random.default_rng(0), sum(len(batch.input_ids) for batch in batches), 0.99, 0.0)
    budget = DEFAULTS["nsp.flip_rate"].max_drop
    assert outcome_of(estimate_changes(seen, seen)["nsp.flip_rate"].difference, budget) == "pass"


def of_weights(model: CandidateReport, digit: str) -> CandidateReport:
    return replace(model, manifest=manifest(digit * 64))


def test_a_bundle_of_another_model_beside_says_nothing_of_fidelity() -> None:
    """Such a bundle is far from this reference, so every candidate would be better than it."""
    other = of_weights(agreeing(0.05), "e")
    report = replace(report_of(agreeing(0.9)), against=other)
    with pytest.raises(UsageError, match="old is of another float model: its weights are eeeeeeeeeeee") as caught:
        judge(replace(report, against=replace(other, name="old")), None, DEFAULTS)
    assert "--baseline" in caught.value.hint
    # fidelity by the baseline, times and memory by the bundle of the same run
    by_both = {verdict.metric: verdict.outcome for verdict in judge(report, report_of(agreeing(0.98)), DEFAULTS)}
    assert by_both[AGREEMENT.metric] == "fail"
    assert by_both["size_bytes"] == "pass"
    (size,) = judge(report, None, {"size_bytes": SIZE})
    assert size.outcome == "pass"


def test_students_of_one_teacher_are_compared_by_how_far_each_is_from_it() -> None:
    old, new = of_weights(agreeing(0.98), "d"), of_weights(agreeing(0.9), "e")
    assert verdict_of(replace(report_of(new), against=old), None, AGREEMENT).outcome == "fail"
    teacher = agreeing(0.98)  # quantized, and of the reference's own weights
    assert verdict_of(replace(report_of(new), against=teacher), None, AGREEMENT).outcome == "fail"


def test_a_candidate_that_only_the_baseline_has_is_mentioned() -> None:
    old = report_of(timed(0.5, name="a"), timed(0.5, name="b"))
    verdicts = judge(report_of(timed(0.5, name="a")), old, {"size_bytes": SIZE})
    assert [(verdict.candidate, verdict.outcome) for verdict in verdicts] == [("a", "pass"), ("b", "skipped")]
    assert "was not measured" in verdicts[1].sentence
    assert not is_regression(verdicts, strict=False)
    assert is_regression(verdicts, strict=True)
    renamed = judge(report_of(timed(0.5, name="new")), report_of(timed(0.5, name="old")), {"size_bytes": SIZE})
    assert [verdict.outcome for verdict in renamed] == ["pass"]


def test_few_starts_are_no_interval() -> None:
    few = replace(timed(0.5), cold_start_ms=400.0, cold_start_samples_ms=(400.0,))
    verdict = verdict_of(report_of(few), report_of(timed(0.5)), DEFAULTS["cold_start_ms"])
    assert verdict.outcome == "skipped"


def test_fidelity_is_judged_by_the_baseline_where_there_is_one() -> None:
    change = Change(difference=about(-0.05, 0.001), ratio=about(0.95, 0.001))
    new = replace(agreeing(0.93), changes={AGREEMENT.metric: change})
    report = replace(report_of(new), against=agreeing(0.98))
    assert "pairs of answers" in verdict_of(report, None, AGREEMENT).sentence
    assert "pairs of answers" not in verdict_of(report, report_of(agreeing(0.98)), AGREEMENT).sentence


def test_the_same_answers_are_no_change_whatever_made_their_intervals() -> None:
    wide, narrow = (report_of(agreeing(0.98, half)) for half in (0.05, 0.04))
    assert verdict_of(wide, narrow, AGREEMENT).outcome == "pass"
    renamed = replace(narrow, corpus=replace(narrow.corpus, name="renamed.txt"))
    assert verdict_of(wide, renamed, AGREEMENT).outcome == "pass"


def test_only_what_more_rounds_might_decide_is_undecided() -> None:
    old = report_of(timed(0.5))
    assert verdict_of(report_of(timed(0.525)), old, SLOWER).undecided
    cut = replace(report_of(model("small", 1, {}, times(1.0, 1.0, seq_len=64))), complete=False, missing=("profile",))
    assert not any(verdict.undecided for verdict in judge(cut, old, {LATENCY: SLOWER}))
    noisy = same_rounds([1.3, 0.8, 1.2, 0.9], [1.0, 1.0, 1.0, 1.0])
    assert verdict_of(noisy, None, SLOWER).undecided


def generated_times(rng: np.random.Generator, factor: float, shift: float) -> tuple[np.ndarray, MetricValue]:
    """Times of a candidate in a run of eight sittings, and their ratio to float's; the machine's speed wanders.

    Args:
        factor: how much slower the candidate is.
        shift: logarithm of how much its ratio to float differs in this run.
    """
    sittings, rounds = 8, 24
    noise = [
        np.repeat(rng.normal(0, loading, sittings), rounds // sittings) + rng.normal(0, 0.01, rounds)
        for loading in (0.01, 0.02)
    ]
    speed = np.exp(np.cumsum(rng.normal(0, 0.05, rounds)))
    reference, candidate = (speed * np.exp(own) for own in noise)
    candidate = candidate * 0.5 * factor * np.exp(shift)
    return candidate, paired_ratio(candidate, reference, rounds_per_sitting=rounds // sittings)


def outcomes(factor: float, *, loaded: bool, runs: int = 40) -> Counter[str]:
    """Verdicts on generated runs, each judged by a run before."""
    rng, found = np.random.default_rng(1), Counter[str]()
    for _ in range(runs):
        shifts = rng.normal(0, 0.06), float(np.log(rng.uniform(1, 1.8))) if loaded else rng.normal(0, 0.06)
        reports = []
        for own_factor, shift in ((1.0, shifts[0]), (factor, shifts[1])):
            samples, ratio = generated_times(rng, own_factor, shift)
            reports.append(report_of(model("small", 1, {}, times(*samples, ratio=ratio))))
        new = busy(reports[1], others=0.6) if loaded else reports[1]
        found[verdict_of(new, reports[0], DEFAULTS[LATENCY]).outcome] += 1
    return found


def test_noise_raises_no_alarm_and_a_slower_model_is_found() -> None:
    assert outcomes(1.0, loaded=False)["fail"] <= 2
    assert outcomes(1.0, loaded=True)["fail"] <= 2
    assert outcomes(1.5, loaded=False)["fail"] >= 36
    assert outcomes(3.5, loaded=True)["fail"] >= 38
    assert outcomes(1.5, loaded=True)["pass"] == 0
