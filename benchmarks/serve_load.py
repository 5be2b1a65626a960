"""Measure the server next to a plain one of FastAPI and sentence-transformers (ONNX int8), and with too many requests.

    python benchmarks/serve_load.py [MODEL ...] [--seconds 8] [--rounds 2] [--clients 1,8,64] [--no-peer]
    python benchmarks/serve_load.py --soak MINUTES [MODEL]

Each server has one core with one thread, and the requests come from another core. A request is one sentence of the
built-in calibration text. Both servers of a model are measured in turn, ``--rounds`` times; the better round counts.
Prints Markdown:

- answers a second and their times with so many clients, of which each waits for its answer;
- four times as many requests as the server answers with the most clients: what it accepts, and how long that takes.

``--soak`` measures nothing of this. It mixes requests that are good, broken or given up, with reloads, for so long, and
compares each answer with that of a quiet server; see ``serve_soak.py``.

Ends with exit code 1 if a goal is missed: with the most clients twice the answers of the plain server, in half the time
(99th percentile); with too many requests at most three times the time, and only 200 and 429. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
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

from bertedge.checkpoint import BUILT_IN, locate
from bertedge.quantization import quantize

HERE = Path(__file__).resolve().parent
#: Goals: answers a second and the 99th percentile as ratios to the plain server; the percentile under overload.
ANSWERS, LATE, OVERLOAD = 2.0, 0.5, 3.0
#: How many times what a server can answer is sent to it.
TOO_MANY = 4
START_S = 180
#: Seconds of requests that are not counted.
WARMUP_S = 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came back from a server.

    Attributes:
        statuses: status -> answers.
        rate: answers with the status 200, a second.
        times: their 50th and 99th percentiles, in milliseconds.
    """

    sent: int
    statuses: dict[int, int]
    rate: float
    times: tuple[float, float]

    def cells(self) -> str:
        return f"{self.rate:,.0f} | {self.times[0]:.1f} | {self.times[1]:.1f}"


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[BUILT_IN[0]])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    options = parser.parse_args()
    counts = [int(count) for count in options.clients.split(",")]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            place = Path(folder) / Path(model).name
            bundle = place / "own.int8"
            quantize(model, bundle)
            if options.soak is not None:
                from serve_soak import soak

                with own_server(bundle) as server:
                    good &= soak(server, bundle, options.soak)
                continue
            print(f"\n### {Path(model).name}\n", flush=True)
            plain = None if options.no_peer else plain_folder(model, place / "plain")
            good &= compare(bundle, plain, counts, options.seconds, options.rounds)
    return int(not good)


def compare(bundle: Path, plain: Path | None, counts: Sequence[int], seconds: float, rounds: int) -> bool:
    """Print the tables of a model; whether the goals are reached."""
    with own_server(bundle) as own:
        if plain is None:
            best = {"bertedge": table({"bertedge": own}, counts, seconds, rounds)["bertedge"]}
        else:
            with plain_server(plain) as other:
                best = table({"bertedge": own, "plain": other}, counts, seconds, rounds)
        ours = best["bertedge"]
        good = overload(own, ours, seconds)
    if plain is None:
        return good
    theirs = best["plain"]
    answers, late = ours.rate / theirs.rate, ours.times[1] / theirs.times[1]
    print(f"\nWith {counts[-1]} clients: {answers:.2f} times the answers of the plain server, ", end="")
    print(f"and {late:.2f} of its time (99th percentile).", flush=True)
    return good and answers >= ANSWERS and late <= LATE


def table(servers: dict[str, Server], counts: Sequence[int], seconds: float, rounds: int) -> dict[str, Measured]:
    """Measure and print; gives the rows of the most clients."""
    print("| clients | server | answers/s | p50, ms | p99, ms |\n| --- | --- | --- | --- | --- |")
    best: dict[str, Measured] = {}
    for server in servers.values():
        load(server.port, WARMUP_S, clients=counts[-1])
    for count in counts:
        found: dict[str, list[Measured]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, server in servers.items():
                found[name].append(load(server.port, seconds, clients=count))
        for name, measured in found.items():
            best[name] = max(measured, key=lambda one: one.rate)
            print(f"| {count} | {name} | {best[name].cells()} |", flush=True)
            wrong = {status: number for one in measured for status, number in one.statuses.items() if status != 200}
            if wrong:
                print(f"\n{name} also answered {wrong}.\n")
    return best


def overload(server: Server, usual: Measured, seconds: float) -> bool:
    """Print what happens with too many requests; whether the goal is reached."""
    much = load(server.port, seconds, rate=TOO_MANY * usual.rate)
    refused, ratio = much.statuses.get(429, 0), much.times[1] / usual.times[1]
    print(f"\nWith {much.sent / seconds:,.0f} requests a second ({TOO_MANY} times as many as it answers):\n")
    print("| answers/s | p50, ms | p99, ms | p99 to that without overload | refused (429) | anything else |")
    print("| --- | --- | --- | --- | --- | --- |")
    others = much.sent - refused - much.statuses.get(200, 0)
    print(f"| {much.cells()} | {ratio:.2f} | {refused / much.sent:.0%} | {others} |", flush=True)
    return ratio <= OVERLOAD and not others and refused > 0


def load(port: int, seconds: float, *, clients: int | None = None, rate: float | None = None) -> Measured:
    """Send requests from another process."""
    how = ["--clients", str(clients)] if clients else ["--rate", str(rate)]
    words = [sys.executable, str(HERE / "load_client.py"), str(port), *how, "--seconds", str(seconds)]
    done = subprocess.run(words, preexec_fn=on_core(0), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    times = np.array(found["seconds"] or [np.nan]) * 1000
    return Measured(
        sent=found["sent"],
        statuses={int(status): count for status, count in found["statuses"].items()},
        rate=len(found["seconds"]) / seconds,
        times=(float(np.percentile(times, 50)), float(np.percentile(times, 99))),
    )


def on_core(number: int) -> Any:
    """Called in a new process: it may only run on this core; on a machine with one, on that."""
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[number % len(cores)]})


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs."""

    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def own_server(bundle: Path) -> Iterator[Server]:
    """bertedge's server on the second core."""
    port = free_port()
    words = [sys.executable, "-m", "bertedge", "serve", str(bundle), "--port", str(port), "--threads", "1"]
    with started([*words, "--no-request-log"], port) as server:
        yield server


@contextmanager
def plain_server(folder: Path) -> Iterator[Server]:
    """The plain server on the second core."""
    port = free_port()
    with started([sys.executable, str(HERE / "plain_server.py"), str(folder), str(port)], port) as server:
        yield server


@contextmanager
def started(words: Sequence[str], port: int) -> Iterator[Server]:
    """Run a server until it is no longer needed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(words, env=environment, preexec_fn=on_core(1))
    try:
        end = time.monotonic() + START_S
        while not answers_at(port):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server did not start: {' '.join(words)}")
            time.sleep(0.1)
        yield Server(port=port, process=process)
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
