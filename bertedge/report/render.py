"""A report for people: rows of text once, then a terminal table or Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from bertedge.evaluate.latency import workload_name
from bertedge.evaluate.metrics import DESCRIPTIONS, MetricValue
from bertedge.printable import one_line, printable
from bertedge.report.report import CandidateReport, Report
from bertedge.report.verdict import Verdict, counted

Rows = list[list[str]]
MEGABYTE = 1e6
NOT_MEASURED, SKIPPED = "-", "not measured"
BETTER, MEANING, WORKLOAD = "better", "meaning", "batch x tokens"
SENTENCE = "by how much, and how sure"
#: Columns whose cells are words.
WORDS = (BETTER, MEANING, WORKLOAD, SENTENCE, "metric")
#: What Markdown takes for more than text: code, emphasis, links, HTML, cells of a table.
MARKUP = re.compile(r"[`*\[\]<|]|\\(?=[!-/:-@\[-`{-~])")
#: Columns of a terminal that has room for everything.
WIDE = 120


def rich_report(report: Report, verdicts: Sequence[Verdict] = (), *, width: int = WIDE) -> Group:
    """Tables for a terminal; one that is narrower than ``WIDE`` goes without the last, explaining column."""
    tables = [_rich_table(title, rows, with_meaning=width >= WIDE) for title, rows in sections(report)]
    judged = [rich_verdicts(verdicts)] if verdicts else []
    return Group(*map(_text, _warnings(report)), *tables, *judged, _text(_footer(report)))


def rich_verdicts(verdicts: Sequence[Verdict]) -> Table:
    """The verdicts for a terminal."""
    return _rich_table(f"Verdicts: {counted(verdicts)}", _verdict_rows(verdicts), with_meaning=True)


def markdown_report(report: Report, verdicts: Sequence[Verdict] = ()) -> str:
    """The same tables as Markdown, the verdicts first."""
    parts = [f"**{_markdown(warning)}**\n" for warning in _warnings(report)]
    parts += [markdown_verdicts(verdicts)] if verdicts else []
    parts += [_markdown_table(title, rows) for title, rows in sections(report)]
    return "\n".join([*parts, _markdown(_footer(report))]) + "\n"


def markdown_verdicts(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as Markdown."""
    return _markdown_table(f"Verdicts: {counted(verdicts)}", _verdict_rows(verdicts))


def _markdown_table(title: str, rows: Rows) -> str:
    head, *body = ([_markdown(cell) for cell in row] for row in rows)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
    return f"### {title}\n\n" + "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    """Text in one line that Markdown shows as it is: names may hold anything."""
    return MARKUP.sub(r"\\\g<0>", one_line(" ".join(text.split())))


def _text(text: str) -> Text:
    return Text(printable(text))


def _warnings(report: Report) -> list[str]:
    if report.complete:
        return []
    return [f"Incomplete: the run was interrupted before it had measured {', '.join(report.missing)}."]


def sections(report: Report) -> list[tuple[str, Rows]]:
    """(title, rows) of every table; the first row is the header."""
    return [
        ("Size and start", _size_rows(report)),
        ("Latency", _latency_rows(report)),
        ("Fidelity", _fidelity_rows(report)),
    ]


def _models(report: Report) -> tuple[CandidateReport, ...]:
    return (report.reference, *((report.against,) if report.against else ()), *report.candidates)


def _verdict_rows(verdicts: Sequence[Verdict]) -> Rows:
    rows = [[verdict.outcome, verdict.candidate, verdict.subject, verdict.sentence] for verdict in verdicts]
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
    rows = [["model", WORKLOAD, "calls", "p50", "p90", "p99", "tokens/s", "of float (95 %)"]]
    for model in _models(report):
        for entry in model.latency:
            ratio = entry.ratio_to_reference
            rows.append(
                [
                    _label(report, model),
                    workload_name(entry),
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
    models = _models(report)[1:]
    rows = [["metric", *(_label(report, model) for model in models), BETTER, MEANING]]
    for name, (better, meaning) in DESCRIPTIONS.items():
        values = [model.fidelity.get(name) for model in models]
        if any(values):
            rows.append([name, *map(_value, values), better, meaning])
    for head, reason in report.skipped.items():
        rows.append([f"{head}.*", *[SKIPPED] * len(models), "", reason])
    return rows


def _value(value: MetricValue | None) -> str:
    if value is None:
        return NOT_MEASURED
    if value.low == value.high:
        return f"{value.value:.4g}"
    return f"{value.value:.4g} ({value.low:.4g} to {value.high:.4g})"


def _label(report: Report, model: CandidateReport) -> str:
    if model is report.reference:
        return f"{model.name} (float32)"
    return f"{model.name} (beside)" if model is report.against else model.name


def _footer(report: Report) -> str:
    machine, corpus = report.machine, report.corpus
    skipped = "".join(f" Not measured: {head}.*, since {reason}." for head, reason in report.skipped.items())
    return (
        f"{machine.cpu}, {machine.cpus} CPUs, {_threads(report.reference)}target {machine.target}, "
        f"onnxruntime {machine.onnxruntime}. "
        f"{corpus.examples} texts of up to {corpus.max_length} tokens from {corpus.name}. "
        f"Intervals: 95 %, bootstrap over texts or sittings. Latency without tokenization.{skipped}{_weather(report)}"
    )


def _threads(model: CandidateReport) -> str:
    """Of a call, with a comma; nothing where none was timed."""
    used = model.threads
    return f"{' and '.join(map(str, used))} thread{'' if used == (1,) else 's'}, " if used else ""


def _weather(report: Report) -> str:
    """How quiet the machine was."""
    if report.stability is None:
        return ""
    notes = report.stability.notes
    return f" The machine was not quiet: {'; '.join(notes)}." if notes else " The machine was quiet."


def _rich_table(title: str, rows: Rows, *, with_meaning: bool) -> Table:
    if rows[0][-1] == MEANING and not with_meaning:
        rows = [row[:-1] for row in rows]
    head, *body = rows
    table = Table(title=title, title_justify="left", title_style="bold", header_style="")
    for index, column in enumerate(head):
        numeric = index > 0 and column not in WORDS
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*row)
    return table
