"""The results as Markdown: what every number includes, the goals, and where bertedge is behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bertedge.evaluate.latency import paired_ratio
from bertedge.evaluate.metrics import MetricValue
from peers.measure import BESIDE_USUAL, PASSES
from peers.table import OURS_BEST

Results = dict[str, dict[str, Any]]
FIDELITY = ("mlm.top1_agreement", "mlm.kl_mean", "nsp.flip_rate", "invariance.max_prob_diff")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """bertedge static takes at most ``limit`` of a peer's time."""

    models: tuple[str, ...]
    what: str
    peer: str
    limit: float


LARGE, SMALL = ("random-12x768",), ("english-l6", "random-6x384")
GOALS = (
    Goal(models=LARGE, what="16 tokens", peer="Optimum int8", limit=0.80),
    Goal(models=LARGE, what="128 tokens", peer="Optimum int8", limit=0.80),
    Goal(models=LARGE, what="16 tokens", peer="OpenVINO int8", limit=0.95),
    Goal(models=LARGE, what="128 tokens", peer="OpenVINO int8", limit=1.15),
    Goal(models=("bertedge-small-en",), what="128 tokens", peer="Optimum int8", limit=0.42),
    Goal(models=SMALL, what="usual", peer="Optimum int8", limit=0.28),
    Goal(models=SMALL, what="fastest", peer="CTranslate2 int8", limit=0.60),
)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A number in a result, at ``path``, and how it is written.

    Attributes:
        of_int8: compared with that of int8 peers only: what has nothing to quantize costs nothing to make.
    """

    path: tuple[str, ...]
    unit: Callable[[float], str]
    of_int8: bool = False

    def value(self, result: dict[str, Any]) -> float | None:
        """The number, if it is there."""
        found: Any = result
        for key in self.path:
            found = found.get(key) if found else None
        return found

    def cell(self, result: dict[str, Any]) -> str:
        """Its text."""
        found = self.value(result)
        return "-" if found is None else self.unit(found)


COSTS = {
    "file": Cost(path=("made", "words", "size_bytes"), unit=lambda size: f"{size / 1e6:.1f} MB"),
    "time to make": Cost(path=("made", "words", "seconds"), unit=lambda seconds: f"{seconds:.1f} s", of_int8=True),
    "peak memory to make": Cost(
        path=("made", "words", "peak_rss_bytes"), unit=lambda size: f"{size / 1e9:.2f} GB", of_int8=True
    ),
    "cold start": Cost(path=("cold", "cold_start_ms"), unit=lambda ms: f"{ms / 1e3:.2f} s"),
    "memory to run": Cost(path=("cold", "peak_rss_bytes"), unit=lambda size: f"{size / 1e6:.0f} MB"),
}
#: Ways to go through all sentences.
WAYS = {"usual": "sentences, against usual batches", "fastest": "sentences, against its fastest"}
#: Differences of a cost that are not worth a word.
TOLERATED = 0.02


def page(report: dict[str, Any]) -> str:
    """The whole page."""
    parts = [_head(report), _goals(report), _behind(report), _peers(report)]
    parts += [_model(model, report) for model in report["models"]]
    return "\n\n".join(parts) + "\n"


def _head(report: dict[str, Any]) -> str:
    machine = report["machine"]
    quick = "**A quick run: it shows that everything runs, its numbers prove nothing.**\n\n" if report["quick"] else ""
    return f"""# bertedge beside its peers

{quick}    {report["command"]}

{machine["cpu"]} {machine["generation"]} ({machine["target"]}), {machine["cpus"]} CPUs, Python {machine["python"]};
{report["threads"]} threads for everybody; {report["minutes"]:.0f} minutes. Everything of a model is of one run;
`results.json` has every sample.

- Every peer runs in processes of its own: one that makes the artefact, some that only start, and one that holds the
  loaded model and times a block of calls when its turn comes. A round is a block of every peer, in a fresh order, each
  after the threads of the one before it have come to rest; a block is an untimed call, then at least three and at least
  20 ms of them. Calls of 0.3 s and more are timed one by one.
