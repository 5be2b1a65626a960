"""A model with outliers: the same function in float, with activations that are hard to quantize.

Trained BERTs grow a few channels of large activations (Kovaleva et al. 2021; Dettmers et al. 2022). This model has
them by design: its weights are changed in pairs that cancel exactly. So a loss of a quantizer that the original model
does not have is caused by outliers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bertedge.checkpoint.checkpoint import Checkpoint
from bertedge.encoders import names

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class ChangedSource:
    """Tensors of another checkpoint, some of them changed when they are loaded."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._source = checkpoint.source
        self._changes: dict[str, list[Change]] = {}
        self.shapes, self.kinds = checkpoint.source.shapes, checkpoint.source.kinds
        self.files = checkpoint.source.files

    def change(self, name: str, change: Change) -> None:
        """Change a tensor, after what was changed in it before."""
        self._changes.setdefault(name, []).append(change)

    def load(self, name: str) -> NDArray[np.float32]:
        tensor = np.array(self._source.load(name), dtype=np.float32)
        for change in self._changes.get(name, []):
            tensor = change(tensor)
        return tensor


def with_outliers(checkpoint: Checkpoint, *, factor: float = 50.0, channels: int = 3, seed: int = 0) -> Checkpoint:
    """The same model with outliers of about ``factor`` in some channels of every layer's input.

    - After every layer norm but the last, whose output is the model's: its bias is raised by ``factor``, and the layers
      that read the channel subtract it again, the skip connection included.
    - Between attention's values and its output layer: rows of the first are multiplied by ``factor``, columns of the
      second divided.
    - After the MLM head's layer norm, if the decoder has a matrix of its own: the same.

    Args:
        channels: how many of each layer.
    """
    rng, source, config = np.random.default_rng(seed), ChangedSource(checkpoint), checkpoint.config
    signs = np.where(rng.random(channels) < 0.5, -1.0, 1.0).astype(np.float32)

    def chosen() -> NDArray[np.int64]:
        return rng.choice(config.hidden_size, size=channels, replace=False)

    where = chosen()
    _shift(source, f"{names.EMBEDDINGS}.LayerNorm.bias", where, factor * signs)
    for index in range(config.num_hidden_layers):
        block = names.layer(index)
        attention = f"{block}.attention.output"
        for part in ("query", "key", "value"):
            _compensate(source, f"{block}.attention.self.{part}", where, factor * signs)
        _shift(source, f"{attention}.dense.bias", where, -factor * signs)
        _scale(source, f"{block}.attention.self.value", f"{attention}.dense.weight", chosen(), factor)
        where = chosen()
        _shift(source, f"{attention}.LayerNorm.bias", where, factor * signs)
        _compensate(source, f"{block}.intermediate.dense", where, factor * signs)
        _shift(source, f"{block}.output.dense.bias", where, -factor * signs)
        if index + 1 < config.num_hidden_layers:
            where = chosen()
            _shift(source, f"{block}.output.LayerNorm.bias", where, factor * signs)
    if not checkpoint.parts.tied:
        _scale(source, f"{names.MLM_TRANSFORM}.LayerNorm", names.DECODER, chosen(), factor)
    return replace(
        checkpoint,
        name=f"{checkpoint.name}-outliers",
        source=source,
        tokenizer_=checkpoint.tokenizer,
        selection=checkpoint.selection + f"outliers {factor} {channels} {seed}".encode(),
    )


def _shift(source: ChangedSource, bias: str, where: NDArray[np.int64], by: NDArray[np.float32]) -> None:
    """Add to some channels of a bias."""

    def change(values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[where] += by
        return values

    source.change(bias, change)


def _compensate(source: ChangedSource, layer: str, where: NDArray[np.int64], by: NDArray[np.float32]) -> None:
    """Let a layer compute the same although some of its inputs are larger by ``by``."""
    lost = source.load(f"{layer}.weight")[:, where].astype(np.float64) @ by
    source.change(f"{layer}.bias", lambda values: (values - lost).astype(np.float32))


def _scale(source: ChangedSource, layer: str, reader: str, where: NDArray[np.int64], factor: float) -> None:
    """Multiply some outputs of a layer and divide the matrix that reads them."""

    def up(values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[where] *= factor
        return values

    def down(values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[:, where] /= factor
        return values

    source.change(f"{layer}.weight", up)
    source.change(f"{layer}.bias", up)
    source.change(reader, down)
