"""A report as one HTML file. It has no scripts and loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bertedge.evaluate.fidelity import OWN_TEXTS
from bertedge.evaluate.metrics import DESCRIPTIONS
from bertedge.heads import HEADS
from bertedge.heads.cases import Case
from bertedge.metric import MetricValue
from bertedge.report import charts, views
from bertedge.report.render import CLIPPING, MEGABYTE, fidelity_title, kinds_of, ratio_words, sections
from bertedge.report.schema import CandidateReport, Report
from bertedge.report.summary import in_words
from bertedge.report.svg import Drawing, marker_symbol
from bertedge.report.terminal import Rows
from bertedge.report.verdict import Verdict, by_severity, counted
from bertedge.report.words import (
    FILTERS,
    about_corpus,
    about_machine,
    about_model,
    megabytes,
    number,
    percent,
    printable,
)

#: The symbol of an outcome, for readers who cannot see its colour.
OUTCOME_SIGNS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "skipped": "–"}


def html_report(report: Report, verdicts: Sequence[Verdict] = ()) -> str:
    """The whole report as the text of an HTML file.

    Args:
        verdicts: the verdicts of the gate, shown at the top.
    """
    environment = Environment(
        loader=PackageLoader("bertedge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    tables = dict(sections(report))
    parts = {
        "trade_offs": _trade_offs(report),
        "latencies": _latencies(report),
        "lengths": _lengths(report),
        "own_texts": OWN_TEXTS,
        "times": _times(report),
        "sizes": _sizes(report),
        "disagreements": _disagreements(report),
    }
    text = environment.get_template("report.html.j2").render(
        report=report,
        models=views.models_of(report),
        names=[model.name for model in views.models_of(report)],
        symbols=[Markup(marker_symbol(i, f"marker-{i}")) for i in range(len(views.models_of(report)))],
        style=Markup(files("bertedge.report").joinpath("templates/report.css").read_text(encoding="utf-8")),
        counted=counted(verdicts),
        verdicts=[(verdict, OUTCOME_SIGNS[verdict.outcome]) for verdict in by_severity(verdicts)],
        summaries=[_summary(report, candidate) for candidate in report.candidates],
        sentences=[in_words(report, candidate) for candidate in report.candidates],
        columns_of=columns_of,
        contents=_contents(bool(verdicts), parts),
        time_rows=_time_rows(report),
        about=[("Machine", about_machine(report)), ("Text", about_corpus(report))],
        about_models=[(series, about_model(model)) for series, model in enumerate(views.models_of(report))],
        tables=tables,
        fidelity_tables=[fidelity_title(kind) for kind in kinds_of(report)],
        clipping=CLIPPING,
        calibrated_on_corpus=_calibrated_on_corpus(report),
        workload_in_words=views.workload_in_words,
        **parts,
    )
    return printable(text)


#: Numbers of tiles in a row, the preferred number first.
COLUMNS = (4, 5, 3)
#: A tile of a candidate's card: name, value, and the interval or float's value.
Fact = tuple[str, str, str]


def _summary(report: Report, model: CandidateReport) -> list[Fact]:
    """The numbers by which a candidate is chosen."""
    reference = report.reference
    facts = [("file", megabytes(model.size_bytes), f"{model.size_bytes / reference.size_bytes:.2f} of float")]
    workload = views.main_workload(report)
    entry = views.at_workload(model, workload) if workload else None
    if entry is not None:
        ratio = entry.ratio_to_reference
        times, _, interval = ratio_words(ratio).partition(" ")
        compared = f"{times} of float {interval}"
        facts.append((views.workload_in_words(entry), f"{number(entry.p50_ms)} ms", compared))
    for metric, words in views.without_unread(views.TRADE_OFFS, report).items():
        value, known = model.fidelity.get(metric), views.reference_value(report, metric)
        if value is not None:
            show = _shown(metric)
            of_float = "" if known is None else f", float {show(known)}"
            low = show(value.low).removesuffix("\N{NO-BREAK SPACE}%")
            facts.append((words, show(value.value), f"{low} to {show(value.high)}{of_float}"))
    for words, own, known, unit, scale in (
        ("peak memory", model.peak_rss_bytes, reference.peak_rss_bytes, "MB", MEGABYTE),
        ("cold start", model.cold_start_ms, reference.cold_start_ms, "ms", 1),
    ):
        if own is not None and known is not None:
            facts.append((words, f"{own / scale:.0f} {unit}", f"float {known / scale:.0f} {unit}"))
    facts.append(
        ("in integers", percent(model.coverage.macs), f"of the work; {percent(model.coverage.bytes)} of the bytes")
    )
    return facts


def _shown(metric: str) -> Callable[[float], str]:
    """The format of a metric's values: percent for shares, otherwise a number."""
    return percent if views.is_share(metric) else "{:.4f}".format


#: A heading, a sentence about the picture, and the picture.
Picture = tuple[str, str, Drawing]


