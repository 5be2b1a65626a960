"""Where the time goes, fidelity by length, the worst disagreements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.engines.onnxruntime import ONNXRUNTIME
from bertedge.engines.onnxruntime.executor import node_times
from bertedge.evaluate.disagreements import WorstCases
from bertedge.evaluate.fidelity import PAIRS, SINGLE_TEXTS, evaluation_batches, measure_fidelity
from bertedge.evaluate.latency import Workload, workload_batch
from bertedge.evaluate.lengths import at_length, measure_by_length
from bertedge.evaluate.profile import OTHER, by_operator, median_interval, part_of, profile_bundle
from bertedge.heads.parts import HeadSettings
from bertedge.pooling import EmbeddingSettings
from bertedge.predictor import NO_LABEL, Batch, Outputs
from bertedge.runtime import load
from bertedge.tokenizer import Tokenizer
from tests.conftest import KINDS


@pytest.fixture(scope="module")
def corpus(corpus_file, tokenizer: Tokenizer) -> TokenizedCorpus:  # type: ignore[no-untyped-def]
    return tokenize_corpus(corpus_file, tokenizer)


@pytest.fixture(scope="module")
def layout(tokenizer: Tokenizer) -> Layout:
    return Layout.of(tokenizer, tokenizer.vocab_size)


def event(name: str, op_type: str, microseconds: int) -> dict:
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {"op_name": op_type}}


def test_a_node_is_the_median_of_its_calls_without_the_first() -> None:
    events = [event("pooler", "Gemm", dur) for dur in (9000, 1000, 2000, 5000)]
    events += [event("pooler.tanh", "Tanh", dur) for dur in (10, 10, 10, 10)]
    events += [{"cat": "Session", "name": "model_run", "dur": 1, "args": {}}]
    gemm, tanh = node_times(events, warmup=1)
    assert (gemm.name, gemm.op_type, gemm.ms) == ("pooler", "Gemm", 2.0)
    assert tanh.ms == 0.01
    (one, other) = by_operator([gemm, tanh], ["pooler"])
    assert (one.part, one.op_type, one.nodes, one.ms) == ("pooler", "Gemm", 1, 2.0)
    assert (other.part, other.op_type) == ("pooler", "Tanh")


@pytest.mark.parametrize(
    ("node", "part"),
    [
        ("encoder.layer.1.output.norm", "encoder.layer.1.output"),
        ("encoder.layer.1.outputs", "encoder"),
        ("encoder.layer.1", "encoder"),
        ("encoder.layer.10.output", "encoder.layer.10.output"),
        ("nsp.matmul/MatMulAddFusion", "nsp"),
        ("embeddings.word.rows", "embeddings"),
        ("read.rows", OTHER),
        ("", OTHER),
    ],
)
def test_a_node_belongs_to_the_layer_that_it_is_named_by(node: str, part: str) -> None:
    layers = [*(f"encoder.layer.{i}.output" for i in (1, 10)), "mlm.decoder"]
    assert part_of(node, layers) == part


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positions", ["masked", "all"])
def test_the_profile_knows_every_layer(
    kind: str, positions: str, bundle_of: Callable[..., Bundle], corpus: TokenizedCorpus, layout: Layout
) -> None:
    bundle = bundle_of(kind, positions=positions)
    batch = workload_batch(Workload(batch_size=1, seq_len=32), corpus, layout)
    profile = profile_bundle(bundle, batch, engine=ONNXRUNTIME, threads=1)
    assert profile is not None
    assert (profile.batch_size, profile.seq_len, profile.threads) == (1, 32, 1)
    assert profile.calls >= 5
    parts = {operator.part for operator in profile.operators}
    assert set(bundle.layer_names) | {"embeddings", "nsp"} <= parts
    assert sum(operator.ms for operator in profile.operators) > 0
    matmuls = [o for o in profile.operators if o.part == "encoder.layer.0.intermediate" and "MatMul" in o.op_type]
    assert sum(o.nodes for o in matmuls) >= 1


def test_fidelity_by_length(bundle_of: Callable[..., Bundle], corpus: TokenizedCorpus, layout: Layout) -> None:
    reference, candidate = (load(bundle_of(kind).folder, threads=1) for kind in ("float32", "static"))
    options = {"examples": 6, "seed": 0, "kind": PAIRS}
    both = [reference, candidate]
    first, second = measure_by_length(reference, both, corpus, layout, lengths=(16, 32), **options)
    assert [entry.max_length for entry in first] == [entry.max_length for entry in second] == [16, 32]
    for entry in first:
        assert entry.texts == 6
        assert entry.fidelity["mlm.top1_agreement"].value == 1
        assert entry.fidelity["mlm.kl_mean"].value == 0
    assert all(entry.fidelity["mlm.kl_mean"].value > 0 for entry in second)
    batches = evaluation_batches(corpus, layout, max_length=48, **options)
    (whole,) = measure_fidelity(reference, [candidate], batches)
    last = at_length(48, batches, whole)
    assert last.fidelity["mlm.kl_mean"] == whole["mlm.kl_mean"]
    assert not [name for name in last.fidelity if name.startswith("invariance")]


def two_texts(tokenizer: Tokenizer) -> Batch:
    """[CLS] a [MASK] cat [SEP] a [MASK] [SEP], and [CLS] the [MASK] [SEP] [PAD]..."""
    ids = {role: tokenizer.id_of(role) for role in ("cls", "sep", "mask", "pad")}
    a, the, cat = (tokenizer.token_ids(word)[0] for word in ("a", "the", "cat"))
    rows = [
        [ids["cls"], a, ids["mask"], cat, ids["sep"], a, ids["mask"], ids["sep"]],
        [ids["cls"], the, ids["mask"], ids["sep"], *[ids["pad"]] * 4],
    ]
    return Batch(
        input_ids=np.array(rows),
        attention_mask=np.array([[1] * 8, [1] * 4 + [0] * 4]),
        token_type_ids=np.array([[0] * 5 + [1] * 3, [0] * 8]),
        masked_positions=np.array([[2, 6], [2, 0]]),
        labels={"mlm": np.array([[cat, the], [a, NO_LABEL]]), "nsp": np.array([0, NO_LABEL])},
        masked_counts=np.array([2, 1]),
    )


def test_the_worst_are_found_and_told_in_words(tokenizer: Tokenizer) -> None:
    batch = two_texts(tokenizer)
    cat, the = (tokenizer.token_ids(word)[0] for word in ("cat", "the"))
    expected = np.zeros((2, 2, tokenizer.vocab_size), dtype=np.float32)
    expected[0, 0, cat], expected[0, 1, the], expected[1, 0, the] = 9, 9, 9
    got = expected.copy()
    got[0, 0, cat], got[0, 0, the] = 1, 9  # another best word, and far apart
    got[0, 1, the] = 8  # the same text: not listed again
    got[1, 0, the] = 7.5  # the same best word
    got[1, 1] = np.nan  # where nothing is masked
    nsp = np.array([[2.0, 0.0], [0.0, 9.0]], dtype=np.float32)
    cases = WorstCases(tokenizer, None)
    cases.add(batch, Outputs(logits={"mlm": expected, "nsp": nsp}), Outputs(logits={"mlm": got, "nsp": -nsp}))
    found = cases.found()
    (flip,) = found["mlm.flips"]
    assert [(part.text, part.mark) for part in flip.texts[0].parts] == [
        ("a ", False), ("[MASK]", True), (" cat [SEP] a [MASK]", False),
    ]  # fmt: skip
    assert flip.expected == "cat"
    assert [(answer.text, answer.right) for answer in (flip.reference[0], flip.candidate[0])] == [
        ("cat", True), ("the", False),
    ]  # fmt: skip
    assert flip.reference[0].share == pytest.approx(np.exp(9) / (np.exp(9) + tokenizer.vocab_size - 1), rel=1e-4)
    assert flip.note.startswith("In float, its best word is ahead of the candidate's best word by 97.6 points. KL ")
    far, near = found["mlm.words"]
    assert (far.expected, near.expected) == ("cat", "a")
    assert near.note.startswith("KL 0.")  # the same best word
    assert len(flip.reference) == len(flip.candidate) == 5
    (pair,) = found["nsp.pairs"]  # the second text is no pair
    assert [text.parts[0].text for text in pair.texts] == ["a [MASK] cat", "a [MASK]"]
    assert pair.note == "The second follows the first. The two models disagree."
    assert pair.reference[0].share == pytest.approx(1 / (1 + np.exp(-2)))
    assert pair.candidate[0].share == pytest.approx(1 / (1 + np.exp(2)))


def test_a_model_does_not_disagree_with_itself(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    outputs = Outputs(
        logits={
            "mlm": rng.normal(size=(2, 2, tokenizer.vocab_size)).astype(np.float32),
            "nsp": rng.normal(size=(2, 2)).astype(np.float32),
        },
    )
    cases = WorstCases(tokenizer, None)
    cases.add(two_texts(tokenizer), outputs, outputs)
    assert cases.found() == {}


def test_only_the_worst_of_many_batches_are_kept(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    cases, seen = WorstCases(tokenizer, None), []
    for _ in range(6):
        expected, got = (rng.normal(size=(2, 2, tokenizer.vocab_size)).astype(np.float32) for _ in range(2))
        nsp = rng.normal(size=(2, 2, 2)).astype(np.float32)
        outputs = [
            Outputs(logits={"mlm": mlm, "nsp": judged}) for mlm, judged in zip((expected, got), nsp, strict=True)
        ]
        cases.add(two_texts(tokenizer), *outputs)
        alone = WorstCases(tokenizer, None)
        alone.add(two_texts(tokenizer), *outputs)
        seen.append(alone.found())
    found = cases.found()
    for name, count in {"mlm.words": 5, "mlm.flips": 5, "nsp.pairs": 3}.items():
        every = [case for one in seen for case in one[name]]
        assert len(every) > len(found[name]) == count
        assert all(case in every for case in found[name])
    divergence = [float(case.note.split()[-2]) for case in found["mlm.words"]]
    assert divergence == sorted((float(c.note.split()[-2]) for one in seen for c in one["mlm.words"]), reverse=True)[:5]


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for n in (12, 50):
        held = [low <= 0 <= high for low, high in (median_interval(rng.normal(size=n).tolist()) for _ in range(2000))]
        assert 0.94 <= np.mean(held) <= 0.99
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)


def pooled(mode: str) -> HeadSettings:
    return HeadSettings(embedding=EmbeddingSettings(pooling=(mode,), max_seq_length=64))


def test_vectors_of_each_length_are_pooled_as_the_model_says(
    bundle_of: Callable[..., Bundle], corpus: TokenizedCorpus, layout: Layout
) -> None:
    reference, candidate = (load(bundle_of(kind).folder, threads=1) for kind in ("float32", "static"))
    options = {"examples": 6, "seed": 0, "kind": SINGLE_TEXTS}
    ((entry,),) = measure_by_length(
        reference, [candidate], corpus, layout, lengths=(32,), settings=pooled("cls"), **options
    )
    batches = evaluation_batches(corpus, layout, max_length=32, **options)
    cls, mean = (
        measure_fidelity(reference, [candidate], batches, settings=pooled(mode))[0] for mode in ("cls", "mean")
    )
    assert entry.fidelity["embedding.cosine_mean"] == cls["embedding.cosine_mean"] != mean["embedding.cosine_mean"]
