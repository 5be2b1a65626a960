"""Run the float graph over calibration text and observe what every linear layer reads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout, masked_batch
from bertedge.data.calibration import mixed_pairs
from bertedge.data.corpus import TokenizedCorpus
from bertedge.graph.bert import build_graph
from bertedge.quantization.observers import MinMax
from bertedge.recipe import QuantizationRecipe
from bertedge.runtime.session import open_session
from bertedge.runtime.threads import usable_cpus

SEED = 0


def calibrate(
    checkpoint: Checkpoint, recipe: QuantizationRecipe, corpus: TokenizedCorpus, listen: Callable[[float, str], None]
) -> dict[str, MinMax]:
    """The range of every linear layer's input, by layer name.

    Texts run one at a time, so memory is bounded by one text's activations beside the float weights.
    """
    graph = build_graph(checkpoint, {})
    values = list(dict.fromkeys(graph.linear_inputs.values()))  # layers may share an input
    for value in values:
        graph.builder.expose(value)
    length = min(recipe.max_length, checkpoint.config.max_position_embeddings)
    pairs = mixed_pairs(corpus, recipe.num_examples, max_length=length, seed=SEED)
    layout, rng = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size), np.random.default_rng(SEED)
    channels = {value: graph.linear_shapes[layer][1] for layer, value in graph.linear_inputs.items()}
    observers = {value: MinMax(channels[value]) for value in values}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        graph.builder.write(path, external=True)
        session = open_session(path, threads=usable_cpus())
        for index, pair in enumerate(pairs):
            batch = masked_batch([pair], layout, rng)
            feed = {
                "input_ids": batch.input_ids,
                "attention_mask": batch.attention_mask,
                "token_type_ids": batch.token_type_ids,
                "masked_positions": batch.masked_positions,
            }
            for value, array in zip(values, session.run(values, feed), strict=True):
                observers[value].observe(array)
            listen((index + 1) / len(pairs), f"calibrating {index + 1}/{len(pairs)}")
        del session  # unmap the weights before their folder goes
    return {layer: observers[value] for layer, value in graph.linear_inputs.items()}
