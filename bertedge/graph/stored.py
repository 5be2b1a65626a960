"""The entries of ``plan.json`` for a graph: the tensors that store matrices and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from bertedge.graph.builder import GraphBuilder, Place
from bertedge.graph.formats import (
    RESIDUAL_STEPS,
    BlockWeights,
    DynamicInt8,
    Float16Weights,
    Float32,
    NumberFormat,
    StaticInt8,
    TwoTermInt8,
)
from bertedge.layers import Layer
from bertedge.plan import (
    Blocks,
    DType,
    ExactRows,
    Format,
    QuantizedInput,
    StoredLayer,
    StoredMatrix,
    StoredTable,
    StoredTensor,
    TableFormat,
)

#: A format's name; subclasses come before their base.
NAMES: dict[type[NumberFormat], Format] = {
    Float32: "float32",
    Float16Weights: "float16",
    TwoTermInt8: "two_term_int8",
    StaticInt8: "static_int8",
    BlockWeights: "blocks",
    DynamicInt8: "dynamic_int8",
}
#: Data types of tensors that are weights; others are indices that the graph itself needs.
DTYPES: tuple[DType, ...] = get_args(DType)


def stored_matrix(g: GraphBuilder, name: str, x: str, outputs: int, *, table: str | None) -> StoredMatrix:
    """The tensors of a matrix that was stored as ``name`` and reads the value ``x``.

    Args:
        table: the look-up table whose rows are this matrix.
    """

    def if_there(*names: str) -> str | None:
        return next((one for one in names if one in g.tensors), None)

    weight = f"{table}.table" if table else f"{name}.weight"
    by_output = table is not None or f"{weight}_scale" in g.tensors
    return StoredMatrix(
        outputs=outputs,
        layout="outputs_inputs" if by_output else "inputs_outputs",
        weight=weight,
        bias=f"{name}.bias",
        scale=if_there(f"{weight}_scale", f"{name}.scale"),
        shifts=if_there(f"{x}.shifts"),
        reciprocals=if_there(f"{x}.shifted.reciprocals", f"{x}.reciprocals"),
        outlier_weight=if_there(f"{name}.outlier.weight"),
    )


def stored_layer(layer: Layer, form: NumberFormat, matrices: Sequence[StoredMatrix]) -> StoredLayer:
    """The entry of a linear layer."""
    quantized, outliers = None, form.outliers if isinstance(form, StaticInt8) else ()
    if isinstance(form, StaticInt8):
        residual = form.scale / RESIDUAL_STEPS if isinstance(form, TwoTermInt8) else None
        quantized = QuantizedInput(
            scale=float(np.float32(form.scale)),
            zero_point=form.zero_point,
            residual_scale=None if residual is None else float(np.float32(residual)),
        )
    return StoredLayer(
        role=layer.role,
        reads=layer.reads,
        format=next(words for kind, words in NAMES.items() if isinstance(form, kind)),
        inputs=layer.inputs,
        outputs=layer.outputs,
        matrices=tuple(matrices),
        input=quantized,
        outliers=outliers,
        blocks=_blocks(form),
    )


def stored_table(g: GraphBuilder, layer: Layer, form: NumberFormat) -> StoredTable:
    """The entry of a look-up table; ``form`` is that of the layer that shares it, if there is one."""
    values, exact, reciprocals = f"{layer.name}.table", f"{layer.name}.exact", f"{layer.name}.reciprocals"
    return StoredTable(
        role=layer.role,
        format=_table_format(form),
        rows=layer.outputs,
        columns=layer.inputs,
        values=values,
        scale=f"{values}_scale" if f"{values}_scale" in g.tensors else None,
        exact=ExactRows(index=f"{exact}.index", rows=f"{exact}.rows", scale=f"{exact}.scale")
        if f"{exact}.rows" in g.tensors
        else None,
        reciprocals=reciprocals if reciprocals in g.tensors else None,
        blocks=_blocks(form),
    )


def _table_format(form: NumberFormat) -> TableFormat:
    if isinstance(form, Float32):
        return "float32"
    if isinstance(form, Float16Weights):
        return "float16"
    return "blocks" if isinstance(form, BlockWeights) else "int8"


def _blocks(form: NumberFormat) -> Blocks | None:
    return Blocks(bits=form.bits, block_size=form.block_size) if isinstance(form, BlockWeights) else None


def stored_tensors(g: GraphBuilder, places: Mapping[str, Place]) -> dict[str, StoredTensor]:
    """The place of every tensor with weights."""
    return {
        name: StoredTensor(file=places[name].file, offset=places[name].offset, dtype=dtype, shape=tensor.shape)
        for name, tensor in g.tensors.items()
        for dtype in DTYPES
        if tensor.dtype == dtype
    }
