"""Where the time of a call goes, by operator.

    python benchmarks/operators.py BUNDLE ... [--lengths 16,128] [--batch-size 1] [--threads 2]

onnxruntime's own profile of each bundle's file, on the calibration text with 15 % of the positions masked. Noting the
time takes time, so the sum is a little more than the latency. Prints Markdown. Install with
``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.evaluate.latency import Workload, workload_batch
from bertedge.evaluate.machine import this_machine
from bertedge.evaluate.profile import Profile, profile_bundle
from bertedge.graph.plan import MLM_DECODER
from bertedge.runtime import load
from bertedge.runtime.threads import usable_cpus

#: An operator below this share of every column is one of "the others".
LEAST = 0.01


def main() -> None:
    """Print a column for each bundle and length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--lengths", type=lambda text: [int(n) for n in text.split(",")], default=[16, 128])
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    options = parser.parse_args()
    columns = {
        f"{folder.name}, {length} tokens": _shares(_profile(folder, length, options))
        for folder in options.bundles
        for length in options.lengths
    }
    machine = this_machine()
    print(f"{machine.cpu} {machine.generation} ({machine.target}), {options.threads} threads, ms and share.\n")
    print("| operator | " + " | ".join(columns) + " |\n| --- |" + " --- |" * len(columns))
    for operator in _ranked(columns):
        print(f"| {operator} | " + " | ".join(_cell(column, operator) for column in columns.values()) + " |")


def _profile(folder: Path, length: int, options: argparse.Namespace) -> Profile:
    runtime = load(folder, threads=options.threads)
    corpus = tokenize_corpus(default_text(), runtime.tokenizer)
    layout = Layout.of(runtime.tokenizer, runtime.bundle.config.vocab_size)
    workload = Workload(batch_size=options.batch_size, seq_len=length)
    return profile_bundle(runtime.bundle, workload_batch(workload, corpus, layout), threads=options.threads)


def _shares(profile: Profile) -> dict[str, float]:
    """Milliseconds by operator; the decoder's matmul, which grows with the vocabulary, stands by itself."""
    found: dict[str, float] = defaultdict(float)
    for operator in profile.operators:
        name = f"`{operator.op_type}`"
        if operator.part == MLM_DECODER and "MatMul" in operator.op_type:
            name += ", decoder"
        found[name] += operator.ms
    return dict(found)


def _ranked(columns: dict[str, dict[str, float]]) -> list[str]:
    """The operators that count somewhere, largest first, and what is left of each column as "the others"."""
    share: dict[str, float] = defaultdict(float)
    for column in columns.values():
        for operator, ms in column.items():
            share[operator] = max(share[operator], ms / sum(column.values()))
    small = [operator for operator, most in share.items() if most < LEAST]
    for column in columns.values():
        column["the others"] = sum(column.pop(operator, 0.0) for operator in small)
        column["all"] = sum(column.values())
    shown = sorted(set(share) - set(small), key=lambda operator: -share[operator])
    return [*shown, "the others", "all"]


def _cell(column: dict[str, float], operator: str) -> str:
    ms = column.get(operator, 0.0)
    return f"{ms:.2f}, {ms / column['all']:.0%}"


if __name__ == "__main__":
    main()
