"""The layers of a classifier, which several heads have: dense layer, layer norm, last layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bertedge.encoders import encoder_of, names
from bertedge.encoders.names import Shapes
from bertedge.heads.head_writer import HeadWriter
from bertedge.heads.structure import Found, Structure
from bertedge.layers import Layer, Reads, Role

#: A last layer: the prefix of its tensors, and its outputs.
LastLayer = tuple[str, int]


class LayersInFront(Protocol):
    """The layers in front of the last one, as the settings of a head say.

    Attributes:
        dense: the prefix of a dense layer; None if there is none.
        activation: the function after it.
        norm: the prefix of a layer norm after that; None if there is none.
    """

    @property
    def dense(self) -> str | None: ...
    @property
    def activation(self) -> str | None: ...
    @property
    def norm(self) -> str | None: ...


def has_classifier(found: Found) -> bool:
    """Whether a checkpoint has the classifier of whole texts that its family has."""
    structure = encoder_of(found.config).classifier
    if f"{structure.out}.weight" not in found.tensors:
        return False
    told = found.is_for("ForSequenceClassification")
    if told is not None:
        return told
    if structure.dense is not None:
        return f"{structure.dense}.weight" in found.tensors
    return structure.reads != "pooler" or f"{names.POOLER}.weight" in found.tensors


def classifier_shapes(model: Structure, settings: LayersInFront, last: Sequence[LastLayer]) -> Shapes:
    """The tensors, by canonical name.

    Args:
        last: the last layers, which are one matrix.
    """
    shapes = names.dense_shapes(model.config, settings.dense, settings.norm)
    for owner, size in last:
        shapes |= names.linear_shapes(owner, size, model.config.hidden_size)
    return shapes


def classifier_layers(
    head: str, model: Structure, settings: LayersInFront, last: Sequence[LastLayer], *, reads: Reads
) -> tuple[Layer, ...]:
    """The linear layers, in the order of computation; see :meth:`bertedge.heads.Head.layers`.

    Args:
        last: as for :func:`classifier_shapes`.
    """
    width, outputs = model.config.hidden_size, sum(size for _, size in last)
    owners = tuple(owner for owner, _ in last)
    out = Layer(name=head, role=Role.CLASSIFIER, owners=owners, inputs=width, outputs=outputs, reads=reads)
    if settings.dense is None:
        return (out,)
    role, dense = Role.HEAD_TRANSFORM, (settings.dense,)
    return (Layer(name=dense_name(head), role=role, owners=dense, inputs=width, outputs=width, reads=reads), out)


def write_classifier(w: HeadWriter, head: str, settings: LayersInFront, x: str) -> str:
    """Write the layers into a graph; (..., H) -> logits (..., C)."""
    if settings.dense is not None:
        x = w.linear(dense_name(head), x)
        x = w.activation(f"{dense_name(head)}.activation", x, settings.activation) if settings.activation else x
    if settings.norm is not None:
        x = w.layer_norm(f"{head}.norm", settings.norm, x)
    return w.linear(head, x)


def dense_name(head: str) -> str:
    """The layer in front of the last one."""
    return f"{head}.dense"
