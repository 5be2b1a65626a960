"""Measure the server next to a plain one of FastAPI and sentence-transformers (ONNX int8), and with too many requests.

    python benchmarks/serve_load.py [MODEL ...] [--seconds 5] [--rounds 6] [--clients 1,8,64] [--text FILE] [--no-peer]
    python benchmarks/serve_load.py --soak MINUTES [MODEL ...]

Each server has one core with one thread, and the requests come from another core. A request is one line of the text,
or a sentence of the built-in calibration text. Both servers of a model are measured in turn, ``--rounds`` times, while
the other one stands still (SIGSTOP). Prints Markdown:

- answers a second and their times with so many clients, of which each waits for its answer: medians of the rounds, and
  the medians of the rounds' ratios with 95 % intervals;
- four times as many requests as the server answers with the most clients: what it accepts, and how long that takes, in
  turn with rounds of the most clients.

``--soak`` measures nothing of this. It mixes requests that are good, broken or given up, with reloads, for so long, and
compares each answer with what Python answers; see ``serve_soak.py``.

Ends with exit code 1 if a goal is missed: with the most clients twice the answers of the plain server, in half the time
(99th percentile); with too many requests at most three times the time, and only 200 and 429. Also if the process that
sends requests was busy for more than 80 % of the time, or sent fewer than it should have. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from load_client import TEXT, sentences
from measuring import show
from numpy.typing import NDArray

from bertedge.checkpoint import BUILT_IN, locate
from bertedge.evaluate.latency import paired_ratio
from bertedge.metric import MetricValue
from bertedge.quantization import quantize

HERE = Path(__file__).resolve().parent
#: Goals: answers a second and the 99th percentile as ratios to the plain server; the percentile under overload.
ANSWERS, LATE, OVERLOAD = 2.0, 0.5, 3.0
#: The largest part of a round in which the process that sends requests may compute, and the part of the requests that
#: it must have sent.
BUSY, NEARLY = 0.8, 0.95
#: How many times what a server can answer is sent to it.
TOO_MANY = 4
START_S = 180
#: Seconds of requests that are not counted.
WARMUP_S = 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came back from a server in one round.

    Attributes:
        statuses: status -> answers.
        rate: answers with the status 200, a second.
        offered: the part that was sent of the requests that should have been.
        half, late: the 50th and 99th percentiles of the answers' times, in milliseconds.
        busy: the part of the time in which the process that sent requests computed.
    """

    sent: int
    statuses: dict[int, int]
    rate: float
    offered: float
    half: float
    late: float
    busy: float


class Rounds:
    """Rounds of one server under one load."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._all: list[Measured] = []

    def add(self, one: Measured) -> None:
        self._all.append(one)

    def median(self, what: str) -> float:
        return float(np.median(self._each(what)))

    def ratio(self, what: str, other: Rounds) -> MetricValue:
        """The median of the rounds' ratios to those of another server or load."""
        return paired_ratio(self._each(what), other._each(what))

    def count(self, *statuses: int) -> int:
        """Answers with one of these statuses."""
        return sum(one.statuses.get(status, 0) for one in self._all for status in statuses)

    @property
    def sent(self) -> int:
        return sum(one.sent for one in self._all)

    def cells(self) -> str:
        return f"{self.median('rate'):,.0f} | {self.median('half'):.1f} | {self.median('late'):.1f}"

    def sound(self) -> bool:
        """Whether the rounds measured the server, not the process that sends requests. Tells if not."""
        busy = max(one.busy for one in self._all)
        if busy > BUSY:
            print(f"\n{self.name}: the process that sends requests was busy for {busy:.0%} of a round.\n")
        offered = min(one.offered for one in self._all)
        if offered < NEARLY:
            print(f"\n{self.name}: only {offered:.0%} of a round's requests were sent.\n")
        return busy <= BUSY and offered >= NEARLY

    def _each(self, what: str) -> NDArray[np.float64]:
        return np.array([getattr(one, what) for one in self._all])


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[BUILT_IN[0]])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    options = parser.parse_args()
    counts = [int(count) for count in options.clients.split(",")]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        bundles = {}
        for model in options.models:
            bundles[model] = Path(folder) / f"{Path(model).name}.int8"
            quantize(model, bundles[model])
        if options.soak is not None:
            from serve_soak import soak

            with own_server(*bundles.values()) as server:
                return int(not soak(server, list(bundles.values()), sentences(options.text), options.soak))
        for model, bundle in bundles.items():
            print(f"\n### {Path(model).name}\n", flush=True)
            plain = None if options.no_peer else plain_folder(model, bundle.with_suffix(".plain"))
            good &= compare(bundle, plain, counts, Load(options.text, options.seconds), options.rounds)
    return int(not good)


def compare(bundle: Path, plain: Path | None, counts: Sequence[int], load: Load, rounds: int) -> bool:
    """Print the tables of a model; whether the goals are reached."""
    with own_server(bundle) as own:
        if plain is None:
            good = table([own], counts, load, rounds)
        else:
            with plain_server(plain) as other:
                good = table([own, other], counts, load, rounds)
        return overload(own, counts[-1], load, rounds) and good


