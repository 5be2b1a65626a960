"""Measure the memory for tokenizing a corpus into the cache and for drawing training pairs from it.

    python benchmarks/corpus_memory.py CORPUS [--copies 1,10,40] [--cap-mb 200]

The corpus is written several times into one file. ``--cap-mb`` limits the private memory of the process (RLIMIT_DATA;
mapped files do not count, since the kernel can drop them). The process prints its own peak.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import resource, sys, time
from pathlib import Path
cap = int(float(sys.argv[4]) * 1e6)
resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
from bertedge.checkpoint import open_checkpoint
from bertedge.data.cache import cached_corpus
from bertedge.data.stream import PairStream
tokenizer = open_checkpoint(sys.argv[2]).tokenizer
start = time.perf_counter()
corpus = cached_corpus(Path(sys.argv[1]), tokenizer, Path(sys.argv[3]))
made = time.perf_counter() - start
stream = PairStream(corpus, max_length=128, seed=0)
for _ in range(1000):
    stream.take(32)
fields = dict(line.split(":") for line in open("/proc/self/status") if ":" in line)
print(corpus.num_documents, len(corpus.token_ids), round(made, 1), int(fields["VmData"].split()[0]) // 1000)
"""


def main() -> None:
    """Print a row for each size of corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--copies", default="1,10,40")
    parser.add_argument("--cap-mb", type=float, default=200)
    options = parser.parse_args()
    text = options.corpus.read_bytes()
    print("| text | tokens | tokenized in | private memory, cap |")
    print("| --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for copies in map(int, options.copies.split(",")):
            path = Path(scratch) / "corpus.txt"
            with open(path, "wb") as file:
                for _ in range(copies):
                    file.write(text + b"\n\n")
            command = [sys.executable, "-c", CHILD, path, "bertedge-small-en", Path(scratch) / "cache", options.cap_mb]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
            _, tokens, seconds, memory = done.stdout.split()
            size = path.stat().st_size / 1e6
            millions = int(tokens) / 1e6
            row = f"| {size:.0f} MB | {millions:.1f} million | {seconds} s | {memory} MB, {options.cap_mb:.0f} MB |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
