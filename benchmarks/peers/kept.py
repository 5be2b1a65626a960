"""The results that the project keeps: one JSON line for the run, then one for each model and peer.

A line holds medians, costs and ratios with their 95 % intervals. ``ratios`` are of the row that all are compared with,
``ratios_of`` of other rows of bertedge. Samples are not kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bertedge.evaluate.latency import paired_ratio
from bertedge.files import write_text
from peers.measure import FASTEST_WITH_USUAL, Result
from peers.table import COMPARED

FIDELITY = ("mlm.top1_agreement", "mlm.kl_mean", "nsp.flip_rate", "invariance.max_prob_diff")
#: Significant digits of a kept number.
DIGITS = 8


def summarize(results: dict[str, Result], ours: str) -> dict[str, dict[str, Any]]:
    """What is kept of each peer of one model; ``ours`` is the row that all are compared with."""
    found = {name: _summary(result, results.get(ours)) for name, result in results.items()}
    for name, summary in found.items():
        others = [own for own, peers in COMPARED.items() if own != ours and own in results and name in peers]
        if others:
            summary["ratios_of"] = {own: _ratios(results[name], results[own]) for own in others}
    return found


def write(path: Path, report: dict[str, Any]) -> None:
    """Write a report.

    Args:
        report: facts of the run, and ``models``: name, ``real`` and the summaries by peer.
    """
    lines: list[dict[str, Any]] = [{key: value for key, value in report.items() if key != "models"}]
    lines += [
        {"model": model["name"], "real": model["real"], "peer": peer, **summary}
        for model in report["models"]
        for peer, summary in model["results"].items()
    ]
    write_text(path, "".join(json.dumps(_rounded(line), ensure_ascii=False) + "\n" for line in lines))


def read(path: Path) -> dict[str, Any]:
    """The report that ``write`` wrote."""
    run, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    models: dict[str, dict[str, Any]] = {}
    for line in lines:
        name, real, peer = line.pop("model"), line.pop("real"), line.pop("peer")
        models.setdefault(name, {"name": name, "real": real, "results": {}})["results"][peer] = line
    return run | {"models": list(models.values())}


def _summary(result: Result, own: Result | None) -> dict[str, Any]:
    made = result.made.get("words") or next(iter(result.made.values()), {})
    versions = {package: version for work in result.made.values() for package, version in work["versions"].items()}
    return {
        "versions": versions,
        "made": {key: made[key] for key in ("size_bytes", "seconds", "peak_rss_bytes") if key in made},
        "cold": result.cold,
        "ms": result.calls,
        "ratios": _ratios(result, own),
        "seconds": {way: float(np.median(passes)) for way, passes in result.many.items()},
        "cosine": result.cosine,
        "fidelity": {metric: result.fidelity[metric] for metric in FIDELITY if metric in result.fidelity},
        "failed": result.failed,
        **({} if result.agreement is None else {"agreement": result.agreement}),
    }


def _ratios(result: Result, own: Result | None) -> dict[str, dict[str, float]]:
    """Our time to the peer's, by workload and by way through all sentences."""
    if own is None:
        return {}
    pairs = {what: (own.blocks.get(what), blocks) for what, blocks in result.blocks.items()}
    # users give bertedge the whole list, so its time for that is compared with both ways of the peers
    pairs["usual"] = own.many.get(FASTEST_WITH_USUAL), result.many.get("usual", [])
    pairs["fastest"] = own.many.get("fastest"), result.many.get("fastest", [])
    found = {}
    for what, (ours, theirs) in pairs.items():
        if ours and theirs:
            rounds = min(len(ours), len(theirs))
            found[what] = asdict(paired_ratio(np.array(ours[:rounds]), np.array(theirs[:rounds])))
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
