"""What a checkpoint says about its ranking head: its layers, and the function that makes a score of its output.

A reranker, or cross-encoder, is a classifier of pairs with one output (Nogueira and Cho 2019). sentence-transformers
marks its cross-encoders in ``config.json`` or in the folder. Other tools do not, so a classifier with one output is a
reranker too, unless ``problem_type`` names another task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.encoders import encoder_of
from bertedge.heads.classifier_layers import has_classifier
from bertedge.heads.sequence_settings import SequenceSettings, sequence_settings
from bertedge.heads.structure import Found
from bertedge.vector_modules import Activation, activate, activation_of

#: The key of sentence-transformers in ``config.json``, and that of versions before 4.
LIBRARY, OLD_ACTIVATION = "sentence_transformers", "sbert_ce_default_activation_function"
#: The function of a cross-encoder that names none.
DEFAULT_ACTIVATION = "torch.nn.modules.activation.Sigmoid"


@dataclass(frozen=True, kw_only=True)
class RankSettings:
    """How a pair of texts becomes a score.

    Attributes:
        layers: as of a classifier with one output.
        activation: applied to that output.
        max_length: the most tokens of a pair; None for as many as the model can read.
    """

    layers: SequenceSettings
    activation: Activation
    max_length: int | None = None

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of pairs, (B,), from logits (B, 1)."""
        return activate(self.activation, logits[..., 0])


def is_ranker(found: Found) -> bool:
    """Whether the classifier of a checkpoint is a reranker."""
    if found.classifiers or not has_classifier(found):
        return False
    shape = found.tensors[f"{encoder_of(found.config).classifier.out}.weight"]
    return shape[:1] == (1,) and (is_marked(found) or found.raw.get("problem_type") is None)


def is_marked(found: Found) -> bool:
    """Whether sentence-transformers wrote that this is a cross-encoder."""
    return LIBRARY in found.raw or OLD_ACTIVATION in found.raw


def rank_settings(found: Found) -> RankSettings:
    """Read the settings of a reranker.

    Raises:
        CheckpointError: the activation function is not known, or a tensor has a wrong shape.
    """
    told = found.raw.get(LIBRARY)
    library: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    activation = library.get("activation_fn") or found.raw.get(OLD_ACTIVATION) or DEFAULT_ACTIVATION
    length = library.get("max_seq_length")
    return RankSettings(
        layers=sequence_settings(found),
        activation=activation_of(str(activation)),
        max_length=length if type(length) is int and length > 0 else None,
    )
