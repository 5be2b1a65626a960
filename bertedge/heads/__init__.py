"""The table of heads: a new head is one file or folder, and one row here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import UsageError, nearest
from bertedge.heads.embedding import EMBEDDING
from bertedge.heads.embedding.similar import Similar
from bertedge.heads.head import Head
from bertedge.heads.mlm import MLM
from bertedge.heads.mlm.fill_mask import FillMask
from bertedge.heads.nsp import NSP, NextSentenceMethod
from bertedge.heads.question_answering import QUESTION_ANSWERING
from bertedge.heads.question_answering.answer import AnswerMethod
from bertedge.heads.ranking import RANKING
from bertedge.heads.ranking.rerank import Rerank
from bertedge.heads.sequence_classification import SEQUENCE_CLASSIFICATION
from bertedge.heads.sequence_classification.classify import Classify
from bertedge.heads.token_classification import TOKEN_CLASSIFICATION
from bertedge.heads.token_classification.tag import TagTexts
from bertedge.predictor import RowOutputs

#: Name -> head, in the order of reports.
HEADS: dict[str, Head] = {
    head.name: head
    for head in (MLM, NSP, SEQUENCE_CLASSIFICATION, TOKEN_CLASSIFICATION, QUESTION_ANSWERING, RANKING, EMBEDDING)
}


class HeadMethods(FillMask, NextSentenceMethod, Classify, TagTexts, AnswerMethod, Rerank, Similar):
    """The methods of all heads, for :class:`bertedge.BertRuntime`."""


def take_masked(outputs: RowOutputs, positions: NDArray[np.int64]) -> RowOutputs:
    """Outputs of a graph that computes every position, with logits at masked positions only for heads that read those.

    Args:
        outputs: with a batch dimension.
        positions: shape (B, K).
    """
    where = positions[:, :, None]
    masked = {name for name in outputs if name in HEADS and HEADS[name].reads == "masked"}
    return {
        name: np.take_along_axis(array, where, axis=1) if name in masked else array for name, array in outputs.items()
    }


def without_every(outputs: RowOutputs) -> RowOutputs:
    """Outputs without those of every position, such as the hidden states, which a call that does not read them gives
    at no position.
    """
    return {name: array for name, array in outputs.items() if name not in READ_EVERYWHERE}


def head_of_verb(name: str) -> Head:
    """The head that a command uses.

    Raises:
        UsageError: there is no such command.
    """
    if name not in BY_VERB:
        raise UsageError(f"{name!r} is not a command that uses a bundle", nearest(name, BY_VERB))
    return BY_VERB[name]


#: Names in :class:`bertedge.predictor.Outputs` of the heads that read every position.
READ_EVERYWHERE = frozenset(head.key for head in HEADS.values() if head.reads == "every")
#: Heads that can be trained on text without labels.
TASKS = tuple(name for name, head in HEADS.items() if head.task is not None)
#: Name of a command -> the head that it uses.
BY_VERB = {head.verb.name: head for head in HEADS.values()}
#: All heads, those for pairs last: the first one that a model has is its main head.
MAIN_FIRST = sorted(HEADS.values(), key=lambda head: head.reads == "pair")

__all__ = [
    "BY_VERB",
    "HEADS",
    "MAIN_FIRST",
    "TASKS",
    "Head",
    "HeadMethods",
    "head_of_verb",
    "take_masked",
    "without_every",
]
