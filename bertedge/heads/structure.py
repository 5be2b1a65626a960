"""What a head must know about the model that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bertedge.encoders import EncoderConfig


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What decides the tensors, the layers and the outputs of a head.

    Attributes:
        tied: whether its decoder, if it has one, is the table of the word embeddings.
        settings: an object of its :attr:`bertedge.heads.Head.settings_type`; None for a head without settings.
    """

    config: EncoderConfig
    tied: bool = True
    settings: Any = None


@dataclass(frozen=True, kw_only=True)
class NamedClassifier:
    """A classifier of whole texts that the user names.

    Attributes:
        tensor: the prefix of its last layer's tensors.
        labels: the label of each output; empty for ``LABEL_0``, ``LABEL_1``, ...
        problem_type: as in ``config.json``; None for exactly one right label.
    """

    tensor: str
    labels: tuple[str, ...] = ()
    problem_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the files of a checkpoint tell about its heads.

    Attributes:
        tensors: canonical name -> shape.
        raw: the content of ``config.json``.
        classifiers: those that the user names; see :mod:`bertedge.checkpoint.named_classifiers`.
    """

    config: EncoderConfig
    tensors: Mapping[str, tuple[int, ...]]
    raw: Mapping[str, Any] = field(default_factory=dict)
    classifiers: Mapping[str, NamedClassifier] = field(default_factory=dict)

    def is_for(self, task: str) -> bool | None:
        """Whether the class that was saved ends with a task, such as ``ForTokenClassification``.

        None if the files name no class, or one of the encoder alone, which does not tell the head.
        """
        listed = self.raw.get("architectures")
        classes = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        classes = [name for name in classes if "For" in name]
        return any(name.endswith(task) for name in classes) if classes else None
