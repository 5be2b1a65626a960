"""Time from the start of Python to the first answer, and peak memory, of each engine in new processes.

    python benchmarks/start_up.py [BUNDLE ...] [--engines native,onnxruntime] [--rounds 15] [--threads 2]

A process does what a user's program does: ``import bertedge``, ``bertedge.load``, and one answer. Its time counts from
the moment it is started, the start of Python included; its steps are shown too, and the time of all its threads
(**CPU**), which other work on the machine changes less. Each round starts every bundle with every engine in a new
random order. Files are in the page cache, and modules are compiled, as after an installation: an untimed round does
both. Peak memory is VmHWM, which counts every page of a mapped file that was touched. Without BUNDLE: the built-in
model and random weights in the shape of BERT-base, both quantized here by the default recipe. Prints Markdown.
Linux only; needs ``[tools]`` without BUNDLE.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from peers.goals import interval

from bertedge.bundle import Bundle
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.latency import paired_ratio

#: What a new process runs. CLOCK_MONOTONIC is the same in all processes.
PROGRAM = """
import sys, time
stamps = [time.monotonic()]
import bertedge
stamps.append(time.monotonic())
runtime = bertedge.load(sys.argv[1], engine=sys.argv[2], threads=int(sys.argv[3]))
stamps.append(time.monotonic())
text = "The capital of France is"
if "fill-mask" in runtime.verbs:
    runtime.fill_mask(f"{text} {runtime.tokenizer.mask_token}.")
else:
    runtime.encode([text])
stamps.append(time.monotonic())
cpu = time.process_time()
status = open("/proc/self/status").read()
peak = 1024 * int(status.split("VmHWM:")[1].split()[0])
import json
modules = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps({"stamps": stamps, "cpu": cpu, "peak": peak, "modules": modules}))
"""
STEPS = ("Python", "import", "load", "answer")
#: Modules that the runtime must not load: they cost time and memory.
UNWANTED = {"torch", "onnx", "transformers", "typer", "rich"}
#: Layers -> (seconds to the first answer, peak memory in bytes for a file of so many bytes), for the native engine.
GOALS = {4: (0.30, lambda size: 70e6), 12: (0.40, lambda size: 1.5 * size)}


@dataclass(frozen=True, kw_only=True)
class Start:
    """One process: seconds of its steps, seconds of its threads together, peak memory in bytes, top-level modules."""

    steps: tuple[float, ...]
    cpu: float
    peak: int
    modules: frozenset[str]

    @property
    def seconds(self) -> float:
        """To the first answer."""
        return sum(self.steps)


def start(bundle: Path, engine: str, threads: int, bytecode: Path) -> Start:
    """Start a process, and wait until it has ended.

    Args:
        bytecode: folder for compiled modules, so that the environment does not decide whether Python keeps them.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-c", PROGRAM, str(bundle.resolve()), engine, str(threads)]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{bundle.name} on {engine}: {done.stderr.strip() or 'the process failed'}")
    found = json.loads(done.stdout)
    steps = tuple(float(step) for step in np.diff([begin, *found["stamps"]]))
    return Start(steps=steps, cpu=found["cpu"], peak=found["peak"], modules=frozenset(found["modules"]))


def measured(
    bundles: list[Path], engines: list[str], *, rounds: int, threads: int
) -> dict[tuple[Path, str], list[Start]]:
    """Processes of every bundle and engine, round by round; one more round, the first, is not kept."""
    rng = np.random.default_rng(0)
    found: dict[tuple[Path, str], list[Start]] = {pair: [] for pair in product(bundles, engines)}
    with tempfile.TemporaryDirectory() as bytecode:
        for _ in range(rounds + 1):
            for place in rng.permutation(len(found)):
                bundle, engine = list(found)[place]
                found[bundle, engine].append(start(bundle, engine, threads, Path(bytecode)))
    return {pair: starts[1:] for pair, starts in found.items()}


def table(found: dict[tuple[Path, str], list[Start]], engines: list[str]) -> Iterator[str]:
    """A row for each bundle and engine; ratios are of the first engine to the row's."""
    heads = [
        "bundle",
        "file",
        "engine",
        "first answer",
        "fastest",
        *STEPS,
        "CPU",
        f"{engines[0]} to this",
        "peak memory",
        "goal",
    ]
    yield f"| {' | '.join(heads)} |"
    yield "| --- |" + " --- |" * (len(heads) - 1)
    for (path, engine), starts in found.items():
        bundle = Bundle.open(path, check=False)
        seconds = [one.seconds for one in starts]
        peak = max(one.peak for one in starts)
        ratio = paired_ratio(np.array([one.seconds for one in found[path, engines[0]]]), np.array(seconds))
        cells = [path.name, f"{bundle.size_bytes / 1e6:.1f} MB", engine]
        cells += [f"{statistics.median(seconds):.2f} s", f"{min(seconds):.2f} s"]
        cells += [f"{statistics.median(one.steps[place] for one in starts):.2f}" for place in range(len(STEPS))]
        cells += [f"{statistics.median(one.cpu for one in starts):.2f}"]
        cells += ["" if engine == engines[0] else interval(ratio)]
        cells += [f"{peak / 1e6:.0f} MB, {peak / bundle.size_bytes:.2f} of the file"]
        cells += [verdict(bundle, statistics.median(seconds), peak) if engine == "native" else ""]
        yield f"| {' | '.join(cells)} |"


def verdict(bundle: Bundle, seconds: float, peak: int) -> str:
    """The goals of a bundle with so many layers, and whether they are met."""
    goal = GOALS.get(bundle.config.num_hidden_layers)
    if goal is None:
        return ""
    most_s, most = goal[0], goal[1](bundle.size_bytes)
    return (
        f"{most_s:.2f} s: {'met' if seconds <= most_s else '**not met**'}; "
        f"{most / 1e6:.0f} MB: {'met' if peak <= most else '**not met**'}"
    )


def _made(folder: Path) -> list[Path]:
    """Bundles of the built-in model and of random weights, by the default recipe."""
    from peers.models import open_model

    from bertedge.quantization import quantize

    models = [open_model(name, folder / "checkpoints") for name in ("bertedge-small-en", "random-12x768")]
    return [quantize(model.folder, folder / f"{model.name}.int8").folder for model in models]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument("--engines", type=lambda text: text.split(","), default=["native", "onnxruntime"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundles = options.bundles or _made(Path(folder))
        found = measured(bundles, options.engines, rounds=options.rounds, threads=options.threads)
        print("\n".join(table(found, options.engines)))
    unwanted = sorted({name for starts in found.values() for one in starts for name in one.modules & UNWANTED})
    print(f"\n{options.threads} threads, {options.rounds} rounds; seconds are medians, memory is the largest.", end=" ")
    print(
        f"**The runtime loads {', '.join(unwanted)}.**" if unwanted else "No process loads torch, onnx, typer or rich."
    )


if __name__ == "__main__":
    main()
