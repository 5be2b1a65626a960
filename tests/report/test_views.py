"""What the pictures are made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bertedge.metric import MetricValue
from bertedge.report import views
from bertedge.report.schema import Report


def with_values(report: Report, *values: tuple[float, float]) -> Report:
    """Candidates with a latency and an agreement each, in the longest workload."""
    candidates = []
    for ms, value in values:
        model = report.candidates[0]
        metric = MetricValue(value=value, low=value, high=value, n=9)
        latency = tuple(replace(entry, p50_ms=ms) for entry in model.latency)
        candidates.append(replace(model, fidelity={"mlm.top1_agreement": metric}, latency=latency))
    latency = tuple(replace(entry, p50_ms=10.0) for entry in report.reference.latency)
    return replace(report, reference=replace(report.reference, latency=latency), candidates=tuple(candidates))


def test_the_best_are_those_that_none_beats_in_both(measured: Report) -> None:
    report = with_values(measured, (5.0, 0.98), (6.0, 0.97), (4.0, 0.9), (5.0, 0.98), (11.0, 0.99))
    points = views.trade_off(report, "mlm.top1_agreement")
    assert [(p.series, p.best) for p in points] == [(0, True), (1, True), (2, False), (3, True), (4, True), (5, False)]
    assert views.trade_off(report, "nsp.accuracy") == []


def test_float_has_what_its_candidates_have_and_dropped(measured: Report) -> None:
    fidelity = measured.candidates[0].fidelity
    known = views.reference_value(measured, "mlm.top1_accuracy")
    assert known == fidelity["mlm.top1_accuracy"].value + fidelity["mlm.top1_accuracy_drop"].value
    assert views.reference_value(measured, "mlm.top1_agreement") is None


def test_the_main_workload_is_the_longest_text_alone(measured: Report) -> None:
    workload = views.main_workload(measured)
    assert workload is not None
    assert (workload.batch_size, workload.seq_len) == (1, 48)
    profile = measured.candidates[0].profile
    assert profile is not None
    assert (profile.batch_size, profile.seq_len) == (1, 48)


def total_of(table: views.Table, series: int) -> float:
    return sum(row[series].value for row in table.values() if series in row)


def test_sums_lose_nothing(measured: Report) -> None:
    for table in (
        views.time_by(measured, lambda part, op_type: op_type),
        views.time_by(measured, lambda part, op_type: views.part_name(part), most=2),
    ):
        for series, model in enumerate(views.models_of(measured)):
            assert model.profile is not None
            assert total_of(table, series) == pytest.approx(sum(operator.ms for operator in model.profile.operators))
    table = views.bytes_by_part(measured)
    for series, model in enumerate(views.models_of(measured)):
        total = sum(model.manifest.bytes_by_part.values()) / 1e6
        assert total_of(table, series) == pytest.approx(total)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("encoder.layer.11.attention.qkv", "query, key, value, attention"),
        ("encoder.layer.0.output", "feed-forward, narrowing"),
        ("encoder.layer.0", "encoder blocks"),
        ("mlm.decoder", "MLM decoder"),
        ("something", "other"),
    ],
)
def test_parts_have_names(part: str, words: str) -> None:
    assert views.part_name(part) == words


def test_lines_by_length_hold_the_main_sample(measured: Report) -> None:
    lines = views.over_length(measured, "mlm.kl_mean")
    assert list(lines) == [1, 2]
    lengths = [length for length, _ in lines[1]]
    assert lengths == sorted(lengths)
    main = lengths.index(measured.corpus.max_length)
    assert lines[1][main][1] == measured.candidates[0].fidelity["mlm.kl_mean"]
    assert lengths[-1] == 64  # what the model reads
