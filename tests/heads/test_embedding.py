"""Vectors are compared with float's by direction, length and neighbours."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.data.task_batches import encoded_examples, task_batches
from bertedge.evaluate.fidelity import SINGLE_TEXTS, evaluation_batches, kinds_of_texts, measure_fidelity
from bertedge.example import Example
from bertedge.heads import HEADS
from bertedge.heads.embedding import vector_quantities
from bertedge.heads.embedding.vector_quantities import (
    FEWEST_TEXTS,
    NEIGHBOURS,
    pair_similarities,
    quantities,
    shared_neighbours,
)
from bertedge.heads.parts import Parts
from bertedge.metric import spearman
from bertedge.pooling import cosines
from bertedge.predictor import Batch, Outputs
from bertedge.runtime import load
from bertedge.tokenizer import Tokenizer

RNG = np.random.default_rng(0)
FLOAT = RNG.normal(size=(64, 16)).astype(np.float32)


def test_the_same_vectors_are_the_same() -> None:
    same = quantities(FLOAT, FLOAT)
    assert same["cosine"] == pytest.approx(1)
    assert not same["relative_error"].any()
    assert (shared_neighbours(FLOAT, FLOAT) == 1).all()


def test_direction_and_length_are_told_apart() -> None:
    longer, opposite = quantities(FLOAT, 1.5 * FLOAT), quantities(FLOAT, -FLOAT)
    assert longer["cosine"] == pytest.approx(1)
    assert longer["relative_error"] == pytest.approx(0.5)
    assert opposite["cosine"] == pytest.approx(-1)
    assert opposite["relative_error"] == pytest.approx(2)


def test_vectors_of_no_length() -> None:
    zero = np.zeros((2, 4), np.float32)
    assert cosines(zero, zero).tolist() == [1, 1]
    assert cosines(zero, np.ones((2, 4), np.float32)).tolist() == [0, 0]
    assert np.isnan(cosines(np.full((1, 4), np.nan, np.float32), zero[:1])).all()


def test_neighbours_are_those_of_a_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_quantities, "CHUNK", 7)
    moved = FLOAT + RNG.normal(scale=0.5, size=FLOAT.shape).astype(np.float32)

    def nearest(found: np.ndarray, row: int) -> set[int]:
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        order = np.argsort(-(unit @ unit[row]), kind="stable")
        return {int(index) for index in order if index != row} & {int(i) for i in order[order != row][:NEIGHBOURS]}

    expected = [len(nearest(FLOAT, row) & nearest(moved, row)) / NEIGHBOURS for row in range(len(FLOAT))]
    assert shared_neighbours(FLOAT, moved) == pytest.approx(expected)
    assert 0.1 < np.mean(expected) < 0.9


def test_vectors_that_are_no_numbers_have_no_neighbours() -> None:
    broken = FLOAT.copy()
    broken[3] = np.nan
    shares = shared_neighbours(FLOAT, broken)
    assert shares[3] == 0
    assert shares.mean() > 0.9


def test_pairs_are_known_without_segments() -> None:
    ones, zeros = np.ones((2, 6), np.int64), np.zeros((2, 6), np.int64)
    known = {"input_ids": ones, "attention_mask": ones, "masked_positions": zeros[:, :0]}
    batch = Batch(**known, token_type_ids=zeros, second=np.array([[3, 5], [0, 0]]))
    assert batch.single.tolist() == [False, True]


@pytest.fixture(scope="module")
def batches(bundle_of: Callable[..., Bundle], corpus_file: Path) -> list[Batch]:
    bundle = bundle_of("float32")
    corpus = tokenize_corpus(corpus_file, bundle.tokenizer)
    layout = Layout.of(bundle.tokenizer, bundle.config.vocab_size)
    return evaluation_batches(corpus, layout, examples=64, max_length=48, seed=0, kind=SINGLE_TEXTS)


def test_what_is_measured_is_what_encode_gives(bundle_of: Callable[..., Bundle], batches: list[Batch]) -> None:
    reference, candidate = (load(bundle_of(kind).folder) for kind in ("float32", "static"))
    (metrics,) = measure_fidelity(reference, [candidate], batches)
    texts = [
        reference.tokenizer.decode([int(i) for i in ids[1 : n - 1]], skip_special=False)
        for batch in batches
        for ids, n in zip(batch.input_ids, batch.lengths, strict=True)
    ]
    ours, theirs = reference.encode(texts), candidate.encode(texts)
    assert metrics["embedding.cosine_mean"].value == pytest.approx(cosines(ours, theirs).mean(), abs=1e-5)
    assert metrics["pooler.cosine_mean"].n == metrics["embedding.cosine_mean"].n == len(texts)
    assert metrics["hidden.cosine_mean"].n == sum(int(batch.attention_mask.sum()) for batch in batches)
    assert ("embedding.neighbours_at_10" in metrics) == (len(texts) >= FEWEST_TEXTS)


def test_pairs_have_no_vector_of_a_text(batches: list[Batch]) -> None:
    pair = Batch(
        input_ids=np.array([[2, 9, 3, 9, 3], [2, 9, 9, 3, 0]]),
        attention_mask=np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]),
        token_type_ids=np.array([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]),
        masked_positions=np.zeros((2, 0), int),
        labels={"mlm": np.zeros((2, 0), int), "nsp": np.array([0, -1])},
    )
    states = np.ones((2, 5, 4), np.float32)
    found = HEADS["embedding"].read(pair, Outputs(hidden_states=states), None)
    assert found["embedding"].shape == (1, 4)
    assert found["hidden"].shape == (9, 4)
    assert HEADS["embedding"].compare(pair, found, found, None)["embedding"].rows.tolist() == [1]


def test_a_model_with_a_next_sentence_head_is_compared_on_both_kinds(bundle_of: Callable[..., Bundle]) -> None:
    from tests.data.test_singles import corpus_of

    assert kinds_of_texts(Parts(("mlm", "nsp")), corpus_of([3, 4], [5, 6])) == ("pairs", "single texts")
    assert kinds_of_texts(Parts(("mlm", "nsp")), corpus_of([3, 4])) == ("single texts",)
    assert kinds_of_texts(Parts(), corpus_of([3, 4], [5, 6])) == ("single texts",)
    assert kinds_of_texts(Parts(("question_answering",)), corpus_of([3, 4])) == ("questions", "single texts")


def test_spearman_is_scipys() -> None:
    scipy = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    one, other = RNG.integers(0, 5, size=(2, 40)).astype(float)
    values = {"one": one, "other": other, "share": np.ones(40)}
    estimate = spearman("one", "other", "share")
    weighted = estimate.prepare(values)
    assert weighted(np.ones(40)) == pytest.approx(scipy.spearmanr(one, other).statistic)
    counts = RNG.integers(0, 3, size=40)
    repeated = scipy.spearmanr(np.repeat(one, counts), np.repeat(other, counts)).statistic
    assert weighted(counts.astype(float)) == pytest.approx(repeated)
    assert estimate.n({**values, "share": np.arange(40) < 7}) == 7
    assert spearman("one", "one", "share").prepare({**values, "one": np.ones(40)})(np.ones(40)) == 0


def test_similarities_of_labelled_pairs(tokenizer: Tokenizer) -> None:
    """Both texts of a pair may be in different batches; texts without a score do not count."""
    examples = [Example(text="a", pair="b", values={"score": score}) for score in ("0.1", "0.9", "x", "0.5")]
    rows = encoded_examples(examples, tokenizer, Parts())
    labels = [HEADS["embedding"].target(row.example, row.encoding, None) for row in rows]
    assert [None if label is None else label.tolist() for label in labels] == [
        [0.1, 0],
        [0.1, 0],
        [0.9, 1],
        [0.9, 1],
        None,
        None,
        [0.5, 3],
        [0.5, 3],
    ]
    table = np.stack([label if label is not None else np.full(2, np.nan) for label in labels])
    vectors, moved = FLOAT[:8], FLOAT[:8] + RNG.normal(size=(8, 16)).astype(np.float32)
    found = pair_similarities(vectors, moved, table[:, 1], table[:, 0], "cosine")
    assert found["is_pair"].tolist() == [1, 0, 1, 0, 0, 0, 1, 0]
    assert found["score"].tolist() == [0.1, 0, 0.9, 0, 0, 0, 0.5, 0]
    assert found["similarity"][[0, 2, 6]] == pytest.approx(cosines(moved[[0, 2, 6]], moved[[1, 3, 7]]), abs=1e-6)
    assert pair_similarities(vectors, moved, np.full(8, np.nan), table[:, 0], "dot") == {}


def test_labelled_pairs_are_measured(bundle_of: Callable[..., Bundle]) -> None:
    reference, candidate = (load(bundle_of(kind).folder) for kind in ("float32", "static"))
    texts = ["The cat sat.", "A ship.", "Bread needs time.", "The cat.", "A ship sank.", "Water and salt."]
    examples = [Example(text=one, pair=other, values={"score": i}) for i, (one, other) in enumerate(pairwise(texts))]
    batches = task_batches(
        encoded_examples(examples, reference.tokenizer, Parts()), reference.tokenizer, Parts(), name="x", batch_size=3
    )
    (metrics,) = measure_fidelity(reference, [candidate], batches)
    assert metrics["embedding.spearman"].n == len(examples)
    assert metrics["embedding.similarity_spearman"].value > 0.5
    same = measure_fidelity(reference, [reference], batches)[0]
    assert same["embedding.spearman_drop"].value == 0
    assert same["embedding.similarity_spearman"].value == pytest.approx(1)
