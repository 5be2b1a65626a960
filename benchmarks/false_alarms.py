"""How often a verdict on latency is wrong: false alarms, and slower models that are not found.

``same`` judges a bundle by itself, measured in the same rounds, as ``bench --against`` does. ``10 % slower`` compares
ten calls in a row with eleven of the same work. ``runs`` judges a run by the run before, as ``bench --baseline`` does,
by the ratios to float. ``runs, 50 % slower`` has six calls in a row in the judged run and four in the run before.

Meanwhile other processes keep cores busy (``--busy``). Each trial is added to ``--results`` as a line of JSON. A trial
takes from five to thirty seconds, as one of the four workloads of ``bench``.

    python benchmarks/false_alarms.py --results alarms.jsonl
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bertedge.bundle import Bundle
from bertedge.checkpoint import BUILT_IN
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.evaluate.intervals import outcome_of, quotient
from bertedge.evaluate.latency import Workload
from bertedge.evaluate.machine_record import this_machine
from bertedge.evaluate.study import Effort, LatencyStudy, Opener
from bertedge.metric import MetricValue
from bertedge.predictor import Batch, Outputs, Predictor
from bertedge.progress import no_progress
from bertedge.quantization import export, quantize
from bertedge.runtime import load

#: Calls in a row that are timed as one: of the old and the new model in one run; of the new model in the next run.
TOGETHER = {"same": (1, 1), "10 % slower": (10, 11)}
RUNS = "runs"
APART = {RUNS: 4, "runs, 50 % slower": 6}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How much longer the new model took, with a 95 % interval."""

    mode: str
    change: MetricValue
    seconds: float


class Repeated:
    """A predictor that does the same work several times a call."""

    def __init__(self, inner: Predictor, times: int) -> None:
        self.name, self._inner, self._times = inner.name, inner, times

    def predict(self, batch: Batch) -> Outputs:
        """The last of several equal answers."""
        for _ in range(self._times - 1):
            self._inner.predict(batch)
        return self._inner.predict(batch)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all trials share."""

    int8: Path
    float32: Path
    options: argparse.Namespace

    def opener(self, folder: Path, times: int = 1) -> Opener:
        """Load a bundle, whose calls are repeated ``times`` times."""
        opened = partial(load, folder, threads=self.options.threads, check=False)
        return opened if times == 1 else lambda: Repeated(opened(), times)

    def ratios(
        self, openers: Sequence[Opener], enough: Callable[[list[MetricValue]], bool], seed: int
    ) -> list[MetricValue]:
        """The time of each model but the first over the first model's."""
        bundle, options = Bundle.open(self.int8, check=False), self.options
        layout = Layout.of(bundle.tokenizer, bundle.config.vocab_size)
        corpus = tokenize_corpus(default_text(), bundle.tokenizer)
        grid = [Workload(batch_size=1, seq_len=options.length)]
        effort = Effort(rounds=options.rounds, max_rounds=max(options.rounds, 400), seconds=options.seconds)
        study = LatencyStudy(openers, grid, corpus, layout, threads=options.threads, effort=effort, seed=seed)
        study.run(lambda reports: enough([own[0].ratio_to_reference for own in reports[1:]]), no_progress)
        return [own[0].ratio_to_reference for own in study.reports()[1:]]

    def decided(self, changes: Sequence[MetricValue]) -> bool:
        """Whether more rounds would change no verdict."""
        return all(outcome_of(change, self.options.budget) != "inconclusive" for change in changes)

    def together(self, mode: str, seed: int) -> Trial:
        """A bundle and itself in the same rounds."""
        start = time.monotonic()
        (change,) = self.ratios([self.opener(self.int8, times) for times in TOGETHER[mode]], self.decided, seed)
        return Trial(mode=mode, change=change, seconds=time.monotonic() - start)

    def apart(self, before: MetricValue | None, seed: int) -> tuple[list[Trial], MetricValue]:
        """A bundle's ratios to float by the ratio of the run before, if there was one; and the ratio for the next."""

        def changes(ratios: Sequence[MetricValue]) -> list[MetricValue]:
            return [quotient(ratio, before) for ratio in ratios] if before else []

        start = time.monotonic()
        openers = [self.opener(self.float32), *(self.opener(self.int8, times) for times in APART.values())]
        ratios = self.ratios(openers, lambda ratios: self.decided(changes(ratios)), seed)
        seconds = time.monotonic() - start
        judged = zip(APART, changes(ratios), strict=False)  # empty for the first run
        return [Trial(mode=mode, change=change, seconds=seconds) for mode, change in judged], ratios[0]


