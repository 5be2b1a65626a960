"""bertedge beside Optimum's int8 export and PyTorch, on the same checkpoints, interleaved in one run.

    python benchmarks/compare_optimum.py [--models random-12x768,random-4x256,built-in] [--rounds 15] [--keep FOLDER]

Work per call: one text, 15 % of its positions masked, logits of those words. bertedge is timed through its runtime
(grouping, checks and copies included), the peers as bare sessions. PyTorch runs bertedge's own module, which decodes
masked positions only, as bertedge does; Optimum's graph always decodes every position. All use as many threads as this
process may use. Prints Markdown. Install with ``pip install 'bertedge[compare]'``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from bertedge.checkpoint import BUILT_IN, Checkpoint, open_checkpoint, write_checkpoint
from bertedge.config import BertConfig
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.evaluate.latency import Workload, interleave, paired_ratio, workload_batch
from bertedge.evaluate.machine import this_machine
from bertedge.evaluate.memory import measure_cold_start
from bertedge.predictor import Batch
from bertedge.runtime import load
from bertedge.runtime.threads import usable_cpus
from bertedge.train.loop import Inputs
from bertedge.train.model import BertForPreTraining

HERE = Path(__file__).parent
SHAPES = {"random-12x768": (12, 768, 12), "random-4x256": (4, 256, 4)}
LENGTHS = (16, 128)
#: Runs one verb in a fresh process and prints its seconds (import included) and its peak memory.
MAKE = """
import sys, time
start = time.perf_counter()
import bertedge
from pathlib import Path
from bertedge.recipe import QuantizationRecipe, method_named
model, output, method = sys.argv[1:]
if method == "float32":
    bundle = bertedge.export(model, Path(output))
else:
    bundle = bertedge.quantize(model, Path(output), recipe=QuantizationRecipe(method=method_named(method)))
seconds = time.perf_counter() - start
import json, re
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) * 1024
print(json.dumps({"seconds": seconds, "peak_rss_bytes": peak, "size_bytes": bundle.size_bytes}))
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A way to run the model: how it was made, and a call for each batch."""

    name: str
    call: Callable[[Batch], Callable[[], object]]
    size_bytes: int
    make_s: float | None = None
    make_peak_bytes: int | None = None
    cold_start_ms: float | None = None


def main() -> None:
    """Compare on every model that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join([*SHAPES, "built-in"]))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--keep", type=Path, help="folder for the models; default: a temporary one")
    options = parser.parse_args()
    torch.set_num_threads(usable_cpus())
    machine = this_machine()
    print(f"{machine.cpu}, {machine.cpus} CPUs, onnxruntime {machine.onnxruntime}, torch {torch.__version__}\n")
    with tempfile.TemporaryDirectory() as scratch:
        for model in options.models.split(","):
            compare(model, (options.keep or Path(scratch)) / model, options.rounds)


