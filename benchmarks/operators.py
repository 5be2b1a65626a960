"""Measure the time of a call by operator.

    python benchmarks/operators.py BUNDLE ... [--lengths 1x16,1x128] [--threads 2]

Prints onnxruntime's profile of each bundle's file, on the calibration text with 15 % of the positions masked. Profiling
takes time, so the sum is a little more than the latency. Prints Markdown. Install with
``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from bertedge.cli.bench import parse_grid
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.latency import Workload, workload_batch
from bertedge.evaluate.machine_record import this_machine
from bertedge.evaluate.profile import Profile, profile_bundle
from bertedge.runtime import load

#: An operator below this share of every column is one of "the others".
LEAST = 0.01


def main() -> None:
    """Print a column for each bundle and length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--lengths", type=parse_grid, default="1x16,1x128", help="BATCHxTOKENS, separated by commas")
    parser.add_argument("--threads", type=int, default=usable_cpus())
    options = parser.parse_args()
    columns = {
        f"{folder.name}, {workload.batch_size} x {workload.seq_len} tokens": _by_operator(
            _profile(folder, workload, options.threads)
        )
        for folder in options.bundles
        for workload in options.lengths
    }
    machine = this_machine()
    print(f"{machine.cpu} {machine.generation} ({machine.target}), {options.threads} threads, ms and share.\n")
    print("| operator | " + " | ".join(columns) + " |\n| --- |" + " --- |" * len(columns))
    totals = [sum(column.values()) for column in columns.values()]
    for name, row in _rows(list(columns.values()), totals).items():
        cells = (f"{ms:.2f}, {ms / total:.0%}" for ms, total in zip(row, totals, strict=True))
        print(f"| {name} | " + " | ".join(cells) + " |")


def _profile(folder: Path, workload: Workload, threads: int) -> Profile:
    runtime = load(folder, threads=threads)
    corpus = tokenize_corpus(default_text(), runtime.tokenizer)
    layout = Layout.of(runtime.tokenizer, runtime.bundle.config.vocab_size)
    batch = workload_batch(workload, corpus, layout)
    profile = profile_bundle(runtime.bundle, batch, engine=runtime.engine, threads=threads)
    assert profile is not None
    return profile


def _by_operator(profile: Profile) -> dict[str, float]:
    """Milliseconds by operator; the decoder's matmul, which grows with the vocabulary, is a row of its own."""
    found: dict[str, float] = defaultdict(float)
    for operator in profile.operators:
        name = f"`{operator.op_type}`"
        if operator.part == "mlm.decoder" and "MatMul" in operator.op_type:
            name += ", decoder"
        found[name] += operator.ms
    return found


def _rows(columns: list[dict[str, float]], totals: list[float]) -> dict[str, list[float]]:
    """Milliseconds of each operator that counts somewhere, largest share first, of the others together, and of all."""
    share = {
        name: max(column.get(name, 0.0) / total for column, total in zip(columns, totals, strict=True))
        for name in dict.fromkeys(name for column in columns for name in column)
    }
    shown = sorted((name for name in share if share[name] >= LEAST), key=lambda name: -share[name])
    rows = {name: [column.get(name, 0.0) for column in columns] for name in shown}
    others = [total - sum(row) for total, row in zip(totals, zip(*rows.values(), strict=True), strict=True)]
    return rows | {"the others": others, "all": totals}


if __name__ == "__main__":
    main()
