"""The results as a page of the documentation: what every number includes, the goals, and where bertedge is behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from peers.goals import WAYS, Results, interval, lines, ratio_to
from peers.kept import FIDELITY
from peers.measure import PASSES
from peers.models import SUFFIX
from peers.table import ours_of


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A number in a result, at ``path``, and how it is written.

    Attributes:
        of_int8: compared with int8 peers only, since float peers quantize nothing.
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
    "file": Cost(path=("made", "size_bytes"), unit=lambda size: f"{size / 1e6:.1f} MB"),
    "time to make": Cost(path=("made", "seconds"), unit=lambda seconds: f"{seconds:.1f} s", of_int8=True),
    "peak memory to make": Cost(
        path=("made", "peak_rss_bytes"), unit=lambda size: f"{size / 1e9:.2f} GB", of_int8=True
    ),
    "cold start": Cost(path=("cold", "cold_start_ms"), unit=lambda ms: f"{ms / 1e3:.2f} s"),
    "memory to run": Cost(path=("cold", "peak_rss_bytes"), unit=lambda size: f"{size / 1e6:.0f} MB"),
}
#: Differences of a cost that are not reported.
TOLERATED = 0.02


def page(report: dict[str, Any]) -> str:
    """The whole page.

    Args:
        report: as ``peers.kept.read`` returns it.
    """
    parts = [_head(report), _goals(report), _behind(report), _peers(report)]
    parts += [_model(model, report) for model in report["models"]]
    return "\n\n".join(parts) + "\n"


def _head(report: dict[str, Any]) -> str:
    machine = report["machine"]
    quick = "**A quick run. It shows that everything runs; do not use its numbers.**\n\n" if report["quick"] else ""
    kernels, minutes = _kernels(report), f"{report['minutes']:.0f}"
    return f"""# Peers

{quick}    {report["command"]}

{machine["cpu"]} {machine["generation"]} ({machine["target"]}), {machine["cpus"]} CPUs, Python {machine["python"]};
{kernels}{report["threads"]} threads for every peer; {minutes} minutes. All numbers of one model come from one run.

- Every peer runs in its own processes: one makes the model file, some measure only the start, and one holds the loaded
  model and times blocks of calls. A round is one block of every peer, in a new random order. A block starts after the
  threads of the previous peer are idle. It has one untimed call, then at least three timed calls that take at least
  20 ms together. Calls of 0.3 s and more are timed one by one.
- **ms** is the median of all calls. **Ratio** is the time of {ours_of(report)} divided by the peer's: the median of the
  rounds' ratios (lower quartiles of blocks) with a 95 % interval, computed as in `bertedge bench`. Below 1, bertedge is
  faster.
- A call takes token ids and returns MLM logits at the masked positions (15 %) as a numpy array. Tokenization is not
  included. The table of peers lists what else a peer computes. bertedge is timed through its runtime, with its checks,
  grouping and copies.{_of_vectors(report)}
- **Sentences**: {report["sentences"]} sentences of `{report["text"]}` to mean-pooled vectors, with tokenization (one
  tokenizer for all). *Usual*: padded batches of 32 in the order of the text, all threads in one call. *Fastest*: sorted
  by length, batches of 32, one caller with one thread for each CPU. bertedge sorts and distributes a list itself. Its
  seconds are of batches of 32 in the first column and of the whole list in the second. Both ratios compare its time for
  the whole list, measured next to the peer's pass.
- **Cold start**: a fresh process imports, loads and makes one call. The start of Python is not included. Compilation is
  included where it is part of the first call. **Memory** is the peak of that process.
- **Fidelity** is measured against transformers' float32 on the same masked pairs, as `bertedge bench` does it."""


def _kernels(report: dict[str, Any]) -> str:
    """The kernels of the native engine, for reports that have it."""
    if "kernels" not in report:
        return ""
    found = report["kernels"]
    others = f"; it also has {', '.join(found[1:])}" if found[1:] else ""
    return f"the native engine runs the kernel {found[0]}{others};\n" if found else "the native engine is not built;\n"


def _of_vectors(report: dict[str, Any]) -> str:
    """About workloads that results made before the native engine do not have."""
    results = [result for model in report["models"] for result in model["results"].values()]
    if not any(workload.endswith(SUFFIX) for result in results for workload in result["ms"]):
        return ""
    return (
        f" Workloads with *{SUFFIX.strip(', ')}* return the mean of the last states of each text instead:\n"
        "  there every peer computes exactly the same, the encoder and the mean."
    )


def _goals(report: dict[str, Any]) -> str:
    heads = ["## Goals", "", "| model | work | row | to | goal | reached | |", "| --- |" + " --- |" * 6]
    return "\n".join([*heads, *(f"| {' | '.join(cells)} |" for cells in lines(report))])


