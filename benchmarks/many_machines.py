"""How the speed of a job grows with its workers, and what a million texts cost.

    python benchmarks/many_machines.py [MODEL ...] [--price 0.05] [--idle 0.05] [--seconds 3] [--rounds 9] [--no-ray]

MODEL is a bundle, or else a model, which is quantized here by the default recipe (default: bertedge-small-en). Workers
have one thread each and embed the sentences of the calibration text, over and over.

Processes: two of them are started and have loaded the bundle; in each round one works for some seconds, then both do,
or the other way round. On Ray, if it is installed: ``examples/ray_embed.py`` reads Parquet files of the sentences and
writes their vectors, with one and with two workers; sentences are counted while all workers are at work, and so is the
CPU time that other processes take: those of Ray read, write and pass on the rows. A machine needs two idle cores for
this. Prints Markdown: what was measured, and for each model what that means for 1 to 1,000
cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from peers.goals import interval

from bertedge import BundleMapper
from bertedge.checkpoint import BUILT_IN
from bertedge.data.calibration import default_text
from bertedge.evaluate.latency import paired_ratio
from bertedge.manifest import MANIFEST
from bertedge.metric import MetricValue

ROOT = Path(__file__).resolve().parents[1]
#: Two workers have to do so many times the work of one.
GOAL = 1.8
WORKERS = (1, 2)
BATCH = 1024
#: What a worker on Ray notes about a batch: its process, when it began and ended, the CPU time of the process then.
NOTED = ("worker", "began", "ended", "cpu")
CORES = (1, 2, 8, 64, 256, 1000)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Sentences a second of one and of two workers.

    Attributes:
        one, two: a number for each round.
        start: seconds from the start of a worker's process to its first answer; None where it was not measured.
        others: the cores that other processes of the machine took next to two workers; None where it was not measured.
    """

    model: str
    way: str
    one: list[float]
    two: list[float]
    start: float | None = None
    others: float | None = None

    @property
    def ratio(self) -> MetricValue:
        """Two workers to one."""
        return paired_ratio(np.array(self.two), np.array(self.one))

    @property
    def a_core(self) -> float:
        """Sentences a second of one worker that is alone."""
        return statistics.median(self.one)


def sentences() -> list[str]:
    """The calibration text's."""
    lines = default_text().read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip()]


def serve(bundle: str, started: float, orders: Connection) -> None:
    """What a worker process does: it embeds for as many seconds as it is told, and says how many sentences a second."""
    mapper = BundleMapper(bundle, column="text", threads=1)
    texts = np.array(sentences(), object)
    mapper({"text": texts[:BATCH]})
    orders.send(time.monotonic() - started)
    while (seconds := orders.recv()) is not None:
        begin, count = time.monotonic(), 0
        while time.monotonic() < begin + seconds:
            count += len(mapper({"text": texts[:BATCH]})["embedding"])
        orders.send(count / (time.monotonic() - begin))


def of_processes(bundle: Path, *, rounds: int, seconds: float) -> Measured:
    """One process alone, and two at the same time; the order alternates."""
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for _ in range(max(WORKERS)):
        mine, theirs = context.Pipe()
        process = context.Process(target=serve, args=(str(bundle), time.monotonic(), theirs), daemon=True)
        process.start()
        ends.append(mine)
        processes.append(process)
    starts = [end.recv() for end in ends]
    found: dict[int, list[float]] = {count: [] for count in WORKERS}
    for number in range(rounds):
        for count in WORKERS if number % 2 else reversed(WORKERS):
            chosen = ends[:count] if number % 4 < 2 else ends[-count:]
            for end in chosen:
                end.send(seconds)
            found[count].append(sum(end.recv() for end in chosen))
    for end in ends:
        end.send(None)
    for process in processes:
        process.join()
    return Measured(model=bundle.name, way="processes", one=found[1], two=found[2], start=statistics.median(starts))


