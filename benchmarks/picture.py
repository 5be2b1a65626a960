"""Draw fidelity over latency from reports of ``bertedge bench``: one point for each model, with 95 % intervals.

    python benchmarks/picture.py REPORT.json ... [--tokens 128] [--metric mlm.top1_agreement] --out PICTURE.svg

All reports must have the same float model. Each engine has a colour.
Latency is the time of one text of ``--tokens`` tokens as a share of the float model's. Install with
``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

#: Metric -> label of its axis.
LABELS = {"mlm.top1_agreement": "masked words where int8 agrees with float32", "embedding.cosine_mean": "cosine"}
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "bertedge", "font.family": "sans-serif", "font.size": 11}
GREY = "#666666"
#: Engine -> colour; other engines are grey.
COLOURS = {"native": "#d9480f", "onnxruntime": "#3f51b5"}
#: Points between a name and its point.
GAP = 7
#: A name goes below its point if another point is so close above it: difference of the ratio, and of the metric.
CLOSE = (0.25, 0.02)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--metric", default="mlm.top1_agreement")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    reports = [json.loads(report.read_text(encoding="utf-8")) for report in options.reports]
    with plt.rc_context(STYLE):
        draw(reports, options.metric, options.tokens, options.out)


def draw(reports: list[dict[str, Any]], metric: str, tokens: int, out: Path) -> None:
    """One point for each candidate, and one for the float model."""
    candidates = [candidate for report in reports for candidate in report["candidates"]]
    points = [(one, _ratio(one, tokens), one["fidelity"][metric]) for one in candidates]
    figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
    axes.plot(1, 1, marker="s", markersize=8, color=GREY)
    _label(axes, "float32", reports[0]["reference"], (1, 1), align="right", color=GREY)
    for candidate, ratio, value in points:
        engine = candidate.get("engine", "")
        axes.errorbar(
            ratio["value"], value["value"], xerr=_errors(ratio), yerr=_errors(value), marker="o", markersize=8,
            color=COLOURS.get(engine, GREY), capsize=3, elinewidth=1.2,
        )  # fmt: skip
        place = (ratio["value"], value["value"])
        below = any(_close_above(place, (x["value"], y["value"])) for _, x, y in points)
        name = candidate["name"].removeprefix("small.").removesuffix(f" on {engine}")
        _label(axes, name, candidate, place, below=below)
    for engine in sorted({candidate.get("engine", "") for candidate in candidates} & COLOURS.keys()):
        axes.plot([], [], marker="o", markersize=8, color=COLOURS[engine], label=engine)
    axes.legend(title="engine", loc="lower right", frameon=False)
    label = f"time of one text of {tokens} tokens, as a share of float32's"
    axes.set(xlabel=label, ylabel=LABELS.get(metric, metric), xlim=(0, 1.08))
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


def _label(
    axes: Any, name: str, model: dict[str, Any], place: tuple[float, float], *, below: bool = False,
    align: str = "left", color: str = "black",
) -> None:  # fmt: skip
    words = f"{name}, {model['size_bytes'] / 1e6:.1f} MB"
    offset = (GAP if align == "left" else -GAP, -GAP if below else GAP)
    axes.annotate(
        words, place, offset, textcoords="offset points", ha=align, va="top" if below else "bottom", color=color
    )


def _close_above(place: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs(other[0] - place[0]) < CLOSE[0] and 0 < other[1] - place[1] < CLOSE[1]


def _ratio(candidate: dict[str, Any], tokens: int) -> dict[str, float]:
    (found,) = (one for one in candidate["latency"] if (one["batch_size"], one["seq_len"]) == (1, tokens))
    return found["ratio_to_reference"]


def _errors(value: dict[str, float]) -> list[list[float]]:
    """Distances of an interval's ends from its value, as matplotlib takes them."""
    return [[value["value"] - value["low"]], [value["high"] - value["value"]]]


if __name__ == "__main__":
    main()
