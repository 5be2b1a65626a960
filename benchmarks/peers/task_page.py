"""The page of classifiers and embedders: what is timed, the goals, and one table for each model."""

from __future__ import annotations

from itertools import product
from typing import Any

from bertedge.metric import MetricValue
from peers.goals import interval, judged, ratio_to
from peers.page import COSTS
from peers.table import ours_of

#: Work -> (what bertedge is compared on, peer, the most that it may take of the peer's time).
GOALS = {
    "labels": [
        ("16 tokens", "Optimum int8", 0.75),
        ("128 tokens", "Optimum int8", 0.75),
    ],
    "embedding": [
        ("16 tokens", "Optimum int8", 0.75),
        ("128 tokens", "Optimum int8", 0.75),
        ("16 tokens", "sentence-transformers ONNX int8", 0.75),
        ("128 tokens", "sentence-transformers ONNX int8", 0.75),
        ("fastest", "sentence-transformers float32", 0.30),
        ("fastest", "sentence-transformers ONNX int8", 0.60),
    ],
}
TITLES = {"labels": "a classifier", "embedding": "an embedder"}
AGREEMENT = {"labels": "texts with float's label", "embedding": "mean cosine with float's vector"}
#: bertedge must not be slower than any peer on onnxruntime, at any length.
NOT_SLOWER = 1.0


def page(report: dict[str, Any]) -> str:
    """The whole page.

    Args:
        report: as ``peers.kept.read`` returns it; ``works`` gives the work of each model.
    """
    parts = [_head(report), _goals(report), _slower(report)]
    parts += [_model(model, report) for model in report["models"]]
    return "\n\n".join([*parts, _peers(report)]) + "\n"


def _head(report: dict[str, Any]) -> str:
    machine = report["machine"]
    quick = "**A quick run. It shows that everything runs; do not use its numbers.**\n\n" if report["quick"] else ""
    ours = ours_of(report)
    return f"""# Peers: a classifier and an embedder

{quick}    {report["command"]}

{machine["cpu"]} {machine["generation"]} ({machine["target"]}), {machine["cpus"]} CPUs, Python {machine["python"]};
{report["threads"]} threads for every peer; {report["minutes"]:.0f} minutes. Measured as on
[the page of peers](peers.md): every peer in its own process, in interleaved rounds.

- A call takes the token ids of one text. A classifier returns the logits of its labels, an embedder the vector, pooled
  and scaled to length 1. Tokenization is not included.
- **ms** is the median of all calls. **Ratio** is the time of {ours} divided by the peer's, with a 95 % interval.
  Below 1, bertedge is faster.
- **Sentences**: {report["sentences"]} sentences of `{report["text"]}` to vectors, with tokenization, by one call of
  `encode` of each library, with its default batches.
- **Answers** are compared with those of float in PyTorch, on the same sentences."""


def _goals(report: dict[str, Any]) -> str:
    lines = ["## Goals", "", f"| model | work | {ours_of(report)} to | goal | reached | |", "| --- |" + " --- |" * 5]
    for model in report["models"]:
        for what, peer, limit in GOALS[report["works"][model["name"]]]:
            ratio = ratio_to(model["results"], peer, what)
            met = "not measured" if ratio is None else judged(ratio, limit)
            reached = "-" if ratio is None else interval(ratio)
            work = "sentences" if what == "fastest" else what
            lines.append(f"| {model['name']} | {work} | {peer} | {limit:.2f} | {reached} | {met} |")
    return "\n".join(lines)


def _slower(report: dict[str, Any]) -> str:
    """Where a peer on onnxruntime is faster."""
    lines = []
    for model in report["models"]:
        results = model["results"]
        others = [name for name in results if report["peers"][name]["onnxruntime"] and not name.startswith("bertedge")]
        for peer, what in product(others, results[ours_of(report)]["ms"]):
            ratio = ratio_to(results, peer, what)
            if ratio is not None and ratio.value > NOT_SLOWER:
                lines.append(f"- {model['name']}, {what}: {peer}, ratio {interval(ratio)}.")
    return "\n".join(["## Where a peer on onnxruntime is faster", "", *(lines or ["Nowhere in this run."])])


def _model(model: dict[str, Any], report: dict[str, Any]) -> str:
    results, work, ours = model["results"], report["works"][model["name"]], ours_of(report)
    lengths = list(dict.fromkeys(what for result in results.values() for what in result["ms"]))
    headers = [*(f"{length}: ms, ratio" for length in lengths), "file", "cold start", AGREEMENT[work]]
    headers += ["sentences: seconds, ratio"] if work == "embedding" else []
    lines = ["| | " + " | ".join(headers) + " |", "| --- |" + " --- |" * len(headers)]
    for name, result in results.items():
        cells = [_time(results, name, result["ms"].get(length), length, ours) for length in lengths]
        cells += [COSTS["file"].cell(result), COSTS["cold start"].cell(result)]
        cells.append(f"{result['agreement']:.4f}" if "agreement" in result else "-")
        if work == "embedding":
            cells.append(_time(results, name, result["seconds"].get("fastest"), "fastest", ours))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    failures = [f"- {name}, {step}: {why}" for name, r in results.items() for step, why in r["failed"].items()]
    parts = [f"## {model['name']}, {TITLES[work]}", "\n".join(lines)]
    return "\n\n".join([*parts, *(["\n".join(["Not run:", "", *failures])] if failures else [])])


def _time(results: dict[str, Any], name: str, value: float | None, what: str, ours: str) -> str:
    if value is None:
        return "-"
    ratio: MetricValue | None = None if name == ours else ratio_to(results, name, what)
    return f"{value:.2f}" + (f", {interval(ratio)}" if ratio else "")


def _peers(report: dict[str, Any]) -> str:
    rows = ["## How they were made", "", "| | how | versions |", "| --- | --- | --- |"]
    for name, peer in report["peers"].items():
        versions: dict[str, str] = {}
        for model in report["models"]:
            versions |= model["results"].get(name, {}).get("versions", {})
        found = ", ".join(f"{package} {version}" for package, version in versions.items())
        rows.append(f"| {name} | {peer['how']} | {found or '-'} |")
    return "\n".join(rows)