@contextmanager
def cluster() -> Iterator[Any]:
    """Ray on this machine alone, and the example; its own tasks get a CPU of their own, which need not exist."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray

    spec = util.spec_from_file_location("ray_embed", ROOT / "examples" / "ray_embed.py")
    assert spec is not None
    assert spec.loader is not None
    example = util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init(address="local", num_cpus=max(WORKERS) + 1, _node_ip_address="127.0.0.1", _temp_dir=folder, **quiet)
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            yield example
        finally:
            ray.shutdown()


def on_ray(bundle: Path, a_core: float, example: Any, *, rounds: int, seconds: float) -> Measured:
    """Jobs of one and of two workers, each of so many sentences that they work for some seconds."""
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in WORKERS}
    for number in range(rounds):
        for count in WORKERS if number % 2 else reversed(WORKERS):
            found[count].append(_ray_job(bundle, int(a_core * seconds * count), count, example))
    one, two = ([speed for speed, _ in found[count]] for count in WORKERS)
    others = statistics.median(cores for _, cores in found[2])
    return Measured(model=bundle.name, way="Ray", one=one, two=two, others=others)


def _ray_job(bundle: Path, rows: int, workers: int, example: Any) -> tuple[float, float]:
    """Sentences a second of a job, while all of its workers are at work, and the cores that other processes take."""
    import pyarrow as pa
    from pyarrow import parquet

    class Timed(BundleMapper):
        """Also says when a batch began and ended, in which process, and what CPU time that had taken by then."""

        def __call__(self, batch: Any) -> Any:
            began = time.monotonic()
            done = super().__call__(batch)
            ended = time.monotonic()
            for name, value in zip(NOTED, (os.getpid(), began, ended, time.process_time()), strict=True):
                done = done.append_column(name, pa.array([value] * len(done)))
            return done

    texts = sentences()
    with tempfile.TemporaryDirectory() as folder:
        table = pa.table({"text": [texts[row % len(texts)] for row in range(max(rows, 4 * workers * BATCH))]})
        parquet.write_table(table, f"{folder}/texts.parquet")
        example.BundleMapper = Timed
        words = [f"{folder}/texts.parquet", "--bundle", str(bundle), "--output", f"{folder}/vectors"]
        with MachineTime() as machine:
            example.main([*words, "--column", "text", "--workers", str(workers), "--batch-size", str(BATCH)])
        table = parquet.read_table(f"{folder}/vectors", columns=list(NOTED))
    worker, began, ended, cpu = (table[name].to_numpy() for name in NOTED)
    begin, end = window(worker, ended)
    used = machine.between(begin, end) - cpu_between(worker, ended, cpu, begin, end)
    return rate(began, ended, begin, end), used / (end - begin)


class MachineTime:
    """Notes, from a thread of its own, the CPU time that all processes of the machine have taken."""

    def __enter__(self) -> MachineTime:
        self._noted: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._note)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> float:
        """Seconds of CPU time between two moments of ``time.monotonic``."""
        moments, used = zip(*self._noted, strict=True)
        return float(np.diff(np.interp([begin, end], moments, used))[0])

    def _note(self) -> None:
        while not self._over.wait(0.1):
            ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split()[1:8]]
            used = sum(ticks) - ticks[3] - ticks[4]  # without idle CPUs, and those that wait for a disk
            self._noted.append((time.monotonic(), used / os.sysconf("SC_CLK_TCK")))


def window(worker: np.ndarray, ended: np.ndarray) -> tuple[float, float]:
    """From when every worker has answered its first batch until one has answered its last.

    Args:
        worker, ended: of the batch of each row, (N,).
    """
    own = [ended[worker == one] for one in np.unique(worker)]
    return max(times.min() for times in own), min(times.max() for times in own)


def rate(began: np.ndarray, ended: np.ndarray, begin: float, end: float) -> float:
    """Rows a second between two moments.

    Args:
        began, ended: of the batch of each row, (N,).
    """
    inside = np.clip(np.minimum(ended, end) - np.maximum(began, begin), 0, None) / (ended - began)
    return float(inside.sum() / (end - begin))


def cpu_between(worker: np.ndarray, ended: np.ndarray, cpu: np.ndarray, begin: float, end: float) -> float:
    """Seconds of CPU time of all workers between two moments.

    Args:
        worker, ended, cpu: of the batch of each row, (N,); the CPU time is that of the worker when the batch ended.
    """
    used = 0.0
    for one in np.unique(worker):
        moments, place = np.unique(ended[worker == one], return_index=True)
        used += float(np.diff(np.interp([begin, end], moments, cpu[worker == one][place]))[0])
    return used


def measured_rows(found: list[Measured]) -> Iterator[str]:
    """A row for each model and way."""
    heads = ["model", "workers are", "one: sentences/s", "two", "two to one", f"goal {GOAL}", "start of a worker"]
    heads += ["other processes take"]
    yield f"| {' | '.join(heads)} |"
    yield "| --- |" + " --- |" * (len(heads) - 1)
    for one in found:
        ratio = one.ratio
        cells = [one.model, one.way, f"{one.a_core:,.0f}", f"{statistics.median(one.two):,.0f}", interval(ratio)]
        cells += ["met" if ratio.value >= GOAL else "**not met**", "" if one.start is None else f"{one.start:.2f} s"]
        cells += ["" if one.others is None else f"{one.others:.2f} cores"]
        yield f"| {' | '.join(cells)} |"


def kept(one: Measured, cores: int, idle: float) -> float:
    """The share of its speed that a core keeps, next to others: never more than what was measured with two."""
    return 1.0 if cores == 1 else min(1.0, one.ratio.value / 2) * (1 - idle)


def reckoned(one: Measured, *, price: float, idle: float) -> Iterator[str]:
    """What is assumed and what was measured, and the table that follows from it."""
    yield f"**{one.model}**, reckoned. Assumed: ${price:g} for a core and hour, and from two cores on, workers wait"
    yield f"{idle:.0%} of the time. Measured: a core keeps {kept(one, 2, 0):.0%} of its speed next to another one, and"
    yield f"a worker starts in {one.start or 0:.2f} s, which costs as well. The last column is that of a billion.\n"
    yield from reckoned_rows(one, price=price, idle=idle)


def reckoned_rows(one: Measured, *, price: float, idle: float) -> Iterator[str]:
    """What a measured speed means for more cores.

    Args:
        price: dollars for a core and hour.
        idle: the share of the time in which workers wait, for files, for each other, and for the last one to end.
    """
    heads = ["cores", "sentences/s", "a million take", "a billion take", "a million cost", "a billion cost"]
    heads += ["sentences for a dollar"]  # of a billion: there the start no longer counts
    yield f"| {' | '.join(heads)} |"
    yield "| --- |" + " --- |" * (len(heads) - 1)
    for cores in CORES:
        speed = one.a_core * cores * kept(one, cores, idle)
        seconds = [count / speed + (one.start or 0) for count in (1e6, 1e9)]
        dollars = [price * cores * each / 3600 for each in seconds]
        cells = [f"{cores:,}", f"{speed:,.0f}", *map(duration, seconds), f"${dollars[0]:.4f}", f"${dollars[1]:.2f}"]
        yield f"| {' | '.join([*cells, f'{1e9 / dollars[1]:,.0f}'])} |"


def duration(seconds: float) -> str:
    """Seconds in the unit that people would use."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} seconds"


