"""A report as tables for a terminal and as Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from bertedge.evaluate.clipping import LayerClipping
from bertedge.evaluate.latency import workload_name
from bertedge.evaluate.metrics import DESCRIPTIONS
from bertedge.metric import MetricValue
from bertedge.printable import one_line, printable
from bertedge.report.schema import CandidateReport, Report
from bertedge.report.summary import summary
from bertedge.report.terminal import NOT_MEASURED, Rows, terminal_table, without
from bertedge.report.verdict import Verdict, by_severity, counted
from bertedge.report.views import reference_value, unread_metrics

MEGABYTE = 1e6
CLIPPING = "Values outside the calibrated range: layers with the most"
#: Smaller shares would be printed as 0.
LEAST_SHARE = 1e-5
#: The most layers in the table of clipped values.
CLIPPED_LAYERS = 5
BETTER, MEANING, WORKLOAD = "better", "meaning", "batch x tokens"
SENTENCE = "change and budget"
FIDELITY, FLOAT = "Fidelity", "float32"
#: Characters with a meaning in Markdown: code, emphasis, links, HTML, cells of tables.
MARKUP = re.compile(r"[`*\[\]<|]|\\(?=[!-/:-@\[-`{-~])")
#: Larger numbers are written with an exponent.
MANY = 1e6
#: Columns that are left out in a narrow terminal.
EXTRAS = ("calls", "tokens/s", BETTER, MEANING)
#: Decimals of fidelity; smaller differences are rounding (``KL_FLOOR``, ``PROBABILITY_FLOOR``).
DECIMALS = 5
WIDTH = 80


def rich_report(report: Report, verdicts: Sequence[Verdict] = (), *, width: int = WIDTH) -> Group:
    """Tables for a terminal of the given width, and at the end a sentence for each candidate."""
    parts: list[RenderableType] = [_text(warning) for warning in _warnings(report)]
    by_model = {fidelity_title(kind): _long_fidelity_rows(report, kind) for kind in kinds_of(report)}
    for title, rows in sections(report):
        shapes = [rows, without(rows, MEANING), without(rows, *EXTRAS)]
        if title in by_model:
            shapes.append(by_model[title])
        parts += [terminal_table(title, shapes, width=width), Text()]
    if verdicts:
        parts += [rich_verdicts(verdicts, width=width), Text()]
    footer = textwrap.fill(_footer(report), width)
    # not wrapped in a terminal of usual width, so that programs can search for it
    sentences = [line if width >= WIDTH else textwrap.fill(line, width) for line in summary(report)]
    return Group(*parts, _text(footer), Text(), *(_text(line) for line in sentences))


def rich_verdicts(verdicts: Sequence[Verdict], *, width: int = WIDTH) -> RenderableType:
    """The verdicts as a table for a terminal, failures first."""
    return terminal_table(f"Verdicts: {counted(verdicts)}", [_verdict_rows(verdicts)], width=width)


def markdown_report(report: Report, verdicts: Sequence[Verdict] = ()) -> str:
    """The same tables as Markdown, the verdicts first."""
    parts = [f"**{_markdown(warning)}**\n" for warning in _warnings(report)]
    parts += [markdown_verdicts(verdicts)] if verdicts else []
    parts += [_markdown_table(title, rows) for title, rows in sections(report)]
    sentences = [f"- {_markdown(sentence)}" for sentence in summary(report)]
    return "\n".join([*parts, _markdown(_footer(report)), "", *sentences]) + "\n"


def markdown_verdicts(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as Markdown."""
    return _markdown_table(f"Verdicts: {counted(verdicts)}", _verdict_rows(verdicts))


