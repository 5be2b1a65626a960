"""The texts on which a candidate differs most from its float reference, for people to read."""

from __future__ import annotations

from typing import Any

from bertedge.evaluate.collector import read_outputs
from bertedge.heads import HEADS
from bertedge.heads.cases import Case
from bertedge.heads.parts import HeadSettings
from bertedge.predictor import Batch, Outputs
from bertedge.tokenizer import Tokenizer

#: Name of a list, such as ``mlm.flips`` -> its cases, the worst first; see :attr:`bertedge.heads.Head.lists`.
Disagreements = dict[str, tuple[Case, ...]]


class WorstCases:
    """Collects the worst cases of one candidate batch by batch. Logits are not kept.

    Args:
        settings: those of the model's heads, as :data:`bertedge.heads.parts.HeadSettings`.
    """

    def __init__(self, tokenizer: Tokenizer, settings: Any = None) -> None:
        found = {name: head.worst(tokenizer, getattr(settings, name, None)) for name, head in HEADS.items()}
        self._worst = {name: worst for name, worst in found.items() if worst is not None}
        self._settings = settings or HeadSettings()

    def add(self, batch: Batch, expected: Outputs, got: Outputs) -> None:
        """Compare the outputs of the reference and of the candidate on one batch."""
        one, other = (read_outputs(batch, outputs, self._settings, self._worst) for outputs in (expected, got))
        for head, worst in self._worst.items():
            if head in one and head in other:
                worst.add(batch, one[head], other[head])

    def found(self) -> Disagreements:
        """The worst cases so far; a list without cases is left out."""
        return {name: cases for worst in self._worst.values() for name, cases in worst.found().items() if cases}