def _bundle(model: str, folder: Path) -> Path:
    if (Path(model) / MANIFEST).is_file():
        return Path(model)
    from bertedge.quantization import quantize

    return quantize(model, folder / Path(model).name).folder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=[BUILT_IN[0]])
    parser.add_argument("--price", type=float, default=0.05, help="dollars for a core and hour, an assumption")
    parser.add_argument("--idle", type=float, default=0.05, help="the share of time that workers wait, an assumption")
    parser.add_argument("--seconds", type=float, default=3.0, help="of work in a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ray-rounds", type=int, default=3)
    parser.add_argument("--no-ray", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundles = [_bundle(model, Path(folder)) for model in options.models]
        found = [of_processes(one, rounds=options.rounds, seconds=options.seconds) for one in bundles]
        plain = list(found)
        if util.find_spec("ray") and not options.no_ray:
            with cluster() as example:
                how = {"rounds": options.ray_rounds, "seconds": 4 * options.seconds}
                found += [on_ray(one, own.a_core, example, **how) for one, own in zip(bundles, plain, strict=True)]
    print("\n".join(measured_rows(found)))
    words = statistics.mean(len(sentence.split()) for sentence in sentences())
    print(
        f"\nSentences have {words:.0f} words on average. Workers have one thread. Speeds are medians of the rounds.\n"
    )
    for one in plain:
        print("\n".join(reckoned(one, price=options.price, idle=options.idle)) + "\n")


if __name__ == "__main__":
    main()
