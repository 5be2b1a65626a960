"""A bundle as the native engine reads it: ``plan.json`` and the mapped tensors as a ``be_model``; see ``src/api.h``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.bundle import Bundle
from bertedge.encoders import EncoderConfig
from bertedge.engines.native import library as c
from bertedge.engines.plan_tensors import PlanTensors
from bertedge.errors import BundleError, UsageError
from bertedge.heads import HEADS
from bertedge.manifest import Manifest
from bertedge.plan import AGAIN, PLAN, StoredHead, StoredLayer, StoredMatrix, read_plan

#: Formats with integer activations -> their int8 terms. In other formats activations are float32.
TERMS = {"static_int8": 1, "dynamic_int8": 1, "two_term_int8": 2}
FLOATS, WEIGHTS = ("float32", "float16"), ("float32", "float16", "int8")
#: Sizes have 32 bits in the interface.
MOST = 2**31 - 1
ELSEWHERE = "run it with --engine onnxruntime"
#: The parts of a head that may come before its last layer, in their order.
IN_FRONT = ("linear", "activation", "norm")


class Description:
    """A model that can be opened. What it points at lives as long as it does.

    Attributes:
        model: the ``be_model``.
        heads: names of its heads, in their order.

    Raises:
        BundleError: ``plan.json`` or a tensor that it names is broken or missing.
        UsageError: the native engine does not compute one of its formats or heads.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.folder, self.config = bundle.folder, bundle.config
        self.plan = read_plan(bundle.folder)
        self._tensors = PlanTensors(bundle.folder, self.plan)
        self._kept: list[Any] = []
        self.heads: dict[str, StoredHead] = self.plan.heads
        self._require_outputs(bundle.manifest)
        self.model = self._model(self.config)

    def _model(self, config: EncoderConfig) -> c.Model:
        heads = [self._head(name, stored) for name, stored in self.heads.items()]
        blocks = [self._block(config, index) for index in range(config.num_hidden_layers)]
        return c.Model(
            abi=c.ABI,
            hidden=config.hidden_size,
            embedding=config.embedding_width,
            attention_heads=config.num_attention_heads,
            intermediate=config.intermediate_size,
            max_length=config.max_length,
            position_offset=config.position_offset,
            pre_norm=config.norm == "pre",
            gated=config.gated,
            activation=c.ACTIVATIONS[config.activation],
            epsilon=config.layer_norm_eps,
            block_count=len(blocks),
            blocks=self._array(c.Block, blocks),
            words=self._table("embeddings.word"),
            positions=self._table("embeddings.position"),
            token_types=self._table("embeddings.token_type"),
            embeddings_norm=self._norm("embeddings.norm", config.embedding_width),
            projection=self._linear("embeddings.projection"),
            final_norm=self._norm("encoder.norm"),
            relative_bias=self._relative_bias(),
            pooler=self._linear("pooler"),
            head_count=len(heads),
            mapped=True,
            heads=self._array(c.Head, heads),
        )

    def _block(self, config: EncoderConfig, index: int) -> c.Block:
        name, local = f"encoder.layer.{index}", config.is_local(index)
        first, second = (
            ("attention.output.norm", "output.norm")
            if config.norm == "post"
            else ("attention.qkv.norm", "intermediate.norm")
        )
        theta = config.local_rope_theta if local else config.rope_theta
        return c.Block(
            qkv=self._linear(f"{name}.attention.qkv"),
            attention_output=self._linear(f"{name}.attention.output"),
            intermediate=self._linear(f"{name}.intermediate"),
            output=self._linear(f"{name}.output"),
            attention_norm=self._norm(f"{name}.{first}"),
            feed_forward_norm=self._norm(f"{name}.{second}"),
            reach=config.local_attention // 2 if local else 0,
            rope_theta=theta if config.positions == "rotary" else 0.0,
        )

    def _head(self, name: str, stored: StoredHead) -> c.Head:
        """A head that consists of a last layer, and of parts in front of it in their usual order."""
        *front, last = stored.steps or (None,)
        places = [IN_FRONT.index(step.kind) for step in front if step is not None]
        if last is None or last.kind != "linear" or places != sorted(set(places)) or places[:1] == [1]:
            raise UsageError(f"the native engine does not compute the head {name}: it has other layers", ELSEWHERE)
        parts = {step.kind: step.name for step in front if step is not None}
        return c.Head(
            reads=c.READS[stored.reads],
            activation=c.ACTIVATIONS[parts.get("activation", "identity")],
            dense=self._linear(parts.get("linear", "")),
            norm=self._norm(parts.get("norm", "")),
            last=self._linear(last.name),
        )

    @property
    def files(self) -> dict[str, NDArray[np.uint8]]:
        """The files that hold its tensors, mapped; an opened model still reads its tables there."""
        return self._tensors.files

    def _require_outputs(self, manifest: Manifest) -> None:
        """Compare what the plan gives with what the manifest says."""
        parts = manifest.parts
        if set(self.heads) != set(manifest.heads) or ("pooler" in self.plan.layers) != parts.pooler:
            raise self._broken(f"gives {', '.join(self.heads) or 'no heads'}, and the manifest lists others")
        for name, stored in self.heads.items():
            layer = self.plan.layers.get(stored.steps[-1].name) if stored.steps else None
            size = HEADS[name].size(parts.structure(name, self.config))
            by_token = HEADS[name].reads in ("masked", "every")
            if layer is None or layer.outputs != size or (stored.reads in ("masked", "every")) != by_token:
                raise self._broken(f"the head {name} does not give {size} numbers for what it reads")

    # -- layers; an empty struct means that there is no such layer -------------------------------------------------

    def _linear(self, name: str) -> c.Linear:
        layer = self.plan.layers.get(name)
        if layer is None:
            return c.Linear()
        if layer.blocks is not None:
            raise UsageError(f"the native engine does not compute weights in blocks, as those of {name}", ELSEWHERE)
        self._require(name, layer.inputs, layer.outputs, *(matrix.outputs for matrix in layer.matrices))
        if sum(matrix.outputs for matrix in layer.matrices) != layer.outputs:
            raise self._broken(f"{name} has {layer.outputs} outputs, and its matrices have others")
        if any(not 0 <= place < layer.inputs for place in layer.outliers):
            raise self._broken(f"{name} has an outlier that is no input")
        return c.Linear(
            inputs=layer.inputs,
            outputs=layer.outputs,
            terms=TERMS.get(layer.format, 1),
            matrix_count=len(layer.matrices),
            matrices=self._array(c.Matrix, [self._matrix(layer, matrix) for matrix in layer.matrices]),
            outliers=self._array(ctypes.c_int32, layer.outliers),
            outlier_count=len(layer.outliers),
        )

    def _matrix(self, layer: StoredLayer, matrix: StoredMatrix) -> c.Matrix:
        by_output = matrix.layout == "outputs_inputs"
        shape = (matrix.outputs, layer.inputs) if by_output else (layer.inputs, matrix.outputs)
        weights = ("int8",) if layer.format in TERMS else FLOATS
        return c.Matrix(
            outputs=matrix.outputs,
            by_output=by_output,
            weight=self._tensor(matrix.weight, weights, *shape),
            bias=self._tensor(matrix.bias, ("float32",), matrix.outputs),
            scale=self._tensor(matrix.scale, ("float32",), matrix.outputs),
            shifts=self._tensor(matrix.shifts, ("float32",), layer.inputs),
            reciprocals=self._tensor(matrix.reciprocals, ("float32",), layer.inputs),
            outlier_weight=self._tensor(matrix.outlier_weight, ("float16",), len(layer.outliers), matrix.outputs),
        )

    def _norm(self, name: str, channels: int | None = None) -> c.Norm:
        stored = self.plan.norms.get(name)
        if stored is None:
            return c.Norm()
        size = channels or self._extent(stored.weight, -1)
        weight, bias = (self._tensor(tensor, ("float32",), size) for tensor in (stored.weight, stored.bias))
        return c.Norm(weight=weight, bias=bias)

    def _table(self, name: str) -> c.Table:
        table = self.plan.tables.get(name)
        if table is None:
            return c.Table()
        if table.blocks is not None:
            raise UsageError(f"the native engine does not compute weights in blocks, as those of {name}", ELSEWHERE)
        self._require(name, table.rows, table.columns)
        found = c.Table(
            rows=table.rows,
            columns=table.columns,
            values=self._tensor(table.values, WEIGHTS, table.rows, table.columns),
            scale=self._tensor(table.scale, ("float32",), table.rows),
            reciprocals=self._tensor(table.reciprocals, ("float32",), table.columns),
        )
        if table.exact is not None:
            count = self._extent(table.exact.rows, 0)
            found.exact_count = count
            found.exact_index = self._tensor(table.exact.index, ("uint8",), table.rows)
            found.exact_rows = self._tensor(table.exact.rows, ("int8",), count, table.columns)
            found.exact_scale = self._tensor(table.exact.scale, ("float32",), count)
        return found

    def _relative_bias(self) -> c.Tensor:
        name = self.plan.relative_bias
        if name is None:
            return c.Tensor()
        return self._tensor(name, ("float32",), self.config.num_attention_heads, self._extent(name, -1))

    # -- tensors ------------------------------------------------------------------------------------------------

    def _tensor(self, name: str | None, dtypes: Sequence[str], *shape: int) -> c.Tensor:
        """A tensor of one of these types, and of this shape. Extents of 1 are ignored."""
        if name is None:
            return c.Tensor()
        place = self._tensors.place(name)
        if place.dtype not in dtypes or [n for n in place.shape if n != 1] != [n for n in shape if n != 1]:
            raise self._broken(f"{name} is {place.dtype} {place.shape}, expected {' or '.join(dtypes)} {shape}")
        data = self._tensors.bytes_of(name)
        return c.Tensor(data.ctypes.data, len(data), c.DTYPES[place.dtype], 0)

    def _extent(self, name: str, axis: int) -> int:
        """An extent of a tensor with two axes, or of one."""
        shape = self._tensors.place(name).shape
        if not 0 < len(shape) <= 2:
            raise self._broken(f"{name} has shape {shape}")
        return shape[axis]

    def _array(self, kind: Any, items: Sequence[Any]) -> Any:
        """Items one after another, or None for none; kept as long as this object."""
        array = (kind * len(items))(*items) if items else None
        self._kept.append(array)
        return array

    def _require(self, name: str, *sizes: int) -> None:
        if not all(0 < size <= MOST for size in sizes):
            raise self._broken(f"{name} has sizes {sizes}")

    def _broken(self, words: str) -> BundleError:
        return BundleError(f"{self.folder / PLAN}: {words}", AGAIN)
