"""``plan.json``: how a bundle's model is stored and computed, for engines that do not read ONNX.

It names every layer with its role, its number format and its tensors, and says where each tensor's bytes are: in
``model.onnx_data``, or in ``model.onnx`` itself for smaller models. The model is an encoder whose blocks are attention
and a feed-forward network::

    x = norm(words[id] + positions[place + position_offset] + token_types[type])      "embeddings.norm"
    x = projection(x)                                                    "embeddings.projection", if it is there
    per block N, with h attention heads of a size:
      x = norm(attention(x) + x)                                         "encoder.layer.N.attention.output.norm"
      x = norm(feed_forward(x) + x)                                      "encoder.layer.N.output.norm"
      attention(x) = attention_output(softmax(scores) v)                 "encoder.layer.N.attention.output"
      q, k, v = qkv(x)                                                   "encoder.layer.N.attention.qkv"
      feed_forward(x) = output(activation(intermediate(x)))              "encoder.layer.N.intermediate", ".output"
    pooler: tanh(pooler(x[first]))

``heads`` says what each head reads, and the steps that follow: linear layers, activation functions and layer norms. A
decoder of masked words, for example, reads x[masked], and its steps are "mlm.transform", gelu, "mlm.transform.norm"
and "mlm.decoder".

``encoder`` says where a model differs:

- ``norm`` is ``pre``: x = attention(norm(x)) + x with "encoder.layer.N.attention.qkv.norm", but block 0 has none;
  x = feed_forward(norm(x)) + x with "encoder.layer.N.intermediate.norm"; and "encoder.norm" after the last block.
- ``gated``: feed_forward(x) = output(activation(a) * b), where a, b are the halves of intermediate(x).
- ``positions`` is ``rotary``: there is no table of positions. For each head of q and k, the channels i and i + size / 2
  are a point that is rotated by place * theta^(-2 i / size), with ``rope_theta``, or ``local_rope_theta`` if the block
  is local.
- ``layer_types`` names a block ``sliding_attention``: it is local. Scores of places farther apart than
  ``local_attention`` // 2 are minus infinity.
- A ``type_vocab_size`` of 0: there are no token types.

The scores of a head are q k' / sqrt(size). If ``relative_bias`` names a tensor (heads, 2 reach + 1), its number at
[head, clip(place of k - place of q, -reach, reach) + reach] is added to them.

A layer has one matrix, or several that follow one another along its outputs: in a bundle whose last block computes only
the positions that are read, the query is a matrix of its own. The input x of a matrix is prepared first::

    x = (x - shifts) * reciprocals                                       where the matrix names such tensors

Then, by format (W is the matrix as (inputs, outputs), "scale" one number for each output):

- ``float32``, ``float16``: y = x W + bias, in float32.
- ``static_int8``: u = clip(rint(x / input.scale) + input.zero_point, 0, 255), halves to even, and
  y = ((u - zero_point) W) * (input.scale * scale) + bias, with integer sums.
- ``two_term_int8``: the same, and with r = x - (u - zero_point) * input.scale a second product is added to y:
  v = clip(rint(r / residual_scale) + 128, 0, 255), ((v - 128) W) * (residual_scale * scale).
- ``dynamic_int8``: as ``static_int8``, with a scale and a zero point that are taken from x when it is computed:
  onnxruntime takes them from the whole tensor, another engine may take them from each token.
- ``blocks``: W is stored by output. A row consists of blocks of ``block_size`` levels of ``bits`` bits, the last one
  padded; of two levels in a byte the first is the lower half. A weight is (level - 2^(bits - 1)) * scale, with a scale
  for each block (outputs, blocks). Activations may be rounded to int8 or stay float.

``outliers`` are inputs that are multiplied in float next to a static format: y += x[outliers] @ outlier_weight. In W
their weights are zero.

A table gives float rows: of its own format, then ``exact`` rows added (rows[index[id]] * scale[index[id]]; index 0 adds
nothing), then multiplied by ``reciprocals``. A table that the decoder shares has the decoder's format.

Embeddings are ``embedding_size`` wide. Layers of blocks that share their weights name the same tensors. Layer norms
have the epsilon of ``encoder``; the channel factors of a decoder are in the weights of the norm before it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bertedge.errors import BundleError, FileError
from bertedge.files import write_text
from bertedge.records import from_json, read_json, to_json

PLAN = "plan.json"
SCHEMA_VERSION = 2
AGAIN = "copy the bundle again from its source, or make it again"

Format = Literal["float32", "float16", "dynamic_int8", "static_int8", "two_term_int8", "blocks"]
TableFormat = Literal["float32", "float16", "int8", "blocks"]
DType = Literal["float32", "float16", "int8", "uint8"]
#: What a head reads: the states of every token, of the masked tokens or of the first token, the mean of all states, or
#: the pooler's output.
HeadReads = Literal["every", "masked", "first", "mean", "pooler"]
StepKind = Literal["linear", "activation", "norm"]


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Where a tensor is, in C order; tensors of ``model.onnx_data`` are aligned to 64 bytes, larger ones to pages."""

    file: str
    offset: int
    dtype: DType
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of its data."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def flaw(self) -> str | None:
        """The reason why there can be no such tensor; None if it is possible."""
        if Path(self.file).name != self.file or self.offset < 0 or min(self.shape, default=0) < 0:
            return f"{self.file!r} at {self.offset} with shape {self.shape} is not a valid place"
        return None


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Weights in blocks of ``block_size``, of ``bits`` bits each (4 or 8)."""

    bits: int
    block_size: int


@dataclass(frozen=True, kw_only=True)
class QuantizedInput:
    """How a layer's input becomes uint8.

    Attributes:
        residual_scale: the scale of the second term; None without a second term.
    """

    scale: float
    zero_point: int
    residual_scale: float | None = None


@dataclass(frozen=True, kw_only=True)
class StoredMatrix:
    """A matrix; every text field but ``layout`` is the name of a tensor.

    Attributes:
        layout: ``inputs_outputs``, or ``outputs_inputs`` for blocks and for the shared table.
        scale: (outputs,) or (outputs, 1); in blocks (outputs, blocks).
        shifts, reciprocals: (inputs,).
        outlier_weight: (outliers, outputs), float16.
    """

    outputs: int
    layout: Literal["inputs_outputs", "outputs_inputs"]
    weight: str
    bias: str
    scale: str | None = None
    shifts: str | None = None
    reciprocals: str | None = None
    outlier_weight: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoredLayer:
    """A linear layer.

    Attributes:
        role: see :class:`bertedge.layers.Role`.
        reads: the positions that it is computed for: ``every``, ``first`` or ``masked``; ``mean`` for the mean of all.
        outliers: inputs that are multiplied in float.
    """

    role: str
    reads: str
    format: Format
    inputs: int
    outputs: int
    matrices: tuple[StoredMatrix, ...]
    input: QuantizedInput | None = None
    outliers: tuple[int, ...] = ()
    blocks: Blocks | None = None


@dataclass(frozen=True, kw_only=True)
class ExactRows:
    """The rounding errors of some rows; names of tensors: (rows,), (1 + exact rows, columns), (1 + exact rows, 1)."""

    index: str
    rows: str
    scale: str


@dataclass(frozen=True, kw_only=True)
class StoredTable:
    """A look-up table.

    Attributes:
        values, scale, reciprocals: names of tensors: (rows, columns), (rows, 1) or (rows, blocks), (columns,).
    """

    role: str
    format: TableFormat
    rows: int
    columns: int
    values: str
    scale: str | None = None
    exact: ExactRows | None = None
    reciprocals: str | None = None
    blocks: Blocks | None = None


@dataclass(frozen=True, kw_only=True)
class StoredNorm:
    """A layer norm; names of tensors, (channels,)."""

    weight: str
    bias: str


@dataclass(frozen=True, kw_only=True)
class StoredStep:
    """A step of a head: the name of a layer, a function (as ``activation`` of the encoder, or ``tanh``) or a norm."""

    kind: StepKind
    name: str


@dataclass(frozen=True, kw_only=True)
class StoredHead:
    """How a head is computed: the steps follow one another."""

    reads: HeadReads
    steps: tuple[StoredStep, ...]


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """``plan.json``.

    Attributes:
        encoder: sizes and structure, named as in :class:`bertedge.encoders.EncoderConfig`; ``activation`` is
            one of ``gelu``, ``gelu_tanh``, ``relu``, ``silu``.
        heads: by name, in the order of :class:`bertedge.manifest.Manifest`.
        tensors: all tensors that the other fields name.
        relative_bias: the tensor that is added to the scores of attention; None for none.
    """

    schema_version: int
    encoder: dict[str, Any]
    heads: dict[str, StoredHead]
    tables: dict[str, StoredTable]
    layers: dict[str, StoredLayer]
    norms: dict[str, StoredNorm]
    tensors: dict[str, StoredTensor] = field(repr=False)
    relative_bias: str | None = None


def write_plan(folder: Path, model: StoredModel) -> None:
    """Write ``plan.json``, a line for each layer and each tensor."""
    parts = []
    for key, value in to_json(model).items():
        if isinstance(value, dict) and key != "encoder":
            lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(_given(entry))}" for name, entry in value.items())
            parts.append(f"{json.dumps(key)}: {{\n{lines}\n}}")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    write_text(folder / PLAN, "{\n" + ",\n".join(parts) + "\n}\n")


def _given(value: Any) -> Any:
    """The entry without its empty fields."""
    if isinstance(value, dict):
        return {key: _given(item) for key, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value


def read_plan(folder: Path) -> StoredModel:
    """Read ``plan.json`` of a bundle; its hash is in the manifest.

    Raises:
        BundleError: it is broken, or of another schema.
        FileError: it cannot be read.
    """
    raw = read_json(folder / PLAN)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleError(f"{folder / PLAN}: schema {version}, this bertedge reads {SCHEMA_VERSION}", AGAIN)
    try:
        return from_json(StoredModel, raw, PLAN)
    except FileError as error:
        raise BundleError(f"{folder}: {error.message}", AGAIN) from error
