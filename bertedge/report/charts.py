"""The charts of a report. A model has the same colour, marker and dash in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bertedge.evaluate.latency import LatencyReport
from bertedge.metric import MetricValue
from bertedge.plotting import Axes, FuncFormatter, MaxNLocator, NullLocator
from bertedge.report.svg import GRID, LINE, SMALL, Drawing, color_of, dash_of, drawing, finish, look_of, new_chart
from bertedge.report.views import Point, Table
from bertedge.report.words import number, printable

#: The longest name that fits into a chart, in characters.
NAME_LENGTH = 22
#: Height of a bar, and the gap between groups of bars, in pixels.
BAR, GAP = 13, 12
BEST = ", no other model is better in both"
#: A numeric axis starts at 0, unless the smallest value is more than this share of the largest.
CLOSE = 0.8
#: Times above this multiple of the largest median are shown as an arrow.
FAR = 2.5


def trade_off_chart(name: str, points: Sequence[Point], *, latency: str, metric: str, share: bool = True) -> Drawing:
    """Accuracy over latency: a point with its interval for each model, and a stepped line through the Pareto set."""
    with drawing():
        figure, axes = new_chart(300)
        best = sorted((p for p in points if p.best), key=lambda p: p.ms)
        axes.step([p.ms for p in best], [p.value for p in best], where="post", color=LINE, linewidth=1.2, dashes=(4, 3))
        for point in points:
            axes.errorbar(
                point.ms,
                point.value,
                yerr=[[max(point.value - point.low, 0)], [max(point.high - point.value, 0)]],
                **look_of(point.series),
                markersize=10,
                capsize=4,
                elinewidth=1.4,
                zorder=3,
            )
        axes.set(xlabel=f"median latency, ms ({latency})", ylabel=metric)
        axes.margins(x=0.15, y=0.22)
        axes.set_xlim(left=max(axes.get_xlim()[0], 0))
        cut = _cut(axes, share=share, unit="ms")
        axes.annotate(
            "better", (0.02, 0.985), (0.115, 0.9), xycoords="axes fraction", textcoords="axes fraction",
            fontsize=SMALL, va="center", arrowprops={"arrowstyle": "->", "color": LINE},
        )  # fmt: skip
        words = "; ".join(
            f"{p.name}: {_value(p.value, share)} at {p.ms:.2f} ms{BEST if p.best else ''}" for p in points
        )
        return finish(figure, name=name, words=f"{metric} over latency. {words}.{cut}")


def latency_chart(name: str, rows: Sequence[tuple[int, str, LatencyReport]], *, workload: str) -> Drawing:
    """A row for each model: a dot for each round's lower quartile, a line from the median to the 99th percentile."""
    with drawing():
        figure, axes = new_chart(54 + 50 * len(rows))
        limit = FAR * max(latency.p50_ms for _, _, latency in rows)
        end = 1.06 * min(limit, max(max(entry.p99_ms, *entry.samples_ms) for _, _, entry in rows))
        rng = np.random.default_rng(0)
        across = axes.get_yaxis_transform()  # x is 0 at the left end and 1 at the right end
        axes.text(1, 0.62, "p50 · p90 · p99", transform=across, va="center", ha="right", fontsize=SMALL)
        for row, (series, label, latency) in enumerate(rows):
            y = -row
            axes.plot(
                np.minimum(latency.samples_ms, end), y - 0.1 + rng.uniform(-0.1, 0.1, len(latency.samples_ms)),
                **look_of(series) | {"markersize": 4.5, "markeredgewidth": 0.8}, linestyle="", alpha=0.75,
            )  # fmt: skip
            line = y - 0.36
            axes.plot([latency.p50_ms, min(latency.p99_ms, end)], [line, line], color=LINE, linewidth=1.2)
            axes.plot([latency.p50_ms] * 2, [line - 0.11, line + 0.11], color=LINE, linewidth=3.5)
            if latency.p90_ms < end:
                axes.plot([latency.p90_ms] * 2, [line - 0.09, line + 0.09], color=LINE, linewidth=1.2)
            axes.plot([min(latency.p99_ms, end)], [line], color=LINE, marker=">" if latency.p99_ms > end else "o",
                      markersize=4.5, markerfacecolor="none", markeredgewidth=1.2, clip_on=False)  # fmt: skip
            axes.text(0, y + 0.24, _short(label), transform=across, va="center", fontsize=SMALL, weight="bold")
            axes.text(1, y + 0.24, _percentiles(latency), transform=across, va="center", ha="right", fontsize=SMALL)
        axes.set(xlim=(0, end), ylim=(-len(rows) + 0.42, 0.85), xlabel="milliseconds a call")
        axes.yaxis.set_major_locator(NullLocator())
        axes.spines.left.set_visible(False)
        axes.xaxis.set_major_locator(_ticks())
        words = "; ".join(f"{label}: {_percentiles(latency)} ms" for _, label, latency in rows)
        return finish(figure, name=name, words=f"Latency of {workload}: p50, p90, p99. {words}.")


def _percentiles(latency: LatencyReport) -> str:
    return " · ".join(number(value) for value in (latency.p50_ms, latency.p90_ms, latency.p99_ms))


