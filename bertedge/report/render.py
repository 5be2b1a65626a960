"""A report for people: rows of text once, then a terminal table or Markdown."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from bertedge.evaluate.metrics import DESCRIPTIONS, MetricValue
from bertedge.report.report import CandidateReport, Report

Rows = list[list[str]]
MEGABYTE = 1e6
NOT_MEASURED, SKIPPED = "-", "skipped"
BETTER, MEANING, WORKLOAD = "better", "meaning", "batch x tokens"
#: Columns of a terminal that has room for everything.
WIDE = 120


def rich_report(report: Report, *, width: int = WIDE) -> Group:
    """Tables for a terminal; one that is narrower than ``WIDE`` goes without the last, explaining column."""
    tables = [_rich_table(title, rows, with_meaning=width >= WIDE) for title, rows in sections(report)]
    return Group(*tables, Text(_footer(report)))


def markdown_report(report: Report) -> str:
    """The same tables as Markdown."""
    parts = []
    for title, rows in sections(report):
        head, *body = ([cell.replace("|", r"\|") for cell in row] for row in rows)
        lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
        parts.append(f"### {title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join([*parts, _footer(report)]) + "\n"


def sections(report: Report) -> list[tuple[str, Rows]]:
    """(title, rows) of every table; the first row is the header."""
    return [
        ("Size and start", _size_rows(report)),
        ("Latency", _latency_rows(report)),
        ("Fidelity", _fidelity_rows(report)),
    ]


def _size_rows(report: Report) -> Rows:
    rows = [["model", "file", "of float", "peak memory", "cold start", "int8 MACs", "int8 bytes"]]
    for model in (report.reference, *report.candidates):
        rows.append(  # noqa: PERF401
            [
                _label(report, model),
                f"{model.size_bytes / MEGABYTE:.1f} MB",
                f"{model.size_bytes / report.reference.size_bytes:.2f}",
                f"{model.peak_rss_bytes / MEGABYTE:.0f} MB",
                f"{model.cold_start_ms:.0f} ms",
                f"{100 * model.coverage.macs:.1f} %",
                f"{100 * model.coverage.bytes:.1f} %",
            ]
        )
    return rows


def _latency_rows(report: Report) -> Rows:
    rows = [["model", WORKLOAD, "calls", "p50", "p90", "p99", "tokens/s", "of float (95 %)"]]
    for model in (report.reference, *report.candidates):
        for entry in model.latency:
            ratio = entry.ratio_to_reference
            rows.append(
                [
                    _label(report, model),
                    f"{entry.batch_size} x {entry.seq_len}",
                    f"{entry.calls}",
                    f"{entry.p50_ms:.2f} ms",
                    f"{entry.p90_ms:.2f} ms",
                    f"{entry.p99_ms:.2f} ms",
                    f"{entry.tokens_per_s:.0f}",
                    "1" if model is report.reference else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                ]
            )
    return rows


def _fidelity_rows(report: Report) -> Rows:
    rows = [["metric", *(candidate.name for candidate in report.candidates), BETTER, MEANING]]
    for name, (better, meaning) in DESCRIPTIONS.items():
        values = [candidate.fidelity.get(name) for candidate in report.candidates]
        if any(values):
            rows.append([name, *map(_value, values), better, meaning])
    for head, reason in report.skipped.items():
        rows.append([f"{head}.*", *[SKIPPED] * len(report.candidates), "", reason])
    return rows


def _value(value: MetricValue | None) -> str:
    if value is None:
        return NOT_MEASURED
    if value.low == value.high:
        return f"{value.value:.4g}"
    return f"{value.value:.4g} ({value.low:.4g} to {value.high:.4g})"


def _label(report: Report, model: CandidateReport) -> str:
    return f"{model.name} (float32)" if model is report.reference else model.name


def _footer(report: Report) -> str:
    machine, corpus = report.machine, report.corpus
    skipped = "".join(f" Skipped: {head}.*, for {reason}." for head, reason in report.skipped.items())
    threads = report.reference.latency[0].threads if report.reference.latency else machine.cpus
    return (
        f"{machine.cpu}, {machine.cpus} CPUs, {threads} threads, target {machine.target}, "
        f"onnxruntime {machine.onnxruntime}. "
        f"{corpus.examples} texts of up to {corpus.max_length} tokens from {corpus.name}. "
        f"Intervals: 95 %, bootstrap over texts or rounds. Latency without tokenization.{skipped}"
    )


def _rich_table(title: str, rows: Rows, *, with_meaning: bool) -> Table:
    if rows[0][-1] == MEANING and not with_meaning:
        rows = [row[:-1] for row in rows]
    head, *body = rows
    table = Table(title=title, title_justify="left", title_style="bold", header_style="")
    for index, column in enumerate(head):
        numeric = index > 0 and column not in (BETTER, MEANING, WORKLOAD)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*row)
    return table