def main() -> None:
    """Run the trials, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("false_alarms.jsonl"))
    parser.add_argument("--same", type=int, default=50)
    parser.add_argument("--slower", type=int, default=20)
    parser.add_argument("--runs", type=int, default=0, help="runs that are judged by the run before")
    parser.add_argument("--length", type=int, default=16, help="tokens of the text")
    parser.add_argument("--threads", type=int, default=1, help="of a call")
    parser.add_argument("--seconds", type=float, default=30.0, help="no round of a trial begins that would end later")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--budget", type=float, default=1.05, help="rounds are added until it is decided")
    parser.add_argument("--budgets", type=float, nargs="*", default=[], help="more budgets to judge the trials by")
    parser.add_argument("--busy", type=int, default=1, help="processes that keep a core busy")
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    machine = this_machine()
    conditions = {
        **{name: getattr(options, name) for name in ("threads", "length", "busy", "budget", "rounds", "seconds")},
        "machine": f"{machine.cpu} {machine.generation}, {machine.cpus} CPUs",
        "versions": f"bertedge {machine.bertedge}, onnxruntime {machine.onnxruntime}",
    }
    done: list[Trial] = []
    with tempfile.TemporaryDirectory() as scratch, busy(options.busy):
        float32, int8 = Path(scratch) / "float32", Path(scratch) / "int8"
        export(BUILT_IN[0], float32)
        quantize(BUILT_IN[0], int8)
        for trial in trials(Setting(int8=int8, float32=float32, options=options)):
            done.append(trial)
            with options.results.open("a") as file:
                file.write(json.dumps({**asdict(trial), "conditions": conditions}) + "\n")
            change = trial.change
            print(f"{trial.mode}: {change.value:.3f} ({change.low:.3f} to {change.high:.3f})", flush=True)
    print(", ".join(f"{name} {value}" for name, value in conditions.items()))
    print(table(done, list(dict.fromkeys((options.budget, *options.budgets)))))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that do nothing but use a core."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(1)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def trials(setting: Setting) -> Iterator[Trial]:
    """All trials; the modes take turns, so that a disturbance of the machine meets all of them."""
    options = setting.options
    wanted = {**dict(zip(TOGETHER, (options.same, options.slower), strict=True)), RUNS: options.runs}
    counts, before, number = dict.fromkeys(wanted, 0), None, 0
    while left := [mode for mode in wanted if counts[mode] < wanted[mode]]:
        mode, number = min(left, key=lambda mode: counts[mode] / wanted[mode]), number + 1
        if mode == RUNS:
            made, before = setting.apart(before, number)
        else:
            made = [setting.together(mode, number)]
        counts[mode] += bool(made)
        yield from made


def table(rows: Sequence[Trial], budgets: Sequence[float]) -> str:
    """Outcomes of each mode by each budget."""
    heads = "trials", "budget", "pass", "fail", "inconclusive", "median ratio", "largest", "median width", "rounds, s"
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for mode in dict.fromkeys(trial.mode for trial in rows):
        own = [trial.change for trial in rows if trial.mode == mode]
        seconds = float(np.median([trial.seconds for trial in rows if trial.mode == mode]))
        largest = max(own, key=lambda change: change.value)
        ratio, width = (float(np.median(values)) for values in ([c.value for c in own], [c.high - c.low for c in own]))
        for budget in budgets:
            outcomes = [outcome_of(change, budget) for change in own]
            counts = [str(outcomes.count(outcome)) for outcome in ("pass", "fail", "inconclusive")]
            cells = [f"{mode}, {len(own)}", f"{budget:g}", *counts, f"{ratio:.2f}"]
            cells += [f"{largest.value:.2f} ({largest.low:.2f} to {largest.high:.2f})", f"{width:.3f}"]
            lines.append("| " + " | ".join([*cells, f"{np.median([c.n for c in own]):.0f}, {seconds:.1f}"]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