def length_chart(
    name: str, lines: Mapping[int, Sequence[tuple[int, MetricValue]]], names: Sequence[str], *, metric: str, share: bool
) -> Drawing:
    """A metric over the length of the text: a line with intervals for each candidate."""
    with drawing():
        figure, axes = new_chart(260)
        lengths = sorted({length for line in lines.values() for length, _ in line})
        for place, (series, line) in enumerate(lines.items()):
            apart = 0.09 * (place - (len(lines) - 1) / 2)
            values = [value for _, value in line]
            axes.errorbar(
                [lengths.index(length) + apart for length, _ in line],
                [value.value for value in values],
                yerr=[[max(v.value - v.low, 0) for v in values], [max(v.high - v.value, 0) for v in values]],
                **look_of(series),
                capsize=3,
                elinewidth=1,
                linestyle=dash_of(series),
            )
        axes.set_xticks(range(len(lengths)), [str(length) for length in lengths])
        axes.set(xlabel="tokens of the text", ylabel=metric)
        axes.set_xlim(-0.4, len(lengths) - 0.6)
        if not share and axes.get_ylim()[0] < CLOSE * axes.get_ylim()[1]:
            axes.set_ylim(bottom=0)
        cut = _cut(axes, share=share)
        words = "; ".join(
            f"{names[series]}: " + ", ".join(f"{value.value:.4g} at {length} tokens" for length, value in line)
            for series, line in lines.items()
        )
        return finish(figure, name=name, words=f"{metric} by length of the text. {words}.{cut}")


def bar_chart(name: str, table: Table, names: Sequence[str], *, title: str, unit: str) -> Drawing:
    """A group of bars for each row of a table; each bar ends in the model's marker and the value."""
    with drawing():
        bars = sum(len(row) for row in table.values())
        height = BAR * bars + (BAR + GAP) * len(table)
        figure, axes = new_chart(height + 42)
        largest = max((value.high for row in table.values() for value in row.values()), default=0) or 1
        y = 0.0
        for label, row in table.items():
            axes.text(0, y, label, fontsize=SMALL, weight="bold", va="center")
            for series, value in sorted(row.items()):
                y -= BAR
                at = value.value
                axes.plot([0, at], [y, y], color=color_of(series), linewidth=4, solid_capstyle="butt", alpha=0.5)
                if value.low < value.high:
                    axes.plot([value.low, value.high], [y, y], color=color_of(series), linewidth=1.4, marker="|",
                              markersize=6, clip_on=False)  # fmt: skip
                axes.plot(at, y, **look_of(series) | {"markersize": 6.5}, clip_on=False, zorder=3)
                axes.annotate(number(at), (value.high, y), (8, 0), textcoords="offset points", va="center",
                              fontsize=SMALL - 0.5)  # fmt: skip
            y -= BAR + GAP
        axes.set(xlim=(0, 1.14 * largest), ylim=(GAP - height, BAR), xlabel=unit)
        axes.yaxis.set_major_locator(NullLocator())
        axes.xaxis.set_major_locator(_ticks())
        axes.grid(False)
        axes.axvline(0, color=GRID)
        axes.spines.left.set_visible(False)
        words = "; ".join(
            f"{label}: "
            + ", ".join(f"{names[series]} {_with_interval(value)}" for series, value in sorted(row.items()))
            for label, row in table.items()
        )
        return finish(figure, name=name, words=f"{title}, in {unit}. {words}.")


def _with_interval(value: MetricValue) -> str:
    interval = "" if value.low == value.high else f" ({number(value.low)} to {number(value.high)})"
    return f"{number(value.value)}{interval}"


def _value(value: float, share: bool) -> str:
    return f"{value:.1%}" if share else f"{value:.4f}"


def _cut(axes: Axes, *, share: bool, unit: str = "") -> str:
    """Set the limits of the axes, with round tick values. Shares are shown in percent and end at 100.

    Args:
        share: the metric is a share of something.
        unit: the unit of the horizontal axis, if that axis may also start above 0.

    Returns:
        A sentence that names the axes that do not start at 0. The chart shows it too. Empty if all axes start at 0.
    """
    low, high = axes.get_ylim()
    low = max(low, 0)
    axes.set_ylim(low, min(high, 1 + 0.04 * (high - low)) if share else high)
    axes.yaxis.set_major_locator(_ticks())
    if unit:  # numbers of a narrow range are long, and stand next to each other
        axes.xaxis.set_major_locator(_ticks(4))
    if share:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(100 * value, 6):g} %"))
    starts = [f"{100 * low:.3g} %" if share else f"{low:.4g}"] if low > 0 else []
    starts += [f"{number(left)} {unit}"] if unit and (left := axes.get_xlim()[0]) > 0 else []
    if not starts:
        return ""
    words = f"{'axes start' if len(starts) > 1 else 'axis starts'} at {' and '.join(starts)}"
    axes.text(0.99, 0.015, words, transform=axes.transAxes, ha="right", va="bottom", fontsize=SMALL, zorder=4)
    return f" The {words}."


def _ticks(most: int = 6) -> MaxNLocator:
    """A few round numbers."""
    return MaxNLocator(most, steps=[1, 2, 5, 10])


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"
