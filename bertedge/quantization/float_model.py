"""The float graph in a scratch folder, written once for calibration and golden vectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bertedge.checkpoint import Checkpoint
from bertedge.graph.encoder_graph import build_graph
from bertedge.scratch import temporary_folder


@dataclass(frozen=True, kw_only=True)
class FloatModel:
    """Two graphs that share one file of weights, which sessions map instead of copying.

    Attributes:
        plain: the model.
        observed: the model with the inputs of all linear layers as further outputs.
        layer_inputs: layer name -> the output of ``observed`` that is its input; layers may share an output.
        channels: output of ``observed`` that is a layer's input -> the extent of its last axis.
    """

    plain: Path
    observed: Path
    layer_inputs: dict[str, str]
    channels: dict[str, int]


@contextmanager
def float_model(checkpoint: Checkpoint) -> Iterator[FloatModel]:
    """Write the float graphs; sessions map their weights, so close all sessions before the block ends."""
    with temporary_folder() as folder:
        weights = folder / "weights"
        graph = build_graph(checkpoint, {})
        graph.builder.write(folder / "plain.onnx", external=weights)
        channels = {value: graph.layers[layer].inputs for layer, value in graph.linear_inputs.items()}
        for value in channels:
            graph.builder.expose(value)
        graph.builder.write(folder / "observed.onnx", external=weights, again=True)
        yield FloatModel(
            plain=folder / "plain.onnx",
            observed=folder / "observed.onnx",
            layer_inputs=dict(graph.linear_inputs),
            channels=channels,
        )
