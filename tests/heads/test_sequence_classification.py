"""Classifiers of whole texts: equal to ``transformers`` in float, and the whole way through a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast, TextClassificationPipeline

from bertedge.checkpoint import Checkpoint
from bertedge.encoders import EncoderConfig
from bertedge.errors import BertEdgeError, CheckpointError, CorpusError, UsageError
from bertedge.evaluate.bootstrap import estimate_all
from bertedge.evaluate.collector import Collector
from bertedge.example import Example
from bertedge.heads import HEADS
from bertedge.heads.parts import HeadSettings
from bertedge.heads.sequence_classification.label_metrics import CHOICES, LABELLED, NAME, SCORED, SCORES
from bertedge.heads.sequence_classification.label_quantities import accuracy, fidelity, label_quantities
from bertedge.heads.sequence_settings import Classifier, SequenceSettings
from bertedge.predictor import Batch, Outputs
from bertedge.quantization import export, quantize
from bertedge.runtime import load
from bertedge.runtime.verify import verify
from bertedge.tokenizer import Tokenizer

HEAD = HEADS["sequence_classification"]
TEXTS = ["The cat sat on the mat.", "A ship left the port at dawn."]
#: problem_type, outputs.
PROBLEMS = [
    ("single_label_classification", 3),
    ("multi_label_classification", 4),
    ("regression", 1),
    (None, 2),
]


def saved(folder: Path, config: EncoderConfig, tokenizer: Tokenizer, *, outputs: int = 3, **extra: Any) -> Any:
    """A random classifier of transformers in a folder."""
    torch.manual_seed(0)
    sizes = {name: getattr(config, name) for name in ("vocab_size", "hidden_size", "num_hidden_layers")}
    sizes |= {"num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 64}
    made = BertConfig(**sizes, num_labels=outputs, initializer_range=0.5, **extra)
    model = BertForSequenceClassification(made).eval()
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return model


@pytest.mark.parametrize(("problem", "outputs"), PROBLEMS)
def test_answers_are_those_of_the_pipeline(
    problem: str | None, outputs: int, config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = saved(tmp_path / "float", config, tokenizer, outputs=outputs, problem_type=problem)
    runtime = load(export(tmp_path / "float", tmp_path / "bundle").folder, threads=1)
    pipeline = TextClassificationPipeline(model=model, tokenizer=BertTokenizerFast.from_pretrained(tmp_path / "float"))
    for text, expected, got in zip(TEXTS, pipeline(TEXTS, top_k=None), runtime.classify(TEXTS), strict=True):
        assert got == runtime.classify(text)
        assert [one.label for one in got.scores] == [one["label"] for one in expected]
        np.testing.assert_allclose([s.score for s in got.scores], [s["score"] for s in expected], atol=1e-4)
        assert (got.label, got.score) == (got.scores[0].label, got.scores[0].score)
        raw = pipeline(text, top_k=None, function_to_apply="none")
        own = runtime.classify(text, raw_scores=True)
        assert ([one.label for one in own.scores], own.labels) == ([one["label"] for one in raw], got.labels)
        np.testing.assert_allclose([one.score for one in own.scores], [one["score"] for one in raw], atol=1e-4)
    pair = pipeline([{"text": TEXTS[0], "text_pair": TEXTS[1]}], top_k=None)[0]
    assert runtime.classify(TEXTS[0], pair=TEXTS[1]).score == pytest.approx(pair[0]["score"], abs=1e-4)
    assert runtime.classify([(TEXTS[0], TEXTS[1])], top_k=1)[0].scores[0].label == pair[0]["label"]


@pytest.mark.parametrize(("problem", "outputs"), PROBLEMS[:3])
def test_an_int8_bundle_is_verified(
    problem: str, outputs: int, config: EncoderConfig, tokenizer: Tokenizer, long_corpus_file: Path, tmp_path: Path
) -> None:
    saved(tmp_path / "float", config, tokenizer, outputs=outputs, problem_type=problem)
    for positions, output in (("masked", "sequence_classification_logits"), ("all", "logits")):
        folder = tmp_path / positions
        bundle = quantize(tmp_path / "float", folder, calibration=long_corpus_file, positions=positions)
        assert output in bundle.manifest.outputs
        runtime = load(folder, threads=1)
        assert verify(runtime).passed
        assert len(runtime.classify(TEXTS[0]).scores) == outputs


def test_the_tensor_decides_how_many_labels_there_are(
    config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    saved(tmp_path, config, tokenizer, outputs=2)
    path = tmp_path / "config.json"
    labels = {"1": "yes", "2": "maybe", "3": "no"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "id2label": labels}))
    checkpoint = Checkpoint.read(tmp_path)
    assert checkpoint.parts.settings.sequence_classification.classifiers[0].labels == ("LABEL_0", "yes")
    assert any("names 3 labels in id2label, but the classifier has 2 outputs" in told for told in checkpoint.warnings)
    path.write_text(path.read_text().replace("BertForSequenceClassification", "BertForTokenClassification"))
    assert "sequence_classification" not in Checkpoint.read(tmp_path).heads


def test_a_classifier_that_does_not_fit_is_refused(config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path) -> None:
    saved(tmp_path, config, tokenizer, problem_type="single_label_classification")
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace("single_label_classification", "guessing"))
    with pytest.raises(CheckpointError, match="problem_type is 'guessing', expected 'single_label_classification'"):
        Checkpoint.read(tmp_path)


SETTINGS = SequenceSettings(
    reads="pooler",
    classifiers=(
        Classifier(name="place", owner="place", labels=("sea", "kitchen"), problem="single"),
        Classifier(name="mood", owner="mood", labels=("calm", "loud", "warm"), problem="multi"),
    ),
)


def test_labels_are_compared_by_classifier() -> None:
    expected = np.array([[2.0, 0.0, 3.0, -3.0, -3.0], [0.0, 1.0, 3.0, 3.0, -3.0]], dtype=np.float32)
    got = np.array([[0.0, 2.0, 3.0, -3.0, -3.0], [0.0, 1.0, 3.0, -3.0, -3.0]], dtype=np.float32)
    values, rows = label_quantities(expected, got, SETTINGS)
    assert values["equal"].tolist() == [False, True, True, False]
    assert rows.tolist() == [0, 1, 0, 1]
    assert values["kl"][1] == values["kl"][2] == 0
    p = 1 / (1 + np.exp(-2.0))
    assert values["kl"][0] == pytest.approx(2 * (2 * p - 1), rel=1e-6)  # sum of p log(p / q), with q = 1 - p
    assert values["prob_diff"][0] == pytest.approx(2 * p - 1, rel=1e-6)
    right = np.array([[1, 0, 1, 0, 0], [np.nan, np.nan, 1, 1, 0]], dtype=np.float32)
    ((values, rows),) = accuracy(expected, got, right, SETTINGS).values()
    assert rows.tolist() == [0, 0, 1]
    assert values["reference_hit"].tolist() == [True, True, True]
    assert values["hit"].tolist() == [False, True, False]
    broken = np.full_like(expected, np.nan)
    assert not label_quantities(expected, broken, SETTINGS)[0]["equal"].any()


def test_scores_and_labels_are_measured_apart() -> None:
    """A model may predict scores and labels: neither hides the other, and scores have no agreement of labels."""
    score = Classifier(name="stars", owner="stars", labels=("stars",), problem="regression")
    settings = SequenceSettings(reads="pooler", classifiers=(score, SETTINGS.classifiers[0]))
    expected = np.array([[3.0, 2.0, 0.0], [1.0, 2.0, 0.0]], dtype=np.float32)
    got = np.array([[3.1, 0.0, 2.0], [1.0, 2.0, 0.0]], dtype=np.float32)
    groups = fidelity(expected, got, settings)
    assert {name: len(rows) for name, (_, rows) in groups.items()} == {NAME: 4, CHOICES: 2, SCORES: 2}
    assert groups[CHOICES][0]["equal"].tolist() == [False, True]
    assert groups[SCORES][0]["score_diff"] == pytest.approx([0.1, 0], abs=1e-6)
    right = np.array([[4.0, 1, 0], [np.nan, 1, 0]], dtype=np.float32)
    found = accuracy(expected, got, right, settings)
    assert found[LABELLED][0]["hit"].tolist() == [False, True]
    assert found[SCORED][0]["error"] == pytest.approx([0.9])
    assert found[SCORED][0]["reference_error"] == pytest.approx([1.0])
    assert found[SCORED][1].tolist() == [0]


def test_a_report_has_floats_error_of_scores() -> None:
    only = Classifier(name="", owner="classifier", labels=("LABEL_0",), problem="regression")
    batch = Batch(
        input_ids=np.full((2, 3), 5),
        attention_mask=np.ones((2, 3), dtype=np.int64),
        token_type_ids=np.zeros((2, 3), dtype=np.int64),
        masked_positions=np.zeros((2, 0), dtype=np.int64),
        labels={NAME: np.array([[1.0], [2.0]], dtype=np.float32)},
    )
    settings = SequenceSettings(reads="pooler", classifiers=(only,))
    collector = Collector(HeadSettings(sequence_classification=settings))
    outputs = [Outputs(logits={NAME: np.array(rows, dtype=np.float32)}) for rows in ([[1.5], [2.0]], [[1.0], [3.0]])]
    collector.add(batch, *outputs)
    found = {name.removeprefix(f"{NAME}."): one.value for name, one in estimate_all(collector.observations()).items()}
    assert found == pytest.approx({"kl_mean": 0.3125, "score_mae": 0.75, "score_error": 0.5, "score_error_rise": 0.25})


def test_labels_that_are_called_like_numbers(tokenizer: Tokenizer) -> None:
    stars = Classifier(name="", owner="classifier", labels=("1", "2", "3"), problem="single")
    settings = SequenceSettings(reads="pooler", classifiers=(stars,))
    encoding = tokenizer.encode("The cat sat.")
    assert HEAD.target(Example(text="a", values={"label": 3}), encoding, settings).tolist() == [0, 0, 1]
    with pytest.raises(CorpusError, match="no label '0'"):
        HEAD.target(Example(text="a", values={"label": 0}), encoding, settings)


def test_a_list_may_have_a_number_for_each_label_or_the_right_ones(tokenizer: Tokenizer) -> None:
    mood = Classifier(name="", owner="classifier", labels=("calm", "loud", "warm"), problem="multi")
    settings = SequenceSettings(reads="pooler", classifiers=(mood,))
    encoding = tokenizer.encode("The cat sat.")
    given = {(0, 1, 1): [0, 1, 1], (0.0, 0.0, 0.0): [0, 0, 0], (0, 2): [1, 0, 1], (1,): [0, 1, 0], ("loud",): [0, 1, 0]}
    for labels, expected in given.items():
        found = HEAD.target(Example(text="a", values={"labels": [*labels]}), encoding, settings)
        assert found.tolist() == expected


def test_a_score_is_preferred_by_a_model_of_scores(tokenizer: Tokenizer) -> None:
    only = Classifier(name="", owner="classifier", labels=("LABEL_0",), problem="regression")
    settings = SequenceSettings(reads="pooler", classifiers=(only,))
    encoding = tokenizer.encode("The cat sat.")
    assert HEAD.target(Example(text="a", values={"label": "good", "score": 4}), encoding, settings).tolist() == [4]


def test_an_examples_answer_is_found_by_name_or_number(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("The cat sat.")

    def answer(**values: Any) -> list[float]:
        found = HEAD.target(Example(text="The cat sat.", values=values), encoding, SETTINGS)
        return found.tolist()

    assert answer(place="kitchen", mood=["calm", "warm"]) == [0, 1, 1, 0, 1]
    assert answer(place="1", mood=[]) == [0, 1, 0, 0, 0]
    assert answer(mood="2")[2:] == [0, 0, 1]
    assert HEAD.target(Example(text="The cat sat."), encoding, SETTINGS) is None
    with pytest.raises(CorpusError, match="no label 'see'") as raised:
        answer(place="see")
    assert "sea" in raised.value.hint
    with pytest.raises(CorpusError, match="2 labels, but the model gives one"):
        answer(place=["sea", "kitchen"])


def test_a_classifier_is_chosen_by_its_name(config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path) -> None:
    saved(tmp_path / "float", config, tokenizer)
    heads = tmp_path / "float" / "heads.toml"
    heads.write_text('[classifiers]\na = { tensor = "classifier" }\nb = { tensor = "classifier" }\n')
    runtime = load(export(tmp_path / "float", tmp_path / "bundle").folder, threads=1)
    assert runtime.classify(TEXTS[0], classifier="a") == runtime.classify(TEXTS[0], classifier="b")
    with pytest.raises(UsageError, match="several classifiers"):
        runtime.classify(TEXTS[0])
    with pytest.raises(UsageError, match="top_k is 0, expected at least 1"):
        runtime.classify(TEXTS[0], classifier="a", top_k=0)
    assert runtime.classify([], classifier="a") == []
    with pytest.raises(UsageError, match="no classifier 'c'"):
        runtime.classify(TEXTS[0], classifier="c")
    for text, message in WRONG_FILES.items():
        heads.write_text(text)
        with pytest.raises(BertEdgeError, match=message):
            Checkpoint.read(tmp_path / "float")


#: heads.toml -> the beginning of the message.
WRONG_FILES = {
    "": "expected classifiers, and nothing else",
    "a": "is not TOML",
    "classifiers = 3": "expected classifiers, and nothing else",
    "[classifiers]\na = 3": "classifiers.a: 3 is not an object",
    "[classifiers.a]\ntensor = 3": "classifiers.a.tensor: 3 is not str",
    '[classifiers.a]\ntensor = "nowhere"': "nowhere.weight is missing",
    '[classifiers.a]\ntensor = "pooler.dense"\nlabels = ["x"]': "has 32 outputs, but 1 labels are named",
    '[classifiers.a]\ntensor = "classifier"\nproblem_type = "x"': "problem_type is 'x'",
}
