"""How often the gate cries wolf, and how often it sees one: verdicts on latency while another process loads a core.

``same`` judges a bundle by itself, measured in the same rounds, as ``bench --against`` does. ``slower`` does so with
ten calls in a row against eleven: 10 % more of the very same work. ``runs`` judges one run by the run before, as
``bench --baseline`` does: a bundle's ratio to float by its ratio in another run.

Every trial is a line of ``--results``; what was interrupted goes on where it ended. A trial takes from five to thirty
seconds, as long as ``bench`` takes at most for one of its four workloads before it leaves a verdict open.

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
from bertedge.evaluate.intervals import quotient
from bertedge.evaluate.latency import Workload
from bertedge.evaluate.machine import this_machine
from bertedge.evaluate.metrics import MetricValue
from bertedge.evaluate.stability import Snapshot, stability
from bertedge.evaluate.study import Effort, LatencyStudy, Opener
from bertedge.predictor import Batch, Outputs, Predictor
from bertedge.progress import unheard
from bertedge.quantization import export, quantize
from bertedge.report.verdict import outcome_of
from bertedge.runtime import load

BUSY = "while True: pass"
#: Calls in a row that are timed as one: of the old and of the new.
CALLS = {"same": (1, 1), "slower": (10, 11)}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One verdict; ``others`` is the share of the CPU time that other processes used."""

    mode: str
    outcome: str
    value: float
    low: float
    high: float
    rounds: int
    seconds: float
    others: float | None


class Repeated:
    """A predictor that does the same thing several times a call."""

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
    length: int
    threads: int
    effort: Effort
    budget: float

    def opener(self, folder: Path, times: int = 1) -> Opener:
        """Load a bundle, to be called so many times a call."""
        opened = partial(load, folder, threads=self.threads, check=False)
        return opened if times == 1 else lambda: Repeated(opened(), times)

    def ratio(
        self, openers: Sequence[Opener], enough: Callable[[MetricValue], bool], seed: int
    ) -> tuple[MetricValue, float, float | None]:
        """The second model's time over the first's, the seconds it took, and the share of other processes."""
        bundle = Bundle.open(self.int8, check=False)
        layout = Layout.of(bundle.tokenizer, bundle.config.vocab_size)
        corpus = tokenize_corpus(default_text(), bundle.tokenizer)
        grid = [Workload(batch_size=1, seq_len=self.length)]
        study = LatencyStudy(openers, grid, corpus, layout, threads=self.threads, effort=self.effort, seed=seed)
        before = Snapshot.now()
        study.run(lambda reports: enough(reports[1][0].ratio_to_reference), unheard)
        reports = study.reports()
        weather = stability(before, Snapshot.now(), reports[0])
        return reports[1][0].ratio_to_reference, weather.seconds, weather.others

    def together(self, mode: str, old: int, new: int, seed: int) -> Trial:
        """A bundle beside itself, each called so many times a call."""

        def decided(ratio: MetricValue) -> bool:
            return outcome_of(ratio, self.budget) != "inconclusive"

        openers = [self.opener(self.int8, old), self.opener(self.int8, new)]
        return self.trial(mode, *self.ratio(openers, decided, seed))

    def apart(self, before: MetricValue | None, seed: int) -> tuple[Trial | None, MetricValue]:
        """A bundle's ratio to float by that of the run before, if there was one."""

        def decided(ratio: MetricValue) -> bool:
            return before is not None and outcome_of(quotient(ratio, before), self.budget) != "inconclusive"

        ratio, seconds, others = self.ratio([self.opener(self.float32), self.opener(self.int8)], decided, seed)
        return (self.trial("runs", quotient(ratio, before), seconds, others) if before else None), ratio

    def trial(self, mode: str, ratio: MetricValue, seconds: float, others: float | None) -> Trial:
        """The verdict."""
        return Trial(
            mode=mode,
            outcome=outcome_of(ratio, self.budget),
            value=ratio.value,
            low=ratio.low,
            high=ratio.high,
            rounds=ratio.n,
            seconds=seconds,
            others=others,
        )


def main() -> None:
    """Run what is not in the results yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("false_alarms.jsonl"))
    parser.add_argument("--same", type=int, default=50)
    parser.add_argument("--slower", type=int, default=20)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--length", type=int, default=16, help="tokens of the text")
    parser.add_argument("--threads", type=int, default=1, help="of a call")
    parser.add_argument("--seconds", type=float, default=30.0, help="no round of a trial begins that would end later")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--budget", type=float, default=1.05)
    parser.add_argument("--busy", type=int, default=1, help="processes that load a core meanwhile")
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    effort = Effort(rounds=options.rounds, max_rounds=max(options.rounds, 400), seconds=options.seconds)
    with tempfile.TemporaryDirectory() as scratch, busy(options.busy):
        float32, int8 = Path(scratch) / "float32", Path(scratch) / "int8"
        export(BUILT_IN[0], float32)
        quantize(BUILT_IN[0], int8)
        setting = Setting(
            int8=int8,
            float32=float32,
            length=options.length,
            threads=options.threads,
            effort=effort,
            budget=options.budget,
        )
        wanted = {"same": options.same, "slower": options.slower, "runs": options.runs}
        for trial in trials(setting, wanted, options.results):
            with options.results.open("a") as file:
                file.write(json.dumps(asdict(trial)) + "\n")
            print(f"{trial.mode}: {trial.outcome}, {trial.value:.3f} ({trial.low:.3f} to {trial.high:.3f})", flush=True)
    machine = this_machine()
    where = f"{machine.cpu} {machine.generation}, {machine.cpus} CPUs, {options.busy} busy"
    print(f"\n{where}; {options.threads} threads a call, allowed {options.budget}\n")
    print(table(done(options.results)))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that do nothing but use the processor."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        time.sleep(1)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def trials(setting: Setting, wanted: dict[str, int], results: Path) -> Iterator[Trial]:
    """The trials that are missing; the kinds take turns, so that every kind sees every mood of the machine."""
    counts = {mode: sum(trial.mode == mode for trial in done(results)) for mode in wanted}
    before: MetricValue | None = None
    number = sum(counts.values())
    while any(counts[mode] < wanted[mode] for mode in wanted):
        mode = min((m for m in wanted if counts[m] < wanted[m]), key=lambda m: counts[m] / wanted[m])
        number += 1
        if mode == "runs":
            trial, before = setting.apart(before, number)
            if trial is None:
                continue
        else:
            trial = setting.together(mode, *CALLS[mode], number)
        counts[mode] += 1
        yield trial


def done(results: Path) -> list[Trial]:
    """What is in the file."""
    lines = results.read_text().splitlines() if results.exists() else []
    return [Trial(**json.loads(line)) for line in lines]


def table(rows: Sequence[Trial]) -> str:
    """Outcomes of each kind."""
    lines = [
        "| trials | pass | fail | inconclusive | median ratio | median width | median rounds | median seconds |",
        "| --- " * 8 + "|",
    ]
    for mode in dict.fromkeys(trial.mode for trial in rows):
        own = [trial for trial in rows if trial.mode == mode]
        counts = [sum(trial.outcome == outcome for trial in own) for outcome in ("pass", "fail", "inconclusive")]
        middle = [
            float(np.median([pick(trial) for trial in own]))
            for pick in (lambda t: t.value, lambda t: t.high - t.low, lambda t: t.rounds, lambda t: t.seconds)
        ]
        cells = [f"{mode}, {len(own)}", *map(str, counts), *(f"{number:.3g}" for number in middle)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