def _behind(report: dict[str, Any]) -> str:
    found: list[str] = []
    for model in report["models"]:
        if ours_of(report) in model["results"]:
            found += [f"- {model['name']}, {words}" for words in (*_slower(model, report), *_dearer(model, report))]
    profile = "Time by operator: [Speed](speed.md#time-by-operator)."
    return "\n".join(["## Where bertedge is behind", "", *(found or ["Nowhere in this run."]), "", profile])


def _slower(model: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
    results: Results = model["results"]
    for what in [*results[ours_of(report)]["ms"], *WAYS]:
        for peer in results:
            ratio = None if peer.startswith("bertedge") else ratio_to(results, peer, what)
            if ratio is not None and ratio.value > 1:
                sure = "is faster" if ratio.n > 1 and ratio.low > 1 else "may be faster"
                yield f"{WAYS.get(what, what)}: {peer} {sure}, ratio {interval(ratio)}."


def _dearer(model: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
    """Costs, and what int8 loses."""
    results = {name: result for name, result in model["results"].items() if not name.startswith("bertedge")}
    int8 = {name for name in results if report["peers"][name]["int8"]}
    lower = [(what, cost.value, cost.unit, int8 if cost.of_int8 else set(results)) for what, cost in COSTS.items()]
    lower += [(name, partial(_metric, name), _short, int8) for name in ("mlm.kl_mean", "nsp.flip_rate")]
    for what, value, unit, compared in lower:
        own = value(model["results"][ours_of(report)])
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


def _peers(report: dict[str, Any]) -> str:
    versions: dict[str, dict[str, str]] = {}
    for model in report["models"]:
        for name, result in model["results"].items():
            versions.setdefault(name, {}).update(result["versions"])
    rows = ["## The peers", "", "| | how | beyond the encoder | versions |", "| --- |" + " --- |" * 3]
    for name, peer in report["peers"].items():
        found = ", ".join(f"{package} {version}" for package, version in versions.get(name, {}).items())
        rows.append(f"| {name} | {peer['how']} | {peer['words']} | {found or '-'} |")
    return "\n".join(rows)


def _model(model: dict[str, Any], report: dict[str, Any]) -> str:
    results: Results = model["results"]
    workloads = list(dict.fromkeys(work for result in results.values() for work in result["ms"]))
    ours = ours_of(report)
    parts = [f"## {model['name']}"]
    for of_vectors in (False, True):
        columns = [work for work in workloads if work.endswith(SUFFIX) == of_vectors]
        if columns:
            parts.append(_table(results, columns, lambda name, what: _time(results, name, what, ours)))
    parts.append(_table(results, list(COSTS), lambda name, cost: COSTS[cost].cell(results[name])))
    if any(result["seconds"] for result in results.values()):
        headers = ["usual: seconds, ratio", "fastest: seconds, ratio", "smallest cosine with PyTorch's vector"]
        parts.append(f"{report['sentences']} sentences; slow peers made fewer than {PASSES} passes.")
        parts.append(_table(results, headers, lambda name, header: _many(results, name, header, ours)))
    if model["real"]:
        parts.append(_table(results, list(FIDELITY), lambda name, metric: _fidelity(results[name], metric)))
    else:
        parts.append("The weights are random, so fidelity is not measured.")
    failures = [f"- {name}, {step}: {why}" for name, r in results.items() for step, why in r["failed"].items()]
    if failures:
        parts.append("\n".join(["Not run:", "", *failures]))
    return "\n\n".join(parts)


def _table(results: Results, columns: list[str], cell: Callable[[str, str], str]) -> str:
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(cell(name, column) for column in columns) + " |" for name in results]
    return "\n".join(lines)


def _time(results: Results, name: str, workload: str, ours: str) -> str:
    if workload not in results[name]["ms"]:
        return "not run"
    own, ratio = f"{results[name]['ms'][workload]:.2f}", ratio_to(results, name, workload)
    return own if ratio is None or name == ours else f"{own}, {interval(ratio)}"


def _many(results: Results, name: str, header: str, ours: str) -> str:
    if header.startswith("smallest"):
        return ", ".join(f"{value:.4f}" for value in dict.fromkeys(results[name]["cosine"].values())) or "-"
    strategy = header.split(":")[0]
    seconds, ratio = results[name]["seconds"].get(strategy), ratio_to(results, name, strategy)
    if seconds is None:
        return "not run"
    own = f"{seconds:.2f}"
    return own if ratio is None or (name, strategy) == (ours, "fastest") else f"{own}, {interval(ratio)}"


def _fidelity(result: dict[str, Any], metric: str) -> str:
    value = result["fidelity"].get(metric)
    if value is None:
        return "-"
    return f"{value['value']:.4g}" + (
        "" if value["low"] == value["high"] else f" ({value['low']:.4g} to {value['high']:.4g})"
    )
