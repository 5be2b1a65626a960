"""What a checkpoint says about its classifier of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bertedge.encoders import encoder_of
from bertedge.errors import CheckpointError
from bertedge.heads.labels import labels_of
from bertedge.heads.structure import Found
from bertedge.heads.token_classification.spans import TagSet


@dataclass(frozen=True, kw_only=True)
class TagSettings:
    """The labels of tokens, and the layers in front of them.

    Attributes:
        labels: the label of each output.
        owner: the prefix of the last layer's tensors.
        dense: the prefix of a dense layer in front of it; None if there is none.
        activation: the function after it, such as ``gelu``.
        norm: the prefix of a layer norm after that; None if there is none.
    """

    labels: tuple[str, ...]
    owner: str
    dense: str | None = None
    activation: str | None = None
    norm: str | None = None

    @cached_property
    def tags(self) -> TagSet:
        """The labels, read as tags of spans."""
        return TagSet(self.labels)


def tag_settings(found: Found) -> TagSettings:
    """Read the settings of a checkpoint. The tensor decides how many labels there are.

    Raises:
        CheckpointError: the tensor of the last layer has a wrong shape.
    """
    family = encoder_of(found.config).token_classifier
    shape, width = found.tensors.get(f"{family.out}.weight", ()), found.config.hidden_size
    if len(shape) != 2 or shape[0] < 1 or shape[1] != width:
        seen = f"is {list(shape)}" if shape else "is missing"
        raise CheckpointError(f"{family.out}.weight {seen}, expected [labels, {width}]", "take the complete checkpoint")
    return TagSettings(
        labels=labels_of(found.raw, shape[0]),
        owner=family.out,
        dense=family.dense,
        activation=family.activation_of(found.config),
        norm=family.norm,
    )
