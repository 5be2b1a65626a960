"""A report in one sentence for each candidate."""

from __future__ import annotations

from bertedge.evaluate.intervals import outcome_of
from bertedge.heads import MAIN_FIRST
from bertedge.report.schema import CandidateReport, Report
from bertedge.report.views import at_workload, is_share, main_workload, reference_value


def summary(report: Report) -> list[str]:
    """A sentence for each candidate: its size, its speed and its loss, next to float's."""
    return [f"{model.name}: {in_words(report, model)}" for model in report.candidates]


def in_words(report: Report, model: CandidateReport) -> str:
    """Size, speed and loss of one candidate."""
    return f"{_size(report, model)}, {_speed(report, model)}, {_loss(report, model)}"


def _size(report: Report, model: CandidateReport) -> str:
    ratio = report.reference.size_bytes / model.size_bytes
    if 0.95 < ratio < 1.05:
        return "as large as float"
    return f"{ratio:.1f} x smaller" if ratio > 1 else f"{1 / ratio:.1f} x larger"


def _speed(report: Report, model: CandidateReport) -> str:
    workload = main_workload(report)
    entry = at_workload(model, workload) if workload else None
    if entry is None:
        return "speed not measured"
    texts = "" if entry.batch_size == 1 else f"{entry.batch_size} texts of "
    at, ratio = f"at {texts}{entry.seq_len} tokens", entry.ratio_to_reference
    if outcome_of(ratio, 1) == outcome_of(-ratio, -1) == "inconclusive":
        return f"not clearly faster or slower {at}"
    return f"{1 / ratio.value:.1f} x faster {at}" if ratio.value < 1 else f"{ratio.value:.1f} x slower {at}"


def _loss(report: Report, model: CandidateReport) -> str:
    """What the model's main head loses: the first one that has a measured loss."""
    for head in MAIN_FIRST:
        told = [
            words(model.fidelity[metric].value) for metric, words in head.losses.items() if metric in model.fidelity
        ]
        told += [_kept(report, model, metric, words) for metric, words in head.kept.items() if metric in model.fidelity]
        if told:
            return ", ".join(told)
    return "fidelity not measured"


def in_percent(share: float) -> str:
    """``92.9 %``."""
    return f"{100 * share:.1f} %"


def _kept(report: Report, model: CandidateReport, metric: str, words: str) -> str:
    """``accuracy 92.9 % (float 92.2 %)``."""
    show = in_percent if is_share(metric) else "{:.3f}".format
    known = reference_value(report, metric)
    return f"{words} {show(model.fidelity[metric].value)}" + ("" if known is None else f" (float {show(known)})")
