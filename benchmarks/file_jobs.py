"""Measure jobs on files: their speed next to one call in Python, their memory, and what kills do to them.

    python benchmarks/file_jobs.py BUNDLE [--rounds 7] [--lines 1000000] [--kills 20] [--threads 2]

The bundle embeds sentences of the built-in calibration text, in random order. Prints Markdown:

- speed: the job on a loaded bundle, as a ratio to one call of ``encode`` with the same ``--texts`` texts in a list.
  Both are timed in turn, ``--rounds`` times; the ratio is the median, with its range.
- memory: the largest of the command's process, for a file of 10,000 lines and for one of ``--lines``. ``--lines 0``
  leaves it out. A million vectors take some gigabytes in the folder for temporary files.
- kills: the command is killed with SIGKILL at random moments and resumed, ``--kills`` times for each format; the output
  is compared with that of an unbroken run.

Ends with exit code 1 if a goal is missed: a speed of 0.9, 1.2 times the memory, equal outputs. Linux only.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bertedge.errors import TextWarning
from bertedge.jobs import run
from bertedge.runtime import BertRuntime, load

FEW = 10_000
SPEED, MEMORY = 0.9, 1.2
#: A program that runs a command and prints its largest memory. It imports nothing large, because Linux also counts the
#: memory of the process that starts a command.
PEAK = """
import os, sys
child = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(child, 0)
print(used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
TEXT = Path(__file__).resolve().parents[1] / "calibration" / "en.txt"


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        good = [
            speed(options.bundle, options.texts, options.rounds, options.threads, place),
            not options.lines or memory(options.bundle, options.lines, options.threads, place),
            not options.kills or kills(options.bundle, options.texts, options.kills, options.threads, place),
        ]
    return int(not all(good))


def sentences(count: int) -> Iterator[str]:
    """Sentences of the calibration text, the same ones every time."""
    known = [line for line in TEXT.read_text(encoding="utf-8").splitlines() if line.strip()]
    rng = random.Random(0)
    return (rng.choice(known) for _ in range(count))


def write(path: Path, texts: Iterator[str]) -> Path:
    """A file of numbered texts."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        listed = list(texts)
        pq.write_table(pa.table({"id": range(len(listed)), "text": listed}), path)
        return path
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts))
    return path


def speed(bundle: Path, count: int, rounds: int, threads: int, place: Path) -> bool:
    """Print a row for each format."""
    runtime, texts = load(bundle, threads=threads), list(sentences(count))
    print("| from | to | rows/s | one call, texts/s | ratio | range |\n| --- | --- | --- | --- | --- | --- |")
    good = True
    for source, target in (("in.jsonl", "out.jsonl"), ("in.parquet", "out.parquet"), ("in.jsonl", "out.npy")):
        write(place / source, iter(texts))
        call, job = timed(runtime, texts, place / source, place / target, rounds)
        ratios = call / job
        good &= bool(np.median(ratios) >= SPEED)
        print(
            f"| {source[2:]} | {target[3:]} | {count / np.median(job):,.0f} | {count / np.median(call):,.0f} "
            f"| {np.median(ratios):.2f} | {ratios.min():.2f} to {ratios.max():.2f} |",
            flush=True,
        )
    print()
    return good


def timed(
    runtime: BertRuntime, texts: Sequence[str], source: Path, target: Path, rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the call and of the job, (rounds,) each; they take turns in being first."""

    def call() -> None:
        runtime.encode(texts)

    def job() -> None:
        run(runtime, "embed", source, target, force=True)

    both = (call, job)
    seconds = np.zeros((2, rounds))
    warnings.simplefilter("ignore", TextWarning)
    runtime.encode(texts[: len(texts) // 10])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.perf_counter()
            both[which]()
            seconds[which, number] = time.perf_counter() - start
    return seconds[0], seconds[1]


def words(bundle: Path, source: Path, target: Path, threads: int, *more: str) -> list[str]:
    """The words of the command."""
    files = ["--input", str(source), "-o", str(target), "--threads", str(threads)]
    return [sys.executable, "-m", "bertedge", "embed", str(bundle), *files, "--quiet", *more]


def memory(bundle: Path, lines: int, threads: int, place: Path) -> bool:
    """Print the largest memory for a small and for a large file."""
    print(f"| from | to | {FEW:,} lines | {lines:,} lines | ratio |\n| --- | --- | --- | --- | --- |")
    good = True
    for source, target in (("in.jsonl", "out.jsonl"), ("in.parquet", "out.parquet"), ("in.jsonl", "out.npy")):
        peaks = []
        for count in (FEW, lines):
            write(place / source, sentences(count))
            command = words(bundle, place / source, place / target, threads, "--force")
            done = subprocess.run([sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True)
            peaks.append(int(done.stdout) / 1024)
        (place / target).unlink()
        good &= peaks[1] <= MEMORY * peaks[0]
        cells = f"{peaks[0]:.0f} MB | {peaks[1]:.0f} MB | {peaks[1] / peaks[0]:.2f}"
        print(f"| {source[2:]} | {target[3:]} | {cells} |", flush=True)
    print()
    return good


def kills(bundle: Path, count: int, times: int, threads: int, place: Path) -> bool:
    """Print how the outputs of killed and resumed jobs compare with that of an unbroken run."""
    print("| from | to | kills | runs to the end | outputs equal |\n| --- | --- | --- | --- | --- |")
    rng, good = random.Random(0), True
    for source, target in (("in.jsonl", "out.jsonl"), ("in.parquet", "out.parquet"), ("in.jsonl", "out.npy")):
        write(place / source, sentences(count))
        whole, broken = place / f"whole-{target}", place / target
        start = time.perf_counter()
        subprocess.run(words(bundle, place / source, whole, threads, "--force"), check=True)
        seconds = time.perf_counter() - start
        killed = ended = equal = 0
        while killed < times or not broken.exists():
            process = subprocess.Popen(words(bundle, place / source, broken, threads, "--resume"))
            try:
                if process.wait(timeout=rng.uniform(0, seconds) if killed < times else None):
                    raise SystemExit(f"the command ended with {process.returncode}")
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
            if process.returncode == 0:
                ended += 1
                equal += broken.read_bytes() == whole.read_bytes()
                if killed < times:
                    broken.unlink()
        for left in place.glob("*out.*"):
            left.unlink()
        good &= equal == ended > 0
        print(f"| {source[2:]} | {target[3:]} | {killed} | {ended} | {equal} |", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
