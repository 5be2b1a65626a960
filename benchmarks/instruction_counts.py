"""Count the instructions of a call on emulated CPUs, on the native engine and on onnxruntime.

    python benchmarks/instruction_counts.py BUNDLE [--on cortex-a72,cortex-a76,armv8.6,haswell] [--lengths 16,128]

qemu translates every instruction, so times under qemu say nothing; counts are exact and the same on every machine. They
leave out how many cycles an instruction takes and what waits for memory. One text, 15 % of its tokens masked, one
thread; the third call is counted. Needs ``bertedge emulator-setup``, a C compiler, and a qemu-user that takes plugins:
Debian's ``qemu-user``, not ``qemu-user-static``. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
PLUGIN = HERE / "instruction_counter.c"
#: The first qemu with another plugin interface.
SECOND_INTERFACE = 9
ENGINES = ("onnxruntime", "native")
#: Calls before the one that is counted.
WARM_UP = 2


@dataclass(frozen=True, kw_only=True)
class Count:
    """Instructions of one call.

    Attributes:
        runs: what the engine runs there.
    """

    cpu: str
    engine: str
    runs: str
    tokens: int
    instructions: int


def count_on(cpu: str, bundle: Path, engine: str, lengths: Sequence[int]) -> list[Count]:
    """Run calls of some lengths on an emulated CPU, and count each."""
    from bertedge.emulate.cpus import CPUS
    from bertedge.emulate.findings import open_machines

    (machine,) = open_machines([CPUS[cpu]])
    qemu = Path(machine.qemu).name.removesuffix("-static")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        counts = scratch / "counts"
        wrapper = scratch / "qemu"
        option = f"{compiled_plugin(qemu, scratch)},counts={counts}"
        wrapper.write_text(f'#!/bin/sh\nexec {qemu_path(qemu)} -plugin {shlex.quote(option)} "$@"\n')
        wrapper.chmod(0o755)
        arguments = [str(Path(__file__).resolve()), "--call", engine, str(bundle.resolve())]
        arguments += ["--lengths", ",".join(map(str, lengths))]
        runs = replace(machine, qemu=str(wrapper)).run_python(arguments, scratch).strip()
        marks = [int(line) for line in counts.read_text().splitlines()]
    return [
        Count(cpu=cpu, engine=engine, runs=runs, tokens=tokens, instructions=end - begin)
        for tokens, begin, end in zip(lengths, marks[::2], marks[1::2], strict=True)
    ]


def qemu_path(name: str) -> str:
    """Where qemu is."""
    found = shutil.which(name)
    if found is None:
        sys.exit(f"error: {name} not found\nhint: sudo apt install qemu-user")
    return found


def compiled_plugin(qemu: str, folder: Path) -> Path:
    """The plugin, built for an installed qemu."""
    version = subprocess.run([qemu_path(qemu), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", version)
    interface = 2 if found and int(found[1]) >= SECOND_INTERFACE else 1
    target = folder / "instruction_counter.so"
    flags = ["-O2", "-shared", "-fPIC", f"-DPLUGIN_VERSION={interface}"]
    subprocess.run(["cc", *flags, str(PLUGIN), "-o", str(target)], check=True)
    return target


def call(engine: str, bundle: Path, lengths: Sequence[int]) -> None:
    """Run on the emulated CPU: the plugin writes the count at each getppid()."""
    from bertedge.predictor import Batch
    from bertedge.runtime import load

    runtime = load(bundle, engine=engine, threads=1)
    for tokens in lengths:
        random = np.random.default_rng(0)
        ids = random.integers(1000, runtime.bundle.config.vocab_size, size=(1, tokens))
        masked = np.sort(random.choice(np.arange(1, tokens), size=max(1, round(0.15 * tokens)), replace=False))
        batch = Batch(
            input_ids=ids,
            attention_mask=np.ones_like(ids),
            token_type_ids=np.zeros_like(ids),
            masked_positions=masked[None].astype(np.int64),
        )
        for _ in range(WARM_UP):
            runtime.predict(batch)
        os.getppid()
        runtime.predict(batch)
        os.getppid()
    print(runtime.engine.describe())


def show(counts: Sequence[Count]) -> None:
    """Print a row for each CPU and length."""
    print("| CPU | tokens | onnxruntime | native | native's share | native's kernel |")
    print("| --- | --- | --- | --- | --- | --- |")
    by_place = {(count.cpu, count.tokens, count.engine): count for count in counts}
    for cpu, tokens in dict.fromkeys((count.cpu, count.tokens) for count in counts):
        theirs, ours = (by_place[cpu, tokens, engine] for engine in ENGINES)
        share = ours.instructions / theirs.instructions
        kernel = ours.runs.partition("; ")[0].rpartition(": ")[2]
        print(
            f"| {cpu} | {tokens} | {theirs.instructions / 1e6:.1f} M | {ours.instructions / 1e6:.1f} M "
            f"| {share:.2f} | {kernel} |"
        )


def numbers(text: str) -> list[int]:
    """Numbers, separated by commas."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Count on each CPU, or be the call that is counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--on", default="cortex-a72,cortex-a76,armv8.6,haswell", help="CPUs, separated by commas")
    parser.add_argument("--lengths", type=numbers, default="16,128", help="tokens, separated by commas")
    parser.add_argument("--call", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        return call(options.call, options.bundle, options.lengths)
    show(
        [
            count
            for cpu in options.on.split(",")
            for engine in ENGINES
            for count in count_on(cpu, options.bundle, engine, options.lengths)
        ]
    )


if __name__ == "__main__":
    main()