def compare(model: str, work: Path, rounds: int) -> None:
    """Print the two tables of one model."""
    work.mkdir(parents=True, exist_ok=True)
    folder = checkpoint_folder(model, work)
    checkpoint = Checkpoint.read(folder)
    entries = [
        optimum(folder, work, None),
        optimum(folder, work, 2),
        *(ours(folder, work, kind) for kind in ("static", "dynamic", "float32")),
        pytorch(checkpoint, folder),
    ]
    print(f"### {model}\n\n| | " + " | ".join(f"{n} tokens: ms, ratio (95 %)" for n in LENGTHS) + " |")
    print("| --- |" + " --- |" * len(LENGTHS))
    cells: dict[str, list[str]] = {entry.name: [] for entry in entries}
    for length in LENGTHS:
        batch = text(checkpoint, length)
        timings = interleave([entry.call(batch) for entry in entries], rounds=rounds)
        for entry, own in zip(entries, timings, strict=True):
            ratio = paired_ratio(own.blocks, timings[0].blocks)
            cells[entry.name].append(
                f"{np.median(own.calls):.2f}, {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            )
    for name, row in cells.items():
        print(f"| {name} | " + " | ".join(row) + " |")
    print("\n| | file | time to make | peak memory to make | cold start |\n| --- | --- | --- | --- | --- |")
    for entry in entries:
        print(f"| {entry.name} | {entry.size_bytes / 1e6:.1f} MB | {_made(entry)} |")
    print(flush=True)


def _made(entry: Entry) -> str:
    seconds = "-" if entry.make_s is None else f"{entry.make_s:.1f} s"
    peak = "-" if entry.make_peak_bytes is None else f"{entry.make_peak_bytes / 1e9:.2f} GB"
    cold = "-" if entry.cold_start_ms is None else f"{entry.cold_start_ms / 1e3:.2f} s"
    return f"{seconds} | {peak} | {cold}"


def checkpoint_folder(model: str, work: Path) -> Path:
    """The folder of a real checkpoint, or of one with random weights and the built-in model's vocabulary."""
    if model not in SHAPES:
        return open_checkpoint(BUILT_IN[0] if model == "built-in" else model).folder or work
    folder = work / "checkpoint"
    if not folder.is_dir():
        layers, hidden, heads = SHAPES[model]
        tokenizer = open_checkpoint(BUILT_IN[0]).tokenizer
        config = BertConfig(
            num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, intermediate_size=4 * hidden
        )
        torch.manual_seed(0)
        tensors = {name: t.numpy() for name, t in BertForPreTraining(config).float_tensors().items()}
        folder.mkdir()
        write_checkpoint(folder, config, tensors, tokenizer)
    return folder


def text(checkpoint: Checkpoint, length: int) -> Batch:
    """One text of the calibration corpus."""
    corpus = tokenize_corpus(default_text(), checkpoint.tokenizer)
    layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
    return workload_batch(Workload(batch_size=1, seq_len=length), corpus, layout)


def optimum(folder: Path, work: Path, level: int | None) -> Entry:
    """Optimum's int8 export, plain (its default) or with its graph optimisation first."""
    output = work / f"optimum-{level}"
    command = [sys.executable, str(HERE / "peers" / "optimum_int8.py"), str(folder), str(output)]
    command += [] if level is None else ["--optimize", str(level)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout.strip().splitlines()[-1])
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    options.log_severity_level = 3
    session = ort.InferenceSession(made["model"], options, providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}

    def call(batch: Batch) -> Callable[[], object]:
        feed = {name: getattr(batch, name) for name in wanted}
        return lambda: session.run(None, feed)

    return Entry(
        name="Optimum int8" if level is None else f"Optimum int8, optimised (O{level})",
        call=call,
        size_bytes=made["size_bytes"],
        make_s=made["export_s"] + made["quantize_s"],
        make_peak_bytes=made["peak_rss_bytes"],
    )


def ours(folder: Path, work: Path, kind: str) -> Entry:
    """bertedge: ``static`` (the default), ``dynamic`` or ``float32``."""
    output = work / f"bertedge-{kind}"
    if not output.is_dir():
        done = subprocess.run(
            [sys.executable, "-c", MAKE, str(folder), str(output), kind], capture_output=True, text=True, check=True
        )
        (work / f"{kind}.json").write_text(done.stdout)
    made = json.loads((work / f"{kind}.json").read_text())
    runtime = load(output)

    def call(batch: Batch) -> Callable[[], object]:
        return lambda: runtime.predict(batch)

    return Entry(
        name=f"bertedge {kind}",
        call=call,
        size_bytes=made["size_bytes"],
        make_s=made["seconds"],
        make_peak_bytes=made["peak_rss_bytes"],
        cold_start_ms=measure_cold_start(output, threads=usable_cpus()).cold_start_ms,
    )


def pytorch(checkpoint: Checkpoint, folder: Path) -> Entry:
    """PyTorch in float32, eager."""
    model = BertForPreTraining.from_checkpoint(checkpoint).eval()

    def call(batch: Batch) -> Callable[[], object]:
        inputs = Inputs.of(batch)

        def run() -> object:
            with torch.inference_mode():
                return inputs.run(model)

        return run

    size = sum(path.stat().st_size for path in checkpoint.source.files)
    return Entry(name="PyTorch float32", call=call, size_bytes=size)


if __name__ == "__main__":
    main()
