"""How often the gate cries wolf, and how often it sees one: verdicts on latency while another process loads a core.

``same`` judges a bundle by itself, measured in the same rounds, as ``bench --against`` does; ``10 % slower`` does so
with ten calls in a row against eleven, of the very same work. ``runs`` judges one run by the run before, as
``bench --baseline`` does, a bundle's ratio to float by its ratio in another run; ``runs, 50 % slower`` has six calls
in the run that is judged for four in the run before.

Every trial is a line of ``--results`` with what it was made under; what was interrupted goes on where it ended, and
trials of other settings or machines are rows of their own. A trial takes from five to thirty seconds, as long as
``bench`` takes at most for one of its four workloads before it leaves a verdict open.

    python benchmarks/false_alarms.py --results alarms.jsonl
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from bertedge.errors import FileError
from bertedge.evaluate.intervals import outcome_of, quotient
from bertedge.evaluate.latency import Workload
from bertedge.evaluate.machine_record import this_machine
from bertedge.evaluate.stability import Snapshot, stability
from bertedge.evaluate.study import Effort, LatencyStudy, Opener
from bertedge.metric import MetricValue
from bertedge.predictor import Batch, Outputs, Predictor
from bertedge.progress import no_progress
from bertedge.quantization import export, quantize
from bertedge.records import from_json
from bertedge.runtime import load

BUSY = "while True: pass"
#: Calls in a row that are timed as one, of the old and of the new, within a run; and of the new in the next run.
TOGETHER = {"same": (1, 1), "10 % slower": (10, 11)}
RUNS = "runs"
APART = {RUNS: 4, "runs, 50 % slower": 6}


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a trial was made under, and what tells it from others of its kind.

    Attributes:
        budget: rounds were added until it was decided, or ``seconds`` were over.
        rounds: at least.
        busy: processes that loaded a core meanwhile.
    """

    machine: str
    versions: str
    threads: int
    length: int
    busy: int
    budget: float
    rounds: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How much longer the new one took, with a 95 % interval; whether that fails, a budget says.

    Attributes:
        others: share of the CPU time that other processes used.
    """

    mode: str
    conditions: Conditions
    value: float
    low: float
    high: float
    rounds: int
    seconds: float
    others: float | None

    def outcome(self, budget: float) -> str:
        """The verdict."""
        return outcome_of(MetricValue(value=self.value, low=self.low, high=self.high, n=self.rounds), budget)


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
    conditions: Conditions
    effort: Effort

    def opener(self, folder: Path, times: int = 1) -> Opener:
        """Load a bundle, to be called so many times a call."""
        opened = partial(load, folder, threads=self.conditions.threads, check=False)
        return opened if times == 1 else lambda: Repeated(opened(), times)

    def ratios(
        self, openers: Sequence[Opener], enough: Callable[[list[MetricValue]], bool], seed: int
    ) -> tuple[list[MetricValue], float, float | None]:
        """The time of each but the first over the first's, the seconds it took, and the share of other processes."""
        bundle, threads = Bundle.open(self.int8, check=False), self.conditions.threads
        layout = Layout.of(bundle.tokenizer, bundle.config.vocab_size)
        corpus = tokenize_corpus(default_text(), bundle.tokenizer)
        grid = [Workload(batch_size=1, seq_len=self.conditions.length)]
        study = LatencyStudy(openers, grid, corpus, layout, threads=threads, effort=self.effort, seed=seed)
        before = Snapshot.now()
        study.run(lambda reports: enough([own[0].ratio_to_reference for own in reports[1:]]), no_progress)
        reports = study.reports()
        weather = stability(before, Snapshot.now(), reports[0])
        return [own[0].ratio_to_reference for own in reports[1:]], weather.seconds, weather.others

    def decided(self, changes: Sequence[MetricValue]) -> bool:
        """Whether more rounds would change no verdict."""
        return all(outcome_of(change, self.conditions.budget) != "inconclusive" for change in changes)

    def together(self, mode: str, seed: int) -> Trial:
        """A bundle beside itself, each called so many times a call."""
        openers = [self.opener(self.int8, times) for times in TOGETHER[mode]]
        (change,), seconds, others = self.ratios(openers, self.decided, seed)
        return self.trial(mode, change, seconds, others)

    def apart(self, before: MetricValue | None, seed: int) -> tuple[list[Trial], MetricValue]:
        """A bundle's ratios to float by that of the run before, if there was one; and what the next is judged by."""

        def changes(ratios: Sequence[MetricValue]) -> list[MetricValue]:
            return [quotient(ratio, before) for ratio in ratios] if before else []

        openers = [self.opener(self.float32), *(self.opener(self.int8, times) for times in APART.values())]
        ratios, seconds, others = self.ratios(openers, lambda ratios: self.decided(changes(ratios)), seed)
        judged = zip(APART, changes(ratios), strict=False)  # nothing by the first run
        return [self.trial(mode, change, seconds, others) for mode, change in judged], ratios[0]  # RUNS

    def trial(self, mode: str, change: MetricValue, seconds: float, others: float | None) -> Trial:
        """What is kept of it."""
        return Trial(
            mode=mode,
            conditions=self.conditions,
            value=change.value,
            low=change.low,
            high=change.high,
            rounds=change.n,
            seconds=seconds,
            others=others,
        )