def _markdown_table(title: str, rows: Rows) -> str:
    head, *body = ([_markdown(cell) for cell in row] for row in rows)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
    return f"### {title}\n\n" + "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    """A text in one line, escaped for Markdown, because names can have any characters."""
    return MARKUP.sub(r"\\\g<0>", one_line(" ".join(text.split())))


def _text(text: str) -> Text:
    return Text(printable(text))


def _warnings(report: Report) -> list[str]:
    if report.complete:
        return []
    return [f"Incomplete: the run was interrupted before it measured {', '.join(report.missing)}."]


def sections(report: Report) -> list[tuple[str, Rows]]:
    """(title, rows) of every table; the first row is the header."""
    return [
        ("Size and start", _size_rows(report)),
        ("Latency", _latency_rows(report)),
        *((fidelity_title(kind), _fidelity_rows(report, kind)) for kind in kinds_of(report)),
        *([(CLIPPING, rows)] if (rows := _clipping_rows(report)) else []),
    ]


def _models(report: Report) -> tuple[CandidateReport, ...]:
    return (report.reference, *((report.against,) if report.against else ()), *report.candidates)


def _verdict_rows(verdicts: Sequence[Verdict]) -> Rows:
    rows = [
        [verdict.outcome, verdict.candidate, verdict.subject, verdict.sentence] for verdict in by_severity(verdicts)
    ]
    return [["verdict", "model", "metric", SENTENCE], *rows]


def _size_rows(report: Report) -> Rows:
    rows = [["model", "file", "of float", "peak memory", "cold start", "int8 MACs", "int8 bytes"]]
    for model in _models(report):
        rows.append(  # noqa: PERF401
            [
                _label(report, model),
                f"{model.size_bytes / MEGABYTE:.1f} MB",
                f"{model.size_bytes / report.reference.size_bytes:.2f}",
                NOT_MEASURED if model.peak_rss_bytes is None else f"{model.peak_rss_bytes / MEGABYTE:.0f} MB",
                NOT_MEASURED if model.cold_start_ms is None else f"{model.cold_start_ms:.0f} ms",
                f"{100 * model.coverage.macs:.1f} %",
                f"{100 * model.coverage.bytes:.1f} %",
            ]
        )
    return rows


def _latency_rows(report: Report) -> Rows:
    """A row for each workload and model."""
    rows = [[WORKLOAD, "model", "calls", "p50 ms", "p90 ms", "p99 ms", "tokens/s", "of float (95 %)"]]
    for workload in dict.fromkeys(workload_name(entry) for model in _models(report) for entry in model.latency):
        for model in _models(report):
            for entry in (entry for entry in model.latency if workload_name(entry) == workload):
                ratio = entry.ratio_to_reference
                of_float = f"{ratio.value:.2f}" if model is report.reference else ratio_words(ratio)
                rows.append(
                    [
                        workload,
                        FLOAT if model is report.reference else _label(report, model),
                        f"{entry.calls}",
                        *(f"{ms:.2f}" for ms in (entry.p50_ms, entry.p90_ms, entry.p99_ms)),
                        f"{entry.tokens_per_s:.0f}",
                        of_float,
                    ]
                )
    return rows


def kinds_of(report: Report) -> tuple[str, ...]:
    """The kinds of texts that fidelity was measured on; first the main kind, as an empty name."""
    return ("", *dict.fromkeys(other.kind for model in _models(report)[1:] for other in model.by_kind))


def fidelity_title(kind: str) -> str:
    """The title of the fidelity table of a kind of texts."""
    return f"{FIDELITY} on {kind}" if kind else FIDELITY


def _measured(report: Report, kind: str) -> Iterator[tuple[str, str, str, str, list[MetricValue | None]]]:
    """For every metric of a kind of texts: name, better direction, meaning, float's value, value of each candidate.

    Metrics of vectors that nobody reads, such as the states of a classifier, are in the JSON only.
    """
    models, unread = _models(report)[1:], unread_metrics(report)
    for name, (better, meaning) in DESCRIPTIONS.items():
        if name in unread:
            continue
        values = [model.fidelity_on(kind).get(name) for model in models]
        if any(values):
            known = reference_value(report, name, kind)
            yield name, better, meaning, "" if known is None else _number(known), values


def _fidelity_rows(report: Report, kind: str) -> Rows:
    """A row for each metric, a column for float and for each candidate."""
    models = _models(report)[1:]
    rows = [["metric", FLOAT, *(_label(report, model) for model in models), BETTER, MEANING]]
    for name, better, meaning, own, values in _measured(report, kind):
        rows.append([name, own, *map(value_in_words, values), better, meaning])
    for head, reason in report.skipped.items() if not kind else ():
        rows.append([f"{head}.*", "", *[NOT_MEASURED] * len(models), "", reason])
    return rows


def _clipping_rows(report: Report) -> Rows:
    """The layers that clip most; empty if clipping was not measured."""
    models = [model for model in _models(report)[1:] if model.clipping]
    found = [{one.layer: one for one in model.clipping or ()} for model in models]
    layers = dict.fromkeys(layer for own in found for layer in own)
    worst = sorted(layers, key=lambda layer: -max(own[layer].outside for own in found if layer in own))
    rows = [[layer, *(_clipped(own.get(layer)) for own in found)] for layer in worst[:CLIPPED_LAYERS]]
    return [["input of", *(_label(report, model) for model in models)], *rows] if rows else []


def _clipped(layer: LayerClipping | None) -> str:
    if layer is None:
        return NOT_MEASURED
    if layer.outside == 0:
        return "none"
    share = f"{100 * layer.outside:.3f} %" if layer.outside >= LEAST_SHARE else "under 0.001 %"
    return f"{share}, by up to {layer.beyond:.2g} widths"


def ratio_words(ratio: MetricValue) -> str:
    """``0.50 (0.40 to 0.60)``. Large numbers, as in intervals of few samples, are written with an exponent."""
    value, low, high = (f"{x:.2f}" if abs(x) < MANY else f"{x:.2g}" for x in (ratio.value, ratio.low, ratio.high))
    return f"{value} ({low} to {high})"


def _long_fidelity_rows(report: Report, kind: str) -> Rows:
    """A row for each metric and model."""
    rows = [["metric", "model", "value", "95 % interval"]]
    for name, _, _, own, values in _measured(report, kind):
        if own:
            rows.append([name, FLOAT, own, ""])
        for model, value in zip(_models(report)[1:], values, strict=True):
            shown, _, interval = value_in_words(value).partition(" (")
            rows.append([name, _label(report, model), shown, interval.removesuffix(")")])
    return [*rows, *([f"{head}.*", "", NOT_MEASURED, ""] for head in (report.skipped if not kind else ()))]


def value_in_words(value: MetricValue | None) -> str:
    """A fidelity metric with its interval."""
    if value is None:
        return NOT_MEASURED
    if value.low == value.high:
        return _number(value.value)
    return f"{_number(value.value)} ({_number(value.low)} to {_number(value.high)})"


def _number(value: float) -> str:
    """A number with a fixed number of decimals."""
    if abs(value) >= MANY:
        return f"{value:.2g}"
    least = 10.0**-DECIMALS
    return f"<{least:.{DECIMALS}f}" if 0 < value < least / 2 else f"{value:.{DECIMALS}f}"


def _label(report: Report, model: CandidateReport) -> str:
    if model is report.reference:
        return f"{model.name} ({FLOAT})"
    return f"{model.name} (against)" if model is report.against else model.name


def _footer(report: Report) -> str:
    machine, corpus = report.machine, report.corpus
    texts = "texts" if corpus.labelled is None else corpus.kind
    skipped = "".join(f" Not measured: {head}.*, because {reason}." for head, reason in report.skipped.items())
    return (
        f"{machine.cpu}, {machine.cpus} CPUs, {_threads(report.reference)}target {machine.target}, "
        f"onnxruntime {machine.onnxruntime}. "
        f"{corpus.examples} {texts} of up to {corpus.max_length} tokens from {corpus.name}. "
        "Intervals are 95 %, by resampling texts (fidelity) or sittings, each of which loads the models again (times). "
        f"Latency is without tokenization.{skipped}{_quietness(report)}"
    )


def _threads(model: CandidateReport) -> str:
    """``2 threads, ``; empty if latency was not measured."""
    used = model.threads
    return f"{' and '.join(map(str, used))} thread{'' if used == (1,) else 's'}, " if used else ""


def _quietness(report: Report) -> str:
    """A sentence about other load on the machine."""
    if report.stability is None:
        return ""
    notes = report.stability.notes
    return f" The machine was not quiet: {'; '.join(notes)}." if notes else " The machine was quiet."
