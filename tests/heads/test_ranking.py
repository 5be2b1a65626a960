"""Rerankers: equal to sentence-transformers' CrossEncoder in float, and the whole way through a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bertedge.checkpoint import Checkpoint
from bertedge.cli.app import app
from bertedge.encoders import EncoderConfig
from bertedge.errors import BertEdgeError, CheckpointError, CorpusError, UsageError
from bertedge.evaluate.bootstrap import estimate_all
from bertedge.evaluate.collector import Collector
from bertedge.example import Example
from bertedge.heads import HEADS
from bertedge.heads.parts import HeadSettings
from bertedge.heads.ranking.rank_quantities import kendall_tau, ndcg, order_quantities
from bertedge.heads.ranking.rank_settings import RankSettings
from bertedge.heads.sequence_settings import Classifier, SequenceSettings
from bertedge.predictor import Batch, Outputs
from bertedge.quantization import export, quantize
from bertedge.runtime import load
from bertedge.runtime.verify import verify
from bertedge.tokenizer import Tokenizer
from tests.heads.test_sequence_classification import saved

library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed: extra 'dev'")
HEAD = HEADS["ranking"]
QUERY = "a ship at dawn"
DOCUMENTS = ["The cat sat on the mat.", "A ship left the port at dawn.", "Bread needs flour, water, salt and time."]
LIBRARY = "sentence_transformers"
LINEAR = "torch.nn.modules.linear.Identity"
LAYERS = SequenceSettings(
    reads="pooler", classifiers=(Classifier(name="", owner="classifier", labels=("LABEL_0",), problem="multi"),)
)
SETTINGS = RankSettings(layers=LAYERS, activation="identity")
Save = Callable[..., Path]


@pytest.fixture
def save(config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path) -> Save:
    """Writes a random classifier with one output; ``extra`` are further keys of ``config.json``."""

    def write(name: str = "float", **extra: Any) -> Path:
        saved(tmp_path / name, config, tokenizer, outputs=1, **extra)
        return tmp_path / name

    return write


def theirs(folder: Path) -> Any:
    return library.CrossEncoder(str(folder), device="cpu", local_files_only=True)


@pytest.mark.parametrize(
    ("extra", "function"),
    [
        ({}, "sigmoid"),
        ({"sentence_transformers": {"activation_fn": LINEAR, "version": "4.1.0"}}, "identity"),
        ({"sbert_ce_default_activation_function": LINEAR}, "identity"),
        ({"sentence_transformers": {"version": "4.1.0"}, "problem_type": "regression"}, "sigmoid"),
    ],
)
def test_scores_are_those_of_the_library(save: Save, tmp_path: Path, extra: dict[str, Any], function: str) -> None:
    folder = save(**extra)
    runtime = load(export(folder, tmp_path / "bundle").folder, threads=1)
    assert runtime.heads == ("ranking",)
    assert runtime.head_settings.ranking.activation == function
    expected = theirs(folder).rank(QUERY, DOCUMENTS, return_documents=True)
    got = runtime.rerank(QUERY, DOCUMENTS)
    assert [(one.index, one.text) for one in got] == [(one["corpus_id"], one["text"]) for one in expected]
    np.testing.assert_allclose([one.score for one in got], [one["score"] for one in expected], atol=1e-4)
    assert runtime.rerank(QUERY, DOCUMENTS, top=1) == got[:1]
    assert runtime.rerank(QUERY, iter(())) == []
    pairs = [(QUERY, document) for document in DOCUMENTS]
    raw = theirs(folder).predict(pairs, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(runtime.relevance(pairs, raw_scores=True), raw, atol=1e-4)


def test_the_folder_that_the_library_writes(save: Save, tmp_path: Path) -> None:
    """The settings are in a file of the library; it also limits the length of a pair."""
    model = theirs(save())
    model.activation_fn, model.max_seq_length = library.util.import_from_string(LINEAR)(), 12
    model.save_pretrained(str(tmp_path / "saved"))
    checkpoint = Checkpoint.read(tmp_path / "saved")
    assert checkpoint.embedding is None
    assert not checkpoint.warnings
    runtime = load(export(checkpoint, tmp_path / "bundle").folder, threads=1)
    long = [*DOCUMENTS, " ".join(DOCUMENTS)]
    expected = theirs(tmp_path / "saved").predict([(QUERY, text) for text in long])
    with pytest.warns(UserWarning, match="12 tokens"):
        got = {one.index: one.score for one in runtime.rerank(QUERY, long)}
    np.testing.assert_allclose([got[index] for index in range(len(long))], expected, atol=1e-4)


def test_an_int8_bundle_is_verified(save: Save, tmp_path: Path, long_corpus_file: Path) -> None:
    folder = save()
    for positions, output in (("masked", "ranking_logits"), ("all", "logits")):
        bundle = quantize(folder, tmp_path / positions, calibration=long_corpus_file, positions=positions)
        assert output in bundle.manifest.outputs
        assert verify(load(bundle.folder, threads=1)).passed


def test_the_library_runs_our_graph(save: Save, tmp_path: Path) -> None:
    """``backend="onnx"`` opens a bundle that computes every position, and applies the function of the model."""
    pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed: sentence-transformers[onnx]")
    bundle = export(save(sentence_transformers={"activation_fn": LINEAR}), tmp_path / "bundle", positions="all").folder
    model = library.CrossEncoder(str(bundle), device="cpu", local_files_only=True, backend="onnx")
    expected = {one["corpus_id"]: one["score"] for one in model.rank(QUERY, DOCUMENTS)}
    for one in load(bundle, threads=1).rerank(QUERY, DOCUMENTS):
        assert one.score == pytest.approx(expected[one.index], abs=1e-4)


def test_one_output_is_a_ranker_unless_the_files_say_otherwise(save: Save) -> None:
    plain = Checkpoint.read(save("plain"))
    assert plain.heads == ("ranking",)
    assert any("is a reranker of pairs" in told for told in plain.warnings)
    marked = Checkpoint.read(save("marked", sentence_transformers={"version": "5.0.0"}))
    assert (marked.heads, marked.warnings) == (("ranking",), ())
    assert Checkpoint.read(save("score", problem_type="regression")).heads == ("sequence_classification",)
    assert Checkpoint.read(save("label", problem_type="multi_label_classification")).heads == (
        "sequence_classification",
    )


def test_the_command(save: Save, tmp_path: Path) -> None:
    bundle = export(save(), tmp_path / "bundle").folder
    expected = load(bundle, threads=1).rerank(QUERY, DOCUMENTS, top=2)
    asked = ["rerank", str(bundle), "--query", QUERY, *DOCUMENTS, "--top", "2"]
    lines = CliRunner().invoke(app, asked).stdout.splitlines()
    assert [line.split("  ")[-1] for line in lines] == [one.text for one in expected]
    answer = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [(one["index"], one["text"]) for one in answer] == [(one.index, one.text) for one in expected]
    with_no_query = CliRunner().invoke(app, ["rerank", str(bundle), *DOCUMENTS])
    assert isinstance(with_no_query.exception, UsageError)


def test_refused(save: Save, tmp_path: Path, bundle_of: Any) -> None:
    folder = save(sentence_transformers={"activation_fn": "my.Function"})
    with pytest.raises(CheckpointError, match=r"my\.Function"):
        Checkpoint.read(folder)
    runtime = load(export(save("good"), tmp_path / "bundle").folder, threads=1)
    wrong = ((3, DOCUMENTS, {}), (QUERY, "x", {}), (QUERY, [3], {}), (QUERY, DOCUMENTS, {"top": 0}))
    for query, documents, more in wrong:
        with pytest.raises(UsageError) as caught:
            runtime.rerank(query, documents, **more)  # type: ignore[arg-type]
        assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(CheckpointError, match="no ranking head"):
        load(bundle_of("float32").folder, threads=1).rerank(QUERY, DOCUMENTS)


@pytest.mark.parametrize(
    ("about", "modules", "words"),
    [
        ({"prompts": {"q": "query: "}, "default_prompt_name": "q"}, [], "prompt"),
        (
            {},
            [{"path": "1_LogitScore", "type": f"{LIBRARY}.cross_encoder.modules.LogitScore"}],
            "LogitScore",
        ),
    ],
)
def test_folders_of_cross_encoders_that_are_refused(
    save: Save, about: dict[str, Any], modules: list[dict[str, str]], words: str
) -> None:
    folder = save()
    first = {"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
    (folder / "modules.json").write_text(json.dumps([first, *modules]))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"model_type": "CrossEncoder", **about}))
    with pytest.raises(BertEdgeError, match=words) as caught:
        Checkpoint.read(folder)
    assert len(str(caught.value).splitlines()) == 2


def test_kendalls_tau() -> None:
    scipy = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    rng = np.random.default_rng(0)
    for _ in range(5):
        one, other = rng.integers(0, 6, size=(2, 9)).astype(float)
        assert kendall_tau(one, other) == pytest.approx(scipy.kendalltau(one, other).statistic)
    equal = np.ones(3)
    assert kendall_tau(equal, np.arange(3.0)) == 1
    assert kendall_tau(np.arange(3.0), equal) == 0


def test_ndcg() -> None:
    right = np.array([0.0, 2.0, 1.0])
    assert ndcg(np.array([0.1, 0.9, 0.5]), right) == 1
    expected = (1 / np.log2(3) + 2 / np.log2(4)) / (2 + 1 / np.log2(3))
    assert ndcg(np.array([0.9, 0.1, 0.5]), right) == pytest.approx(expected)
    assert ndcg(np.array([0.9, np.nan, 0.5]), right) == pytest.approx(expected)
    assert ndcg(np.arange(3.0), np.zeros(3)) == 1


def test_every_query_counts_the_same() -> None:
    query = np.array([7, 5, 7, 7, 9, 5])
    one = np.array([1.0, 1.0, 2.0, 3.0, 0.0, 2.0])
    other = np.array([1.0, 2.0, 2.0, 3.0, 0.0, 1.0])
    found = order_quantities(query, one, other, None)
    assert found["share"] == pytest.approx([1 / 3, 1 / 2, 1 / 3, 1 / 3, 0, 1 / 2])
    assert found["top1"].tolist() == [1, 0, 1, 1, 0, 0]
    assert found["tau"].tolist() == [1, -1, 1, 1, 0, -1]
    assert order_quantities(np.arange(6), one, other, None) == {}


def pairs(queries: list[int], documents: list[int], relevance: list[float] | None = None) -> Batch:
    ids = np.array([[2, query, 3, document, 3] for query, document in zip(queries, documents, strict=True)])
    labels = {} if relevance is None else {"ranking": np.array(relevance, dtype=np.float32)[:, None]}
    return Batch(
        input_ids=ids,
        attention_mask=np.ones_like(ids),
        token_type_ids=np.tile([0, 0, 0, 1, 1], (len(ids), 1)),
        masked_positions=np.zeros((len(ids), 0), dtype=np.int64),
        labels=labels,
    )


def logits(*scores: float) -> Outputs:
    return Outputs(logits={"ranking": np.array(scores, dtype=np.float32)[:, None]})


def test_metrics_group_candidates_by_query_across_batches() -> None:
    collector = Collector(HeadSettings(ranking=SETTINGS))
    collector.add(pairs([8, 9, 8], [1, 1, 2], [1, 0, 0]), logits(2, 1, 1), logits(2, 1, 3))
    collector.add(pairs([9, 9], [2, 3], [1, 0]), logits(3, 2), logits(3.5, 2))
    found = {name: value.value for name, value in estimate_all(collector.observations()).items()}
    assert found["ranking.top1_agreement"] == pytest.approx(0.5)
    assert found["ranking.kendall_tau"] == pytest.approx(0)
    assert found["ranking.score_mae"] == pytest.approx(0.5)
    assert found["ranking.ndcg_at_10"] == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert found["ranking.ndcg_at_10_drop"] == pytest.approx((1 - 1 / np.log2(3)) / 2)


def test_the_documents_of_a_query_are_resampled_together() -> None:
    """100 queries with ten documents each are 100 things to draw, not 1,000."""
    count, documents = 100, 10
    collector = Collector(HeadSettings(ranking=SETTINGS))
    for query in range(count):
        scores = np.arange(documents, dtype=np.float64)
        other = -scores if query % 2 else scores
        batch = pairs([query + 8] * documents, list(range(documents)))
        collector.add(batch, logits(*scores), logits(*other))
    found = estimate_all(collector.observations())["ranking.top1_agreement"]
    assert (pytest.approx(found.value), found.n) == (0.5, count)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / count**0.5, rel=0.15)
    half = collector.observations().of_texts(np.arange(count * documents) >= count * documents // 2)
    assert estimate_all(half)["ranking.top1_agreement"].n == count // 2


def test_queries_without_known_relevance_have_no_gain() -> None:
    collector = Collector(HeadSettings(ranking=SETTINGS))
    nan = float("nan")
    batch = pairs([8, 8, 9, 9, 7, 7], [1, 2, 1, 2, 1, 2], [0, 1, nan, nan, 1, nan])
    collector.add(batch, logits(1, 2, 1, 2, 1, 2), logits(2, 1, 1, 2, 1, 2))
    found = estimate_all(collector.observations())
    assert found["ranking.ndcg_at_10"].n == 1
    assert found["ranking.ndcg_at_10"].value == pytest.approx(1 / np.log2(3))
    assert found["ranking.top1_agreement"].n == 3


def test_single_texts_and_files_without_labels() -> None:
    batch = pairs([8, 9], [1, 1])
    single = Batch(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        token_type_ids=np.zeros_like(batch.input_ids),
        masked_positions=batch.masked_positions,
    )
    assert HEAD.read(single, logits(1, 2), SETTINGS) == {}
    collector = Collector(HeadSettings(ranking=SETTINGS))
    collector.add(batch, logits(1, 2), logits(1, 2))
    assert {name for name in estimate_all(collector.observations()) if name.startswith("ranking")} == {
        "ranking.score_mae"
    }


def test_relevance_of_examples(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("a")

    def target(**values: Any) -> Any:
        return HEAD.target(Example(text="a", pair="b", values=values), encoding, SETTINGS)

    assert target(score="0.5") == target(label=0.5) == [0.5]
    assert target() is None
    assert HEAD.target(Example(text="a", values={"score": 1}), encoding, SETTINGS) is None
    with pytest.raises(CorpusError, match="good"):
        target(label="good")


def test_the_worst_pairs(tokenizer: Tokenizer) -> None:
    worst = HEAD.worst(tokenizer, SETTINGS)
    assert worst is not None
    batch = pairs([8, 9], [10, 11], [1, np.nan])
    worst.add(batch, *(HEAD.read(batch, outputs, SETTINGS) for outputs in (logits(1, 2), logits(1.5, 4))))
    (cases,) = worst.found().values()
    assert [case.reference[0].value for case in cases] == [2, 1]
    assert [case.expected for case in cases] == ["", "1"]
    assert [one.name for one in cases[0].texts] == ["Query", "Document"]