- **ms** is the median of all calls. **Ratio** is the time of {OURS_BEST} to the peer's, the median of the rounds'
  ratios (lower quartiles of blocks) with a 95 % interval, reckoned as in `bertedge bench` (one sitting): below 1,
  bertedge is faster.
- A call takes encoded ids and gives MLM logits at the masked positions (15 %) as a numpy array; no tokenization. What
  else a peer computes is listed below; bertedge is timed through its runtime (checks, grouping and copies included).
- **Sentences**: {report["sentences"]} sentences of `{report["text"]}` to mean-pooled vectors, tokenization included
  (the same tokenizer for all). *Usual*: padded batches of 32 in the order of the text, all threads in one call.
  *Fastest*: sorted by length, batches of 32, as many callers of one thread each as there are CPUs. bertedge sorts and
  spreads by itself: its seconds are of batches of 32 in the first, of the whole list in the second; ratios are those of
  the whole list in both, in a pass beside the peer's.
- **Cold start**: a fresh process imports, loads, and makes one call; not the start of Python. **Memory** is that
  process's peak. Where compiling is part of the first call, so is it here.
- **Fidelity** to transformers' float32 on the same masked pairs, as `bertedge bench` measures it."""


def _goals(report: dict[str, Any]) -> str:
    lines = ["## Goals", "", f"| model | work | {OURS_BEST} to | goal | reached | |", "| --- |" + " --- |" * 5]
    for goal in GOALS:
        for model in report["models"]:
            if model["name"] not in goal.models:
                continue
            ratio = _ratio(model["results"], goal.peer, goal.what)
            met = "not measured" if ratio is None else _judged(ratio, goal.limit)
            reached = "-" if ratio is None else _interval(ratio)
            what = WAYS.get(goal.what, goal.what)
            lines.append(f"| {model['name']} | {what} | {goal.peer} | {goal.limit:.2f} | {reached} | {met} |")
    return "\n".join(lines)


def _judged(ratio: MetricValue, limit: float) -> str:
    if ratio.value > limit:
        return "**not met**"
    if ratio.n == 1:
        return "met, in one pass"
    return "met" if ratio.high <= limit else "met, within the noise"


def _behind(report: dict[str, Any]) -> str:
    lines = []
    for model in report["models"]:
        if OURS_BEST in model["results"]:
            lines += [f"- {model['name']}, {words}" for words in (*_slower(model["results"]), *_dearer(model, report))]
    profile = (
        "Where its time goes, by operator: `benchmarks/operators.py`; what came of it is in `benchmarks/README.md`."
    )
    return "\n".join(["## Where bertedge is behind", "", *(lines or ["Nowhere in this run."]), "", profile])


def _slower(results: Results) -> Iterator[str]:
    for what in [*results[OURS_BEST]["blocks"], "usual", "fastest"]:
        for peer in results:
            ratio = None if peer.startswith("bertedge") else _ratio(results, peer, what)
            if ratio is not None and ratio.value > 1:
                sure = "is faster" if ratio.n > 1 and ratio.low > 1 else "may be faster"
                yield f"{WAYS.get(what, what)}: {peer} {sure}, ratio {_interval(ratio)}."