def table(servers: Sequence[Server], counts: Sequence[int], load: Load, rounds: int) -> bool:
    """Measure and print; whether the goals are reached."""
    print("| clients | server | answers/s | p50, ms | p99, ms | answers, ratio | p99, ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for server in servers:
        Load(load.text, WARMUP_S).of(server, clients=counts[-1], among=servers)
    good = True
    for count in counts:
        found = {server.name: Rounds(server.name) for server in servers}
        for number in range(rounds):
            for server in servers if number % 2 else reversed(servers):
                found[server.name].add(load.of(server, clients=count, among=servers))
        own, *peers = found.values()
        for one in found.values():
            ratios = "1 | 1"
            if peers and one is own:
                answers, late = own.ratio("rate", peers[0]), own.ratio("late", peers[0])
                ratios = f"{show(answers, 2)} | {show(late, 2)}"
                good &= count != counts[-1] or (answers.value >= ANSWERS and late.value <= LATE)
            print(f"| {count} | {one.name} | {one.cells()} | {ratios} |", flush=True)
        for one in found.values():
            good &= one.sound()
            if wrong := one.sent - one.count(200):
                print(f"\n{one.name}: {wrong} answers had another status than 200.\n")
                good &= one is not own
    return good


def overload(server: Server, clients: int, load: Load, rounds: int) -> bool:
    """Print what happens with too many requests; whether the goal is reached."""
    usual, much = Rounds(server.name), Rounds(server.name)
    for _ in range(rounds):
        usual.add(load.of(server, clients=clients))
        much.add(load.of(server, rate=TOO_MANY * usual.median("rate")))
    late, refused = much.ratio("late", usual), much.count(429)
    others = much.sent - refused - much.count(200)
    asked = TOO_MANY * usual.median("rate")
    print(f"\nWith {asked:,.0f} requests a second ({TOO_MANY} times as many as it answers with {clients} clients):\n")
    print("| answers/s | p50, ms | p99, ms | p99 to that without overload | refused (429) | anything else |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(f"| {much.cells()} | {show(late, 2)} | {refused / much.sent:.0%} | {others} |", flush=True)
    return much.sound() and late.value <= OVERLOAD and not others and refused > 0


@dataclass(frozen=True)
class Load:
    """Requests that another process sends.

    Attributes:
        text: a file; each request is one of its lines.
        seconds: how long requests are sent.
    """

    text: Path
    seconds: float

    def of(
        self, server: Server, *, clients: int | None = None, rate: float | None = None, among: Sequence[Server] = ()
    ) -> Measured:
        """Send requests to a server. Others among those on its core stand still meanwhile."""
        how = ["--clients", str(clients)] if clients else ["--rate", str(rate)]
        how += ["--seconds", str(self.seconds), "--text", str(self.text)]
        words = [sys.executable, str(HERE / "load_client.py"), str(server.port), *how]
        others = [one for one in among if one is not server]
        for other in others:
            other.process.send_signal(signal.SIGSTOP)
        try:
            done = subprocess.run(words, preexec_fn=on_core(0), capture_output=True, text=True, check=True)
        finally:
            for other in others:
                other.process.send_signal(signal.SIGCONT)
        found: dict[str, Any] = json.loads(done.stdout)
        times = np.array(found["seconds"] or [np.nan]) * 1000
        return Measured(
            sent=found["sent"],
            statuses={int(status): count for status, count in found["statuses"].items()},
            rate=found["in_time"] / found["elapsed"],
            offered=found["sent"] / found["elapsed"] / rate if rate else 1.0,
            half=float(np.percentile(times, 50)),
            late=float(np.percentile(times, 99)),
            busy=found["busy"],
        )


def on_core(number: int) -> Any:
    """Called in a new process: it may only run on this core; on a machine with one, on that."""
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[number % len(cores)]})


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs."""

    name: str
    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def own_server(*bundles: Path) -> Iterator[Server]:
    """bertedge's server on the second core."""
    port = free_port()
    words = [sys.executable, "-m", "bertedge", "serve", *map(str, bundles), "--port", str(port), "--threads", "1"]
    with started("bertedge", [*words, "--no-request-log"], port) as server:
        yield server


@contextmanager
def plain_server(folder: Path) -> Iterator[Server]:
    """The plain server on the second core."""
    port = free_port()
    with started("plain", [sys.executable, str(HERE / "plain_server.py"), str(folder), str(port)], port) as server:
        yield server


@contextmanager
def started(name: str, words: Sequence[str], port: int) -> Iterator[Server]:
    """Run a server until it is no longer needed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(words, env=environment, preexec_fn=on_core(1))
    try:
        end = time.monotonic() + START_S
        while not answers_at(port):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server did not start: {' '.join(words)}")
            time.sleep(0.1)
        yield Server(name=name, port=port, process=process)
    finally:
        process.terminate()
        process.wait(60)


def answers_at(port: int) -> bool:
    """Whether a server is ready."""
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        finally:
            connection.close()
    return False


def free_port() -> int:
    """A port that the system chooses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def plain_folder(model: str, folder: Path) -> Path:
    """The model as sentence-transformers exports and quantizes it, in a process that ends afterwards."""
    code = (
        "import sys; from pathlib import Path; from peers.sbert import SentenceTransformers\n"
        "SentenceTransformers(quantized=True).prepare(Path(sys.argv[1]), Path(), Path(sys.argv[2]), 'embedding')"
    )
    folder.mkdir(parents=True)
    words = [sys.executable, "-c", code, str(locate(model)), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(words, check=True, env=environment, stdout=sys.stderr)
    return folder


if __name__ == "__main__":
    sys.exit(main())
