"""How far a new bundle is from float, in words."""

from __future__ import annotations

from bertedge.heads import HEADS
from bertedge.manifest import GoldenFidelity
from bertedge.printable import at_least, rounded_percent


def fidelity_words(fidelity: GoldenFidelity) -> str:
    """The difference of a new bundle from float on the golden inputs, in words."""
    words = [
        f"{'all' if same.equal == same.of else f'{same.equal} of'} {same.of} {HEADS[head].answers} are float's"
        for head, same in fidelity.agreement.items()
        if head in HEADS
    ]
    if fidelity.max_prob_diff is not None:
        words.append(f"probabilities differ by {fidelity.max_prob_diff:.2g} at most")
    if fidelity.max_score_diff is not None:
        words.append(f"scores differ by {rounded_percent(fidelity.max_score_diff)} of the largest at most")
    return ", ".join([*words, f"vectors have a cosine of {at_least(fidelity.min_cosine)} or more"])
