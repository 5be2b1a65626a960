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
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "bertedge", "font.family": "sans-serif", "font.size": 10}
GREY = "#666666"
#: Engine -> colour; other engines are grey.
COLOURS = {"native": "#d9480f", "onnxruntime": "#3f51b5"}
#: Points between a name and its point.
GAP = 7
#: Engines whose points are the fastest: their names are to the left, and those of the others to the right.
LEFT = frozenset({"native"})


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
    figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
    axes.plot(1, 1, marker="s", markersize=8, color=GREY)
    _label(axes, "float32", reports[0]["reference"], (1, 1), align="right", color=GREY)
    for candidate in candidates:
        engine, ratio, value = candidate.get("engine", ""), _ratio(candidate, tokens), candidate["fidelity"][metric]
        axes.errorbar(
            ratio["value"], value["value"], xerr=_errors(ratio), yerr=_errors(value), marker="o", markersize=8,
            color=COLOURS.get(engine, GREY), capsize=3, elinewidth=1.2,
        )  # fmt: skip
        name = candidate["name"].removeprefix("small.").removesuffix(f" on {engine}")
        if engine in LEFT:
            _label(axes, name, candidate, (ratio["low"], value["value"]), align="right")
        else:
            _label(axes, name, candidate, (ratio["high"], value["value"]))
    for engine in sorted({candidate.get("engine", "") for candidate in candidates} & COLOURS.keys()):
        axes.plot([], [], marker="o", markersize=8, color=COLOURS[engine], label=engine)
    axes.legend(title="engine", loc="lower left", frameon=False)
    label = f"time of one text of {tokens} tokens, as a share of float32's"
    axes.set(xlabel=label, ylabel=LABELS.get(metric, metric), xlim=(0, 1.1))
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


def _label(
    axes: Any, name: str, model: dict[str, Any], place: tuple[float, float], *, align: str = "left",
    color: str = "black",
) -> None:  # fmt: skip
    words, gap = f"{name}, {model['size_bytes'] / 1e6:.1f} MB", GAP if align == "left" else -GAP
    axes.annotate(words, place, (gap, 0), textcoords="offset points", ha=align, va="center", color=color)


def _ratio(candidate: dict[str, Any], tokens: int) -> dict[str, float]:
    (found,) = (one for one in candidate["latency"] if (one["batch_size"], one["seq_len"]) == (1, tokens))
    return found["ratio_to_reference"]


def _errors(value: dict[str, float]) -> list[list[float]]:
    """Distances of an interval's ends from its value, as matplotlib takes them."""
    return [[value["value"] - value["low"]], [value["high"] - value["value"]]]


if __name__ == "__main__":
    main()
