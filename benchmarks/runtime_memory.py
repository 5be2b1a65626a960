"""Measure the runtime's memory, and whether it grows over thousands of calls of all lengths in a fresh process.

    python benchmarks/runtime_memory.py BUNDLE ... [--calls 10000] [--threads 2] [--longest 512]

Each bundle has its own process, which fills a ``[MASK]`` in texts of 3 to ``--longest`` tokens (uniform in their
logarithm, so most are short), then encodes one list of texts. Prints Markdown: the largest memory after the first call,
after a tenth of the calls and after all, and the memory held at these moments, as multiples of the file. Ends with exit
code 1 if the last nine tenths of the calls raised the largest memory by more than 2 %. Linux only.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from bertedge.bundle import Bundle
from bertedge.runtime import load

GROWTH = 1.02
TEXTS = 200


def main() -> int:
    """Print a row for each bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.bundles[0], options.calls, options.threads, options.longest)))
        return 0
    print("| bundle | file | peak: 1 call | a tenth | all | held: 1 call | all | peak with a list of texts |")
    print("| --- |" + " --- |" * 7)
    grown = False
    for bundle in options.bundles:
        settings = [f"--{name}={getattr(options, name)}" for name in ("calls", "threads", "longest")]
        command = [sys.executable, __file__, str(bundle), *settings, "--alone"]
        seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        size = Bundle.open(bundle, check=False).size_bytes
        moments = (("first", "peak"), ("tenth", "peak"), ("all", "peak"), ("first", "held"), ("all", "held"))
        cells = [seen[when][what] for when, what in moments] + [seen["list"]["peak"]]
        print(f"| {bundle.name} | {size / 1e6:.1f} MB | " + " | ".join(_cell(value, size) for value in cells) + " |")
        grown |= seen["all"]["peak"] > GROWTH * seen["tenth"]["peak"]
    return int(grown)


def _cell(value: int, size: int) -> str:
    return f"{value / 1e6:.0f} MB, {value / size:.2f}x"


def measure(bundle: Path, calls: int, threads: int, longest: int) -> dict[str, dict[str, int]]:
    """Bytes at each of these moments."""
    runtime = load(bundle, threads=threads)
    mask, rng = runtime.tokenizer.mask_token, np.random.default_rng(0)
    lengths = np.exp(rng.uniform(math.log(3), math.log(longest), size=calls)).astype(int)
    seen = {}
    for call, length in enumerate(lengths, start=1):
        runtime.fill_mask(" ".join([mask] + ["a"] * (length - 3)))
        for name, when in (("first", 1), ("tenth", calls // 10), ("all", calls)):
            if call == when:
                seen[name] = _memory()
    runtime.encode([" ".join(["a"] * (length - 2)) for length in np.maximum(lengths[:TEXTS], 3)])
    return seen | {"list": _memory()}


def _memory() -> dict[str, int]:
    status = Path("/proc/self/status").read_text()
    fields = {"peak": "VmHWM", "held": "VmRSS"}
    return {name: 1024 * int(re.search(rf"{field}:\s+(\d+)", status).group(1)) for name, field in fields.items()}


if __name__ == "__main__":
    sys.exit(main())
