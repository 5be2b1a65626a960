"""How pairs of texts are cut from running text for a model."""

from __future__ import annotations

from bertedge.data.batches import Walk
from bertedge.data.pairs import sentence_pairs
from bertedge.data.questions import question_pairs
from bertedge.heads.parts import Parts


def pair_walk(parts: Parts) -> Walk | None:
    """Pairs of next and random sentences, or of a question and its context; None for a model of single texts."""
    if parts.reads_pairs:
        return sentence_pairs
    return question_pairs if parts.reads_questions else None
