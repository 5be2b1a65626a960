"""Measure how much fidelity int8 can keep: each part of a model is rounded alone, in float arithmetic.

    python benchmarks/int8_limits.py MODEL CORPUS [--examples 64]

Weights and activations are rounded as the recipes round them, everything else stays float32, and the result is compared
with the original model. No int8 kernel with those scales can lose less than a row. Prints Markdown.
Install with ``pip install 'bertedge[train]'``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from measuring import METRICS, Sample, arguments, show
from torch import Tensor, nn

from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.fidelity import measure_fidelity
from bertedge.predictor import Batch, Outputs
from bertedge.train.loop import Inputs
from bertedge.train.model import BertForPreTraining

Rounding = Callable[[Tensor], Tensor]
EXACT = ("seq_relationship", "predictions.transform")  # float in every recipe


def per_channel(values: Tensor) -> Tensor:
    """Symmetric, one scale a row (an output channel, or a token)."""
    scale = values.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / 127
    return (values / scale).round() * scale


def per_tensor(values: Tensor) -> Tensor:
    """Asymmetric, one scale for all, as the dynamic recipe does."""
    if not values.numel():  # a text without masked positions
        return values
    low, high = values.min().clamp(max=0), values.max().clamp(min=0)
    scale = (high - low).clamp(min=1e-12) / 255
    return ((values / scale).round().clamp(low / scale, high / scale)) * scale


def blocks(size: int) -> Rounding:
    """Symmetric, one scale for every ``size`` values along the inputs: finer than any int8 matmul of onnxruntime."""

    def rounding(values: Tensor) -> Tensor:
        if values.shape[-1] % size:
            return per_channel(values)
        return per_channel(values.unflatten(-1, (-1, size))).flatten(-2)

    return rounding


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is rounded, and how."""

    name: str
    weights: Rounding | None = None
    activations: Rounding | None = None


ROWS = (
    Row(name="activations, one scale a tensor", activations=per_tensor),
    Row(name="activations, one scale a token", activations=per_channel),
    Row(name="weights, one scale an output channel", weights=per_channel),
    Row(name="both, one scale a tensor and a channel", weights=per_channel, activations=per_tensor),
    Row(name="both, one scale a token and a channel", weights=per_channel, activations=per_channel),
    Row(name="both, one scale for every 32 values", weights=blocks(32), activations=blocks(32)),
)


class Rounded:
    """The torch model as a predictor, with some of it rounded."""

    def __init__(self, checkpoint: Checkpoint, row: Row) -> None:
        self.name = row.name
        self.model = BertForPreTraining.from_checkpoint(checkpoint).eval().requires_grad_(False)
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Linear) and not any(part in name for part in EXACT):
                self._round(module, row)
        if row.weights:
            table = self.model.embeddings.word_embeddings.weight
            table.copy_(row.weights(table))
        if row.activations:
            rounding = row.activations
            self.model.cls.predictions.transform.register_forward_hook(lambda module, inputs, output: rounding(output))

    def _round(self, module: nn.Linear, row: Row) -> None:
        if row.weights:
            module.weight.copy_(row.weights(module.weight))
        if row.activations:
            rounding = row.activations
            module.register_forward_pre_hook(lambda module, inputs: (rounding(inputs[0]),))

    def predict(self, batch: Batch) -> Outputs:
        """Rows one at a time, so that one scale a tensor is one scale a text."""
        mlm, nsp = [], []
        for row in range(len(batch.input_ids)):
            single = Batch.of({name: array[row : row + 1] for name, array in batch.arrays().items()})
            output = Inputs.of(single).run(self.model)
            padded = np.zeros((batch.masked_positions.shape[1], output.logits["mlm"].shape[1]), dtype=np.float32)
            padded[: len(output.logits["mlm"])] = output.logits["mlm"].numpy()
            mlm.append(padded)
            nsp.append(output.logits["nsp"][0].numpy())
        return Outputs(logits={"mlm": np.stack(mlm), "nsp": np.stack(nsp)})


def main() -> None:
    """Print the table of one model."""
    options = arguments(__doc__, examples=64).parse_args()
    torch.set_num_threads(usable_cpus())
    checkpoint = open_checkpoint(options.model)
    sample = Sample.of(checkpoint, options.corpus, options.examples)
    reference = Rounded(checkpoint, Row(name="float"))
    print(f"### {checkpoint.name}\n\n| what is rounded to 8 bits | " + " | ".join(METRICS) + " |")
    print("| --- |" + " --- |" * len(METRICS))
    for row in ROWS:
        (values,) = measure_fidelity(reference, [Rounded(checkpoint, row)], sample.batches)
        print(f"| {row.name} | " + " | ".join(show(values[metric]) for metric in METRICS) + " |", flush=True)
    print()


if __name__ == "__main__":
    main()