def _dearer(model: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
    """Costs, and what int8 loses."""
    results = {name: result for name, result in model["results"].items() if not name.startswith("bertedge")}
    int8 = {name for name in results if report["peers"][name]["int8"]}
    lower = [(what, cost.value, cost.unit, int8 if cost.of_int8 else set(results)) for what, cost in COSTS.items()]
    lower += [(name, partial(_metric, name), _short, int8) for name in ("mlm.kl_mean", "nsp.flip_rate")]
    for what, value, unit, compared in lower:
        own = value(model["results"][OURS_BEST])
        others = {name: value(result) for name, result in results.items() if name in compared}
        better = [
            f"{name} {unit(other)}"
            for name, other in others.items()
            if own is not None and other is not None and other < own * (1 - TOLERATED)
        ]
        if better:
            yield f"{what}: {unit(own)}; {', '.join(better)}."


def _short(value: float) -> str:
    return f"{value:.4g}"


def _metric(name: str, result: dict[str, Any]) -> float | None:
    return result["fidelity"].get(name, {}).get("value")


def _ratio(results: Results, peer: str, what: str) -> MetricValue | None:
    """bertedge static's time to a peer's, on a workload, or over all sentences."""
    ours, theirs = results.get(OURS_BEST), results.get(peer)
    if ours is None or theirs is None:
        return None
    if what in ("usual", "fastest"):
        # a user of bertedge gives it the whole list; that is compared with both ways of the others
        own, other = ours["many"].get(BESIDE_USUAL if what == "usual" else "fastest"), theirs["many"].get(what)
    else:
        own, other = ours["blocks"].get(what), theirs["blocks"].get(what)
    if not own or not other:
        return None
    rounds = min(len(own), len(other))
    return paired_ratio(np.array(own[:rounds]), np.array(other[:rounds]))


def _interval(ratio: MetricValue) -> str:
    return f"{ratio.value:.2f} " + (f"({ratio.low:.2f} to {ratio.high:.2f})" if ratio.n > 1 else "(one pass)")


def _peers(report: dict[str, Any]) -> str:
    versions: dict[str, dict[str, str]] = {}
    for model in report["models"]:
        for name, result in model["results"].items():
            for made in result["made"].values():
                versions.setdefault(name, {}).update(made["versions"])
    rows = ["## The peers", "", "| | how | beyond the encoder | versions |", "| --- |" + " --- |" * 3]
    for name, peer in report["peers"].items():
        found = ", ".join(f"{package} {version}" for package, version in versions.get(name, {}).items())
        rows.append(f"| {name} | {peer['how']} | {peer['words']} | {found or '-'} |")
    return "\n".join(rows)


def _model(model: dict[str, Any], report: dict[str, Any]) -> str:
    results: Results = model["results"]
    workloads = list(dict.fromkeys(w for result in results.values() for w in result["blocks"]))
    parts = [f"## {model['name']}", _table(results, workloads, lambda name, what: _time(results, name, what))]
    parts.append(_table(results, list(COSTS), lambda name, cost: COSTS[cost].cell(results[name])))
    if any(result["many"] for result in results.values()):
        headers = ["usual: seconds, ratio", "fastest: seconds, ratio", "smallest cosine with PyTorch's vector"]
        parts.append(f"{report['sentences']} sentences; slow peers made fewer passes than {PASSES}.")
        parts.append(_table(results, headers, lambda name, header: _many(results, name, header)))
    if model["real"]:
        parts.append(_table(results, list(FIDELITY), lambda name, metric: _fidelity(results[name], metric)))
    else:
        parts.append("Random weights: fidelity would say nothing.")
    failures = [f"- {name}, {step}: {why}" for name, r in results.items() for step, why in r["failed"].items()]
    if failures:
        parts.append("\n".join(["Not run:", "", *failures]))
    return "\n\n".join(parts)


def _table(results: Results, columns: list[str], cell: Callable[[str, str], str]) -> str:
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(cell(name, column) for column in columns) + " |" for name in results]
    return "\n".join(lines)


def _time(results: Results, name: str, workload: str) -> str:
    if workload not in results[name]["calls"]:
        return "not run"
    own, ratio = f"{results[name]['calls'][workload]:.2f}", _ratio(results, name, workload)
    return own if ratio is None or name == OURS_BEST else f"{own}, {_interval(ratio)}"


def _many(results: Results, name: str, header: str) -> str:
    if header.startswith("smallest"):
        return ", ".join(f"{value:.4f}" for value in dict.fromkeys(results[name]["cosine"].values())) or "-"
    strategy = header.split(":")[0]
    passes, ratio = results[name]["many"].get(strategy), _ratio(results, name, strategy)
    if not passes:
        return "not run"
    own = f"{np.median(passes):.2f}"
    return own if ratio is None or (name, strategy) == (OURS_BEST, "fastest") else f"{own}, {_interval(ratio)}"


def _fidelity(result: dict[str, Any], metric: str) -> str:
    value = result["fidelity"].get(metric)
    if value is None:
        return "-"
    return f"{value['value']:.4g}" + (
        "" if value["low"] == value["high"] else f" ({value['low']:.4g} to {value['high']:.4g})"
    )