def main() -> None:
    """Run what is not in the results yet, and print the table."""
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
    parser.add_argument("--budgets", type=float, nargs="*", default=[], help="others to judge the same trials by")
    parser.add_argument("--busy", type=int, default=1, help="processes that load a core meanwhile")
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    effort = Effort(rounds=options.rounds, max_rounds=max(options.rounds, 400), seconds=options.seconds)
    machine = this_machine()
    conditions = Conditions(
        machine=f"{machine.cpu} {machine.generation}, {machine.cpus} CPUs",
        versions=f"bertedge {machine.bertedge}, onnxruntime {machine.onnxruntime}",
        threads=options.threads,
        length=options.length,
        busy=options.busy,
        budget=options.budget,
        rounds=options.rounds,
        seconds=options.seconds,
    )
    with tempfile.TemporaryDirectory() as scratch, busy(options.busy):
        float32, int8 = Path(scratch) / "float32", Path(scratch) / "int8"
        export(BUILT_IN[0], float32)
        quantize(BUILT_IN[0], int8)
        setting = Setting(int8=int8, float32=float32, conditions=conditions, effort=effort)
        wanted = dict(zip(TOGETHER, (options.same, options.slower), strict=True)) | {RUNS: options.runs}
        for trial in trials(setting, wanted, options.results):
            with options.results.open("a") as file:
                file.write(json.dumps(asdict(trial)) + "\n")
            print(f"{trial.mode}: {trial.value:.3f} ({trial.low:.3f} to {trial.high:.3f})", flush=True)
    print(report(done(options.results), options.budgets))


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
    own = [trial for trial in done(results) if trial.conditions == setting.conditions]
    counts = {mode: sum(trial.mode == mode for trial in own) for mode in wanted}
    before: MetricValue | None = None
    number = sum(counts.values())
    while any(counts[mode] < wanted[mode] for mode in wanted):
        mode = min((m for m in wanted if counts[m] < wanted[m]), key=lambda m: counts[m] / wanted[m])
        number += 1
        if mode == RUNS:
            made, before = setting.apart(before, number)
        else:
            made = [setting.together(mode, number)]
        counts[mode] += bool(made)
        yield from made


def done(results: Path) -> list[Trial]:
    """What is in the file."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    try:
        return [from_json(Trial, json.loads(line), f"{results.name}:{number}") for number, line in enumerate(lines, 1)]
    except (FileError, ValueError) as error:
        sys.exit(f"{error}\n{results} is not of this script as it is: move it away")


def report(rows: Sequence[Trial], budgets: Sequence[float]) -> str:
    """A table for each machine and setting.

    Args:
        budgets: to judge the trials by, beside the one that they were made for.
    """
    parts = []
    for conditions in dict.fromkeys(trial.conditions for trial in rows):
        own = [trial for trial in rows if trial.conditions == conditions]
        words = f"{conditions.machine}, {conditions.busy} busy; {conditions.threads} threads a call"
        words += f", {conditions.length} tokens; {conditions.versions}"
        words += f"; {conditions.rounds} rounds, {conditions.seconds:g} s at most"
        parts += [words, table(own, dict.fromkeys((conditions.budget, *budgets)))]
    return "\n\n".join(parts)


def table(rows: Sequence[Trial], budgets: Iterable[float]) -> str:
    """Outcomes of each kind by each budget."""
    heads = "trials", "budget", "pass", "fail", "inconclusive", "median ratio", "largest", "median width", "rounds, s"
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for mode in dict.fromkeys(trial.mode for trial in rows):
        own = [trial for trial in rows if trial.mode == mode]
        largest = max(own, key=lambda trial: trial.value)
        ratio, width, rounds, seconds = (
            float(np.median([pick(trial) for trial in own]))
            for pick in (lambda t: t.value, lambda t: t.high - t.low, lambda t: t.rounds, lambda t: t.seconds)
        )
        for budget in budgets:
            outcomes = [trial.outcome(budget) for trial in own]
            counts = [str(outcomes.count(outcome)) for outcome in ("pass", "fail", "inconclusive")]
            cells = [f"{mode}, {len(own)}", f"{budget:g}", *counts, f"{ratio:.2f}"]
            cells += [f"{largest.value:.2f} ({largest.low:.2f} to {largest.high:.2f})", f"{width:.3f}"]
            lines.append("| " + " | ".join([*cells, f"{rounds:.0f}, {seconds:.1f}"]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
