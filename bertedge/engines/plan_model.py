"""A bundle's model computed in numpy, from ``plan.json`` and the tensors that it names, and from nothing else.

It shares no code with the engines, so golden vectors for the arithmetic of the native engine are recorded with it; see
:mod:`bertedge.engines.plan_layers` for that arithmetic, and :mod:`bertedge.plan` for the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bertedge.engines.plan_layers import Floats, PlanLayers
from bertedge.plan import StoredHead, read_plan
from bertedge.predictor import HIDDEN_STATES, POOLER_OUTPUT, Row, RowOutputs

T = TypeVar("T")


class PlanModel(PlanLayers):
    """The model of a bundle's folder, as an executor; see :class:`bertedge.engines.engine.Executor`.

    Args:
        replaced: tensor's name -> value that is used instead of the file's.

    Raises:
        BundleError: ``plan.json`` is broken, or of another schema.
    """

    def __init__(self, folder: Path, *, replaced: Mapping[str, Floats] | None = None) -> None:
        super().__init__(folder, read_plan(folder), replaced)
        self.encoder = self.plan.encoder

    def run(self, rows: Sequence[Row], read: Callable[[RowOutputs], T]) -> list[T]:
        """Run texts of any lengths together; see :meth:`bertedge.engines.engine.Executor.run`."""
        return [read(outputs) for outputs in self._outputs(rows)] if rows else []

    def _outputs(self, rows: Sequence[Row]) -> Iterator[RowOutputs]:
        x, texts = self._embeddings(rows), _slices([len(row.input_ids) for row in rows])
        for index in range(self.encoder["num_hidden_layers"]):
            x = self._block(index, x, texts)
        if self.encoder["norm"] == "pre":
            x = self.norm("encoder.norm", x)
        masked = [text.start + row.masked_positions for row, text in zip(rows, texts, strict=True)]
        given = {"every": x, "masked": x[np.concatenate(masked)], "first": x[[text.start for text in texts]]}
        given["mean"] = np.stack([x[text].mean(axis=0) for text in texts])
        if "pooler" in self.plan.layers:
            given["pooler"] = np.tanh(self.linear("pooler", given["first"]))
        logits = {name: self._head(head, given) for name, head in self.plan.heads.items()}
        reads = {name: head.reads for name, head in self.plan.heads.items()}
        at_masked = _slices([len(places) for places in masked])
        for place in range(len(rows)):
            where = {"every": texts[place], "masked": at_masked[place]}
            outputs = {HIDDEN_STATES: x[texts[place]]}
            if "pooler" in given:
                outputs[POOLER_OUTPUT] = given["pooler"][place]
            yield outputs | {name: logits[name][where.get(reads[name], place)] for name in logits}

    def _head(self, head: StoredHead, given: Mapping[str, Floats]) -> Floats:
        """(N, size), for each of what it reads of all texts."""
        x = given[head.reads]
        how = {"linear": self.linear, "norm": self.norm, "activation": activation}
        for step in head.steps:
            x = how[step.kind](step.name, x)
        return x

    # -- the encoder: x is (tokens of all texts, H) -------------------------------------------------------------

    def _embeddings(self, rows: Sequence[Row]) -> Floats:
        x = self.rows("embeddings.word", np.concatenate([row.input_ids for row in rows]))
        if self.encoder["positions"] == "absolute":
            places = np.concatenate([np.arange(len(row.input_ids)) for row in rows])
            x = x + self.rows("embeddings.position", places + self.encoder["position_offset"])
        if self.encoder["type_vocab_size"] > 0:
            x = x + self.rows("embeddings.token_type", np.concatenate([row.token_type_ids for row in rows]))
        x = self.norm("embeddings.norm", x)
        return self.linear("embeddings.projection", x) if "embeddings.projection" in self.plan.layers else x

    def _block(self, index: int, x: Floats, texts: Sequence[slice]) -> Floats:
        name = f"encoder.layer.{index}"
        if self.encoder["norm"] == "post":
            x = self.norm(f"{name}.attention.output.norm", self._attention(index, x, texts) + x)
            return self.norm(f"{name}.output.norm", self._feed_forward(name, x) + x)
        x = self._attention(index, self.norm(f"{name}.attention.qkv.norm", x) if index else x, texts) + x
        return self._feed_forward(name, self.norm(f"{name}.intermediate.norm", x)) + x

    def _feed_forward(self, name: str, x: Floats) -> Floats:
        inner, function = self.linear(f"{name}.intermediate", x), self.encoder["activation"]
        if not self.encoder["gated"]:
            return self.linear(f"{name}.output", activation(function, inner))
        values, gate = np.split(inner, 2, axis=-1)
        return self.linear(f"{name}.output", activation(function, values) * gate)

    def _attention(self, index: int, x: Floats, texts: Sequence[slice]) -> Floats:
        heads, name = self.encoder["num_attention_heads"], f"encoder.layer.{index}.attention"
        joined = self.linear(f"{name}.qkv", x).reshape(len(x), 3, heads, -1)
        context = np.concatenate([self._context(index, joined[text]) for text in texts])
        return self.linear(f"{name}.output", context)

    def _context(self, index: int, joined: Floats) -> Floats:
        """One text: (S, 3, heads, size) -> (S, H)."""
        query, key, value = joined.transpose(1, 2, 0, 3)  # (heads, S, size)
        length = len(joined)
        types, far = self.encoder["layer_types"], np.abs(np.arange(length) - np.arange(length)[:, None])
        local = bool(types) and types[index] == "sliding_attention"
        if self.encoder["positions"] == "rotary":
            theta = self.encoder["local_rope_theta" if local else "rope_theta"]
            query, key = rotated(query, theta), rotated(key, theta)
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[-1])) + self._relative_bias(length)
        if local:
            scores = np.where(far > self.encoder["local_attention"] // 2, -np.inf, scores)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context = weights / weights.sum(axis=-1, keepdims=True) @ value
        return context.transpose(1, 0, 2).reshape(length, -1)

    def _relative_bias(self, length: int) -> Floats | float:
        if self.plan.relative_bias is None:
            return 0.0
        table, place = self.tensor(self.plan.relative_bias), np.arange(length)
        reach = table.shape[1] // 2
        return table[:, np.clip(place - place[:, None], -reach, reach) + reach]


def _slices(lengths: Sequence[int]) -> list[slice]:
    """The places of parts of these lengths, one after another."""
    ends = np.cumsum(lengths)
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def activation(function: str, x: Floats) -> Floats:
    """An activation function, by its name in ``plan.json``."""
    return np.asarray(ACTIVATIONS[function](x), dtype=np.float32)


def erf(x: NDArray[Any]) -> NDArray[Any]:
    """The error function, within 1.5e-7 (Abramowitz and Stegun 1964, formula 7.1.26)."""
    size = np.abs(x)
    t = 1 / (1 + 0.3275911 * size)
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - tail * np.exp(-size * size))


ACTIVATIONS: dict[str, Callable[[Floats], Any]] = {
    "gelu": lambda x: x * (1 + erf(x * np.float32(np.sqrt(0.5)))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


def rotated(x: Floats, theta: float) -> Floats:
    """(heads, S, size), each pair of channels (i, i + size / 2) as a point, rotated."""
    first, second = np.split(x, 2, axis=-1)
    pairs = first.shape[-1]
    angles = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(pairs) / pairs)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
