"""The texts whose vectors differ most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bertedge.heads.embedding.worst_vectors import APART, NEAREST, WorstVectors
from bertedge.predictor import Batch
from bertedge.tokenizer import Tokenizer

WORDS = ("cat", "mat", "ship", "port", "sea")


def batch_of(*words: str) -> Batch:
    ids = np.full((len(words), 3), 7)
    return Batch(
        input_ids=ids,
        attention_mask=np.ones_like(ids),
        token_type_ids=np.zeros_like(ids),
        masked_positions=np.zeros((len(words), 0), dtype=np.int64),
        texts=tuple((word,) for word in words),
    )


def at(*degrees: float) -> np.ndarray:
    """Vectors of length 2 in these directions."""
    return 2 * np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1).astype(np.float32)


def test_other_neighbours_come_first_and_the_nearest_may_be_in_another_batch(tokenizer: Tokenizer) -> None:
    worst = WorstVectors(tokenizer)
    worst.add(batch_of(*WORDS[:2]), {"embedding": at(0, 10)}, {"embedding": at(0, 30)})
    worst.add(batch_of(*WORDS[2:]), {"embedding": at(45, 60, 180)}, {"embedding": at(45, 60, 180)})
    found = worst.found()
    (case,) = [one for one in found[NEAREST] if one.texts[0].parts[0].text == "mat"]
    assert case.reference[0].text == "cat"
    assert case.reference[0].value == pytest.approx(np.cos(np.radians(10)), abs=1e-6)
    assert case.candidate[0].text == "ship"
    assert case.note == "Its vector has a cosine of 0.9397 with float's."
    assert [one.texts[0].parts[0].text for one in found[APART]] == ["mat"]
    assert all(
        len(one.reference) == 3 and one.texts[0].parts[0].text not in [answer.text for answer in one.reference]
        for one in found[NEAREST]
    )


def test_nothing_to_tell(tokenizer: Tokenizer) -> None:
    worst = WorstVectors(tokenizer)
    assert worst.found() == {NEAREST: (), APART: ()}
    worst.add(batch_of(*WORDS), {"embedding": at(0, 10, 45, 60, 180)}, {"embedding": at(0, 10, 45, 60, 180)})
    worst.add(batch_of("a"), {"pooler": at(1)}, {"pooler": at(2)})
    pair = replace(batch_of("a"), second=np.array([[1, 2]]))
    worst.add(pair, {"hidden": at(1)}, {"hidden": at(2)})
    assert worst.found() == {NEAREST: (), APART: ()}