def _trade_offs(report: Report) -> list[tuple[str, str, Drawing, list[tuple[views.Point, str]]]]:
    workload = views.main_workload(report)
    pictures: list[tuple[str, str, Drawing, list[tuple[views.Point, str]]]] = []
    for metric, words in views.without_unread(views.TRADE_OFFS, report).items():
        points = views.trade_off(report, metric)
        if points and workload:
            drawn = charts.trade_off_chart(
                f"trade-off-{len(pictures)}",
                points,
                latency=views.workload_in_words(workload),
                metric=words,
                share=views.is_share(metric),
            )
            shown = [(point, _shown(metric)(point.value)) for point in points]
            pictures.append((_heading(words), DESCRIPTIONS[metric][1], drawn, shown))
    return pictures


def _latencies(report: Report) -> list[Picture]:
    pictures = []
    for place, (workload, entries) in enumerate(views.workloads(report)):
        rows = [(series, views.models_of(report)[series].name, latency) for series, latency in entries]
        calls = sum(latency.calls for _, latency in entries)
        drawn = charts.latency_chart(f"latency-{place}", rows, workload=workload)
        pictures.append((_heading(workload), f"{calls} calls in all", drawn))
    return pictures


def _lengths(report: Report) -> list[Picture]:
    names = [model.name for model in views.models_of(report)]
    pictures = []
    for place, (metric, words) in enumerate(views.without_unread(views.OVER_LENGTH, report).items()):
        lines = views.over_length(report, metric)
        if lines:
            share = views.is_share(metric)
            drawn = charts.length_chart(f"length-{place}", lines, names, metric=words, share=share)
            pictures.append((_heading(words), f"{DESCRIPTIONS[metric][0]} is better", drawn))
    return pictures


def _times(report: Report) -> list[Picture]:
    names = [model.name for model in views.models_of(report)]
    draw = partial(charts.bar_chart, names=names, unit="milliseconds a call")
    pictures = []
    for name, heading, key in (
        ("time-operators", "By operator", lambda part, op_type: op_type),
        ("time-parts", "By part of the model", lambda part, op_type: views.part_name(part)),
    ):
        table = views.time_by(report, key)
        if table:
            drawn = draw(name, table, title=f"Where the time goes, {heading[0].lower()}{heading[1:]}")
            pictures.append((heading, "", drawn))
    return pictures


def _sizes(report: Report) -> list[Picture]:
    names = [model.name for model in views.models_of(report)]
    pictures = []
    for name, heading, table, unit in (
        ("bytes-parts", "Weights by part of the model", views.bytes_by_part(report), "megabytes of weights"),
        ("bytes-memory", "On disk and at work", views.memory(report), "megabytes"),
    ):
        if table:
            pictures.append((heading, "", charts.bar_chart(name, table, names, title=heading, unit=unit)))
    return pictures


def _calibrated_on_corpus(report: Report) -> list[str]:
    """Candidates that were calibrated on the same text that they are measured on."""
    return [
        model.name
        for model in report.candidates
        if model.manifest.provenance.calibration_sha256 == report.corpus.sha256
    ]


def _disagreements(report: Report) -> list[tuple[int, list[tuple[str, tuple[Case, ...]]]]]:
    """Series of a candidate -> heading and cases of each list."""
    headings = {name: heading for head in HEADS.values() for name, heading in head.lists.items()}
    found = [
        (series, [(headings.get(name, name), cases) for name, cases in model.disagreements.items() if cases])
        for series, model in enumerate(report.candidates, start=1)
    ]
    return [(series, lists) for series, lists in found if lists]


def _contents(verdicts: bool, parts: Mapping[str, object]) -> list[tuple[str, str]]:
    """(id, title) of each part of the page, in order."""
    there = {
        ("verdicts", "Verdicts"): verdicts,
        ("summary", "In short"): True,
        ("trade-off", "Accuracy against latency"): bool(parts["trade_offs"]),
        ("latency", "Latency"): True,
        ("fidelity", "Fidelity"): True,
        ("time", "Where the time goes"): bool(parts["times"]),
        ("bytes", "Where the bytes go"): True,
        ("worst", "Worst disagreements"): bool(parts["disagreements"]),
        ("provenance", "Machine and provenance"): True,
    }
    return [link for link, shown in there.items() if shown]


def _time_rows(report: Report) -> Rows:
    """The milliseconds of each model in every part and operator."""
    models = views.models_of(report)
    table = views.time_by(report, lambda part, op_type: f"{views.part_name(part)}: {op_type}", most=10**6)
    rows = [["part: operator", *(model.name for model in models)]]
    rows += [
        [label, *(_milliseconds(row[i]) if i in row else "-" for i in range(len(models)))]
        for label, row in table.items()
    ]
    return rows


def _milliseconds(value: MetricValue) -> str:
    interval = "" if value.low == value.high else f" ({value.low:.3f} to {value.high:.3f})"
    return f"{value.value:.3f}{interval}"


def columns_of(tiles: int) -> int:
    """A number of columns with which the last row has at least two tiles."""
    whole = [columns for columns in COLUMNS if tiles % columns == 0]
    return next(iter(whole), None) or next((columns for columns in COLUMNS if tiles % columns > 1), COLUMNS[0])


def _heading(words: str) -> str:
    return words[:1].upper() + words[1:]
