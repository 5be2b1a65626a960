"""The texts on which a candidate differs most from its float reference, for people to read."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Any

from bertedge.heads import HEADS
from bertedge.predictor import Batch, Outputs
from bertedge.tokenizer import Tokenizer

#: The worst cases, the worst first. It has a field for each list of each head; see :attr:`bertedge.heads.Head.cases`.
Disagreements: Any = make_dataclass(
    "Disagreements",
    [
        (name, tuple[case, ...], field(default=()))  # type: ignore[valid-type]
        for head in HEADS.values()
        for name, case in head.cases.items()
    ],
    frozen=True,
    kw_only=True,
    namespace={"__module__": __name__},
)


class WorstCases:
    """Collects the worst cases of one candidate batch by batch. Logits are not kept."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        found = {name: head.worst(tokenizer) for name, head in HEADS.items()}
        self._worst = {name: worst for name, worst in found.items() if worst is not None}

    def add(self, batch: Batch, expected: Outputs, got: Outputs) -> None:
        """Compare the outputs of the reference and of the candidate on one batch."""
        for head, worst in self._worst.items():
            if head in expected.logits and head in got.logits:
                worst.add(batch, expected.logits[head], got.logits[head])

    def found(self) -> Any:
        """The worst cases so far, as :data:`Disagreements`."""
        lists = {name: cases for worst in self._worst.values() for name, cases in worst.found().items()}
        return Disagreements(**lists)
