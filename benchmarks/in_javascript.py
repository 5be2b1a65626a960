"""Compare onnxruntime's packages for JavaScript with Python on this machine, for bundles of every kind.

    (cd benchmarks/web && npm install)
    python benchmarks/in_javascript.py [MODEL] [CORPUS] [--examples 16]

MODEL is a checkpoint folder or a built-in name, default ``bertedge-small-en``; CORPUS is text, default the one that
ships with bertedge. Every bundle runs in Node, on ``onnxruntime-node`` and on the WebAssembly of ``onnxruntime-web``,
under bertedge's own runtime: only the computation is replaced. Prints Markdown. Install with
``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Sample
from numpy.typing import NDArray

from bertedge.bundle import Bundle
from bertedge.checkpoint import open_checkpoint
from bertedge.data.calibration import default_text
from bertedge.engines.onnxruntime import ONNXRUNTIME
from bertedge.engines.onnxruntime.executor import executor_of
from bertedge.evaluate.fidelity import measure_fidelity
from bertedge.predictor import Batch
from bertedge.probabilities import softmax
from bertedge.quantization import export, quantize
from bertedge.recipe import RECIPES, Dynamic, QuantizationRecipe, WeightOnly
from bertedge.runtime import BertRuntime, load
from bertedge.runtime.golden import tolerance_of

RUNTIMES = {"node": "native", "web": "WebAssembly"}
#: Metrics of what int8 loses -> digits.
LOSS = {"mlm.top1_agreement": 3, "mlm.kl_mean": 4}
#: Words in the table -> target, recipe.
ROWS = {
    "the default recipe": ("portable", RECIPES["default"]),
    "the same, weights of 8 bits": ("arm64", RECIPES["default"]),
    "`--recipe faithful`": ("portable", RECIPES["faithful"]),
    "`--recipe dynamic`": ("portable", QuantizationRecipe(method=Dynamic())),
    "`--recipe weight-only --set bits=8`": ("portable", QuantizationRecipe(method=WeightOnly(bits=8))),
    "`--recipe weight-only`": ("portable", QuantizationRecipe(method=WeightOnly(bits=4))),
}


class NodeModel:
    """A bundle's model in a process of Node; see :class:`bertedge.engines.onnxruntime.grouping.Model`.

    The packages take no input that has a default, so there are no hidden states.
    """

    callers = 1

    def __init__(self, bundle: Bundle, process: subprocess.Popen[str]) -> None:
        self.input_names = frozenset(bundle.manifest.inputs)
        self._process = process

    def run(self, feed: dict[str, NDArray[np.int64]], work: int) -> dict[str, NDArray[np.float32]]:
        """One call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        tensors = {name: (value.shape, base64.b64encode(value).decode()) for name, value in feed.items()}
        print(json.dumps(tensors), file=self._process.stdin, flush=True)
        outputs: dict[str, Any] = json.loads(self._process.stdout.readline())
        return {
            name: np.frombuffer(base64.b64decode(values), dtype=np.float32).reshape(dims)
            for name, (dims, values) in outputs.items()
        }

    def run_alone(self) -> Any:
        """The same, since there is only one process."""
        return self.run


@contextmanager
def in_node(bundle: Bundle, runtime: str) -> Iterator[BertRuntime]:
    """The bundle on one of the packages."""
    command = ["node", str(Path(__file__).parent / "web" / "serve.mjs"), str(bundle.folder), runtime]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        model = NodeModel(bundle, process)
        engine = replace(ONNXRUNTIME, name=runtime, open=lambda bundle, **how: executor_of(bundle, model))
        yield BertRuntime(bundle, engine=engine, threads=1)


def rows(words: str, reference: BertRuntime, bundle: Bundle, batches: list[Batch]) -> Iterator[list[str]]:
    """The cells of a bundle: in Python, then in each package."""
    in_python = load(bundle.folder, threads=1, allow_any_cpu=True)
    with ExitStack() as stack:
        in_javascript = [stack.enter_context(in_node(bundle, runtime)) for runtime in RUNTIMES]
        to_float = measure_fidelity(reference, [in_python, *in_javascript], batches)
        to_python = measure_fidelity(in_python, in_javascript, batches)
        loss = [[f"{found[name].value:.{digits}f}" for name, digits in LOSS.items()] for found in to_float]
        yield [words, "Python", "", "", "", "", *loss[0]]
        for name, model, found, lost in zip(RUNTIMES.values(), in_javascript, to_python, loss[1:], strict=True):
            logits, probabilities = largest_differences(in_python, model, batches)
            same = found["mlm.top1_agreement"].value
            yield [
                "",
                name,
                f"{logits:.1g}",
                f"{probabilities:.1g}",
                f"{tolerance_of(bundle):.2g}",
                f"{same:.3f}",
                *lost,
            ]


def largest_differences(one: BertRuntime, other: BertRuntime, batches: list[Batch]) -> tuple[float, float]:
    """The largest difference of a logit of any head, and of a probability."""
    logits, probabilities = [0.0], [0.0]
    for batch in batches:
        mine, others = one.predict(batch), other.predict(batch)
        for head in mine.logits.keys() & others.logits.keys():
            values, expected = mine.logits[head], others.logits[head]
            logits.append(float(np.abs(values - expected).max()))
            probabilities.append(float(np.abs(softmax(values) - softmax(expected)).max()))
    return max(logits), max(probabilities)


def main() -> None:
    """Print the table of one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="bertedge-small-en")
    parser.add_argument("corpus", nargs="?", type=Path)
    parser.add_argument("--examples", type=int, default=16)
    options = parser.parse_args()
    checkpoint = open_checkpoint(options.model)
    sample = Sample.of(checkpoint, options.corpus or default_text(), options.examples)
    print("| bundle | on | logits | probabilities | accepted | best words | agreement | KL |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        in_float = export(checkpoint, Path(scratch) / "float32")
        reference = load(in_float.folder, threads=1)
        bundles = {"float32": in_float}
        for place, (words, (target, recipe)) in enumerate(ROWS.items()):
            bundles[words] = quantize(checkpoint, Path(scratch) / str(place), target=target, recipe=recipe)
        for words, bundle in bundles.items():
            for cells in rows(words, reference, bundle, sample.batches):
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
