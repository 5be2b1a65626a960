"""A bundle's model computed in numpy from ``plan.json`` and the tensors that it names, and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.plan import QuantizedInput, StoredLayer, StoredMatrix, StoredTable, read_plan

Floats = NDArray[np.float32]
ACTIVATIONS: dict[str, Callable[[Floats], Any]] = {
    "gelu": lambda x: x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@dataclass
class PlanModel:
    """The model of a bundle's folder. One text at a time, without padding."""

    folder: Path

    def __post_init__(self) -> None:
        self.plan = read_plan(self.folder)
        self.encoder = self.plan.encoder

    def outputs(self, ids: list[int], types: list[int], masked: list[int]) -> dict[str, Floats]:
        """``hidden_states`` (S, H) and what the heads make of them."""
        x = self.norm("embeddings.norm", self.embeddings(ids, types))
        if "embeddings.projection" in self.plan.layers:
            x = self.linear("embeddings.projection", x)
        for index in range(self.encoder["num_hidden_layers"]):
            x = self.block(index, x)
        if self.encoder["norm"] == "pre":
            x = self.norm("encoder.norm", x)
        found = {"hidden_states": x}
        if "pooler" in self.plan.layers:
            found["pooler_output"] = np.tanh(self.linear("pooler", x[:1]))[0]
        if "mlm" in self.plan.heads:
            inner = self.activation(self.linear("mlm.transform", x[masked]), "decoder_activation")
            inner = self.norm("mlm.transform.norm", inner)
            found["mlm_logits"] = self.linear("mlm.decoder", inner)
        if "nsp" in self.plan.heads:
            found["nsp_logits"] = self.linear("nsp", found["pooler_output"][None])[0]
        others = [head for head in self.plan.heads if head not in ("mlm", "nsp")]
        return found | {f"{head}_logits": self.classified(head, found) for head in others}

    def classified(self, head: str, found: dict[str, Floats]) -> Floats:
        """(C,), or (S, C) of a head that reads every token."""
        told = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))["settings"][head]
        told, states = told.get("layers", told), found["hidden_states"]
        texts = {"pooler": found.get("pooler_output"), "first": states[0], "mean": states.mean(axis=0)}
        of_text = texts[told["reads"]] if "reads" in told else None
        x = states if of_text is None else of_text[None]
        if f"{head}.dense" in self.plan.layers:
            x = np.asarray(ACTIVATIONS[told["activation"]](self.linear(f"{head}.dense", x)), dtype=np.float32)
        if f"{head}.norm" in self.plan.norms:
            x = self.norm(f"{head}.norm", x)
        logits = self.linear(head, x)
        return logits if of_text is None else logits[0]

    def tensor(self, name: str) -> NDArray[Any]:
        stored = self.plan.load(self.folder, name)
        return stored.astype(np.float32) if stored.dtype == np.float16 else np.asarray(stored)

    # -- parts of the model -------------------------------------------------------------------------------------

    def embeddings(self, ids: list[int], types: list[int]) -> Floats:
        summed, first = self.rows("embeddings.word", ids), self.encoder["position_offset"]
        if self.encoder["positions"] == "absolute":
            summed = summed + self.rows("embeddings.position", list(range(first, first + len(ids))))
        with_types = self.encoder["type_vocab_size"] > 0
        return summed + self.rows("embeddings.token_type", types) if with_types else summed

    def block(self, index: int, x: Floats) -> Floats:
        name = f"encoder.layer.{index}"
        if self.encoder["norm"] == "post":
            x = self.norm(f"{name}.attention.output.norm", self.attention(index, x) + x)
            return self.norm(f"{name}.output.norm", self.feed_forward(name, x) + x)
        x = self.attention(index, self.norm(f"{name}.attention.qkv.norm", x) if index else x) + x
        return self.feed_forward(name, self.norm(f"{name}.intermediate.norm", x)) + x

    def feed_forward(self, name: str, x: Floats) -> Floats:
        inner = self.linear(f"{name}.intermediate", x)
        if not self.encoder["gated"]:
            return self.linear(f"{name}.output", self.activation(inner))
        values, gate = np.split(inner, 2, axis=-1)
        return self.linear(f"{name}.output", self.activation(values) * gate)

    def attention(self, index: int, x: Floats) -> Floats:
        heads, name = self.encoder["num_attention_heads"], f"encoder.layer.{index}.attention"
        joined = self.linear(f"{name}.qkv", x)  # (S, 3 H)
        query, key, value = joined.reshape(len(x), 3, heads, -1).transpose(1, 2, 0, 3)  # (heads, S, size)
        types, far = self.encoder["layer_types"], np.abs(np.arange(len(x)) - np.arange(len(x))[:, None])
        local = bool(types) and types[index] == "sliding_attention"
        if self.encoder["positions"] == "rotary":
            theta = self.encoder["local_rope_theta" if local else "rope_theta"]
            query, key = rotated(query, theta), rotated(key, theta)
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[-1])) + self.relative_bias(len(x))
        if local:
            scores = np.where(far > self.encoder["local_attention"] // 2, -np.inf, scores)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context = weights / weights.sum(axis=-1, keepdims=True) @ value
        return self.linear(f"{name}.output", context.transpose(1, 0, 2).reshape(len(x), -1))

    def relative_bias(self, length: int) -> Floats | float:
        if self.plan.relative_bias is None:
            return 0.0
        table, place = self.tensor(self.plan.relative_bias), np.arange(length)
        reach = table.shape[1] // 2
        return table[:, np.clip(place - place[:, None], -reach, reach) + reach]

    def activation(self, x: Floats, which: str = "activation") -> Floats:
        return np.asarray(ACTIVATIONS[self.encoder[which]](x), dtype=np.float32)

    def norm(self, name: str, x: Floats) -> Floats:
        stored = self.plan.norms[name]
        centered = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centered).mean(axis=-1, keepdims=True)
        scaled = centered / np.sqrt(variance + np.float32(self.encoder["layer_norm_eps"]))
        return scaled * self.tensor(stored.weight) + self.tensor(stored.bias)

    # -- tables -------------------------------------------------------------------------------------------------

    def rows(self, name: str, ids: list[int]) -> Floats:
        table = self.plan.tables[name]
        values = self.table_rows(table, ids)
        if table.exact is not None:
            which = self.tensor(table.exact.index)[ids]
            values = values + (self.tensor(table.exact.rows) * self.tensor(table.exact.scale))[which]
        return values if table.reciprocals is None else values * self.tensor(table.reciprocals)

    def table_rows(self, table: StoredTable, ids: list[int]) -> Floats:
        values = self.tensor(table.values)[ids]
        if table.scale is None:
            return values
        scale = self.tensor(table.scale)[ids]
        if table.blocks is None:
            return values * scale
        return in_floats(values, scale, table.blocks.bits, table.blocks.block_size)[:, : table.columns]

    # -- linear layers ------------------------------------------------------------------------------------------

    def linear(self, name: str, x: Floats) -> Floats:
        """(rows, inputs) -> (rows, outputs)."""
        layer = self.plan.layers[name]
        assert sum(matrix.outputs for matrix in layer.matrices) == layer.outputs
        return np.concatenate([self.multiply(layer, matrix, x) for matrix in layer.matrices], axis=1)

    def multiply(self, layer: StoredLayer, matrix: StoredMatrix, x: Floats) -> Floats:
        if matrix.shifts is not None:
            x = x - self.tensor(matrix.shifts)
        if matrix.reciprocals is not None:
            x = x * self.tensor(matrix.reciprocals)
        weight = self.tensor(matrix.weight)
        if layer.blocks is not None:
            assert matrix.scale is not None
            scale = self.tensor(matrix.scale)
            weight = in_floats(weight, scale, layer.blocks.bits, layer.blocks.block_size)[:, : layer.inputs]
        weight = weight.T if matrix.layout == "outputs_inputs" else weight
        y = self.product(layer, matrix, x, weight) + self.tensor(matrix.bias)
        if matrix.outlier_weight is not None:
            y = y + x[:, list(layer.outliers)] @ self.tensor(matrix.outlier_weight)
        return y

    def product(self, layer: StoredLayer, matrix: StoredMatrix, x: Floats, weight: NDArray[Any]) -> Floats:
        if layer.format in ("float32", "float16", "blocks"):
            return x @ weight
        assert matrix.scale is not None
        scale, weight = self.tensor(matrix.scale).reshape(-1), weight.astype(np.int32)
        given = layer.input or range_of(x)
        levels = quantized(x, given.scale, given.zero_point)
        y = (levels @ weight).astype(np.float32) * (np.float32(given.scale) * scale)
        if given.residual_scale is not None:
            rest = quantized(x - levels * np.float32(given.scale), given.residual_scale, 128)
            y = y + (rest @ weight).astype(np.float32) * (np.float32(given.residual_scale) * scale)
        return y


def rotated(x: Floats, theta: float) -> Floats:
    """(heads, S, size), each pair of channels (i, i + size / 2) as a point, rotated."""
    first, second = np.split(x, 2, axis=-1)
    pairs = first.shape[-1]
    angles = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(pairs) / pairs)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def quantized(x: Floats, scale: float, zero_point: int) -> NDArray[np.int32]:
    """Steps from the zero point."""
    return np.clip(np.rint(x / np.float32(scale)) + zero_point, 0, 255).astype(np.int32) - zero_point


def range_of(x: Floats) -> QuantizedInput:
    """The scale and the zero point of a whole tensor, as ``DynamicQuantizeLinear`` takes them."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = np.float32(high - low) / np.float32(255)
    return QuantizedInput(scale=float(scale), zero_point=int(np.clip(np.rint(-low / scale), 0, 255)))


def in_floats(packed: NDArray[np.uint8], scale: Floats, bits: int, block_size: int) -> Floats:
    """Rows in blocks as float32, padding included."""
    levels = packed if bits == 8 else np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    return (levels.astype(np.float32) - 2 ** (bits - 1)) * np.repeat(scale, block_size, axis=1)
