"""Classifiers of tokens: equal to ``transformers`` in float, and the whole way through a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from typer.testing import CliRunner

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.cli.app import app
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.data.task_batches import encoded_examples, task_batches
from bertedge.errors import CheckpointError, TruncationWarning, UsageError
from bertedge.evaluate.bootstrap import estimate, estimate_all, estimate_changes
from bertedge.evaluate.collector import Collector
from bertedge.evaluate.fidelity import measure_fidelity
from bertedge.evaluate.latency import Workload, workload_batch
from bertedge.evaluate.recorded import Recorded
from bertedge.example import Example
from bertedge.heads import HEADS
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.heads.token_classification.tag_quantities import UNLABELLED
from bertedge.heads.token_classification.tag_settings import TagSettings
from bertedge.heads.token_classification.tagging import AGGREGATIONS, Aggregation, Entity
from bertedge.predictor import NO_LABEL, Batch, Outputs
from bertedge.quantization import export, quantize
from bertedge.recipe import RECIPES
from bertedge.runtime import load
from bertedge.runtime.verify import verify
from bertedge.tokenizer import Tokenizer
from tests.encoders.tiny import save

NAME = "token_classification"
HEAD = HEADS[NAME]
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SETTINGS = TagSettings(labels=LABELS, owner="classifier")
TEXTS = ["The cat sat on the mat.", "A ship left the port at dawn, unbelievably.", "a"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
#: Family -> the sizes of a tiny model, in the keys of ``transformers``.
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "roberta": SIZES,
    "electra": {**SIZES, "embedding_size": 16},
    "mpnet": SIZES,
}


def tagger(family: str, folder: Path, tokenizer: Tokenizer, **extra: Any) -> Any:
    """A random tagger of transformers in a folder."""
    config = transformers.AutoConfig.for_model(
        family,
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=64,
        pad_token_id=tokenizer.id_of("pad"),
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        **FAMILIES[family],
        **extra,
    )
    model = transformers.AutoModelForTokenClassification.from_config(config, attn_implementation="eager").eval()
    save(model, tokenizer, folder)
    return model


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Callable[[str], Path]:
    @cache
    def make(family: str) -> Path:
        folder = tmp_path_factory.mktemp("tagger") / family
        tagger(family, folder, tokenizer)
        return folder

    return make


@pytest.fixture(scope="module")
def bundle(folder_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """BERT's, in float."""
    return export(folder_of("bert"), tmp_path_factory.mktemp("tagger") / "bundle")


def pipeline_of(folder: Path) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, model_max_length=64)
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder, attn_implementation="eager")
    return transformers.pipeline("token-classification", model=model, tokenizer=tokenizer)


def assert_equal(ours: list[Entity], theirs: list[dict[str, Any]]) -> None:
    expected = [(one.get("entity_group") or one["entity"], one["start"], one["end"]) for one in theirs]
    assert [(one.label, one.start, one.end) for one in ours] == expected
    np.testing.assert_allclose([one.score for one in ours], [one["score"] for one in theirs], atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_entities_are_those_of_the_pipeline(
    family: str, folder_of: Callable[[str], Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folder = folder_of(family)
    checkpoint = Checkpoint.read(folder)
    assert (checkpoint.heads, checkpoint.left_out, checkpoint.warnings) == ((NAME,), (), ())
    pipeline = pipeline_of(folder)
    for positions, output in (("masked", "token_classification_logits"), ("all", "logits")):
        made = export(checkpoint, tmp_path / positions, positions=positions)
        assert output in made.manifest.outputs
        runtime = load(made.folder, threads=1)
        for text, entities in zip(TEXTS, runtime.tag(TEXTS, aggregation="simple"), strict=True):
            assert_equal(entities, pipeline(text, aggregation_strategy="simple"))
        assert verify(runtime).passed


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_each_aggregation(bundle: Bundle, folder_of: Callable[[str], Path], aggregation: Aggregation) -> None:
    runtime, pipeline = load(bundle.folder, threads=1), pipeline_of(folder_of("bert"))
    for text in TEXTS:
        assert_equal(runtime.tag(text, aggregation=aggregation), pipeline(text, aggregation_strategy=aggregation))
    if aggregation == "first":  # the vocabulary marks the tokens inside words
        assert runtime.tag(TEXTS) == runtime.tag(TEXTS, aggregation="first")


def test_long_texts_are_cut_or_read_whole(bundle: Bundle) -> None:
    runtime = load(bundle.folder, threads=1)
    text = " ".join(TEXTS * 8)
    with pytest.warns(TruncationWarning, match="1 of 1 texts had more than 64 tokens; their end was cut off"):
        cut = runtime.tag(text, aggregation="none")
    whole = runtime.tag(text, aggregation="none", stride=16)
    assert cut[-1].end < len(text) / 2 < whole[-1].end
    assert [one.start for one in whole] == sorted({one.start for one in whole})
    assert whole[:20] == cut[:20]
    assert runtime.tag(TEXTS, stride=16) == runtime.tag(TEXTS)
    assert runtime.tag([]) == []
    assert runtime.tag("") == []


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"aggregation": "frist"}, "aggregation 'frist' is not known\nhint: .*first"),
        ({"stride": 70}, "a stride of 70 tokens, expected 0 to 61"),
        ({"stride": -1}, "a stride of -1 tokens"),
    ],
)
def test_what_is_not_possible_is_told(bundle: Bundle, how: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load(bundle.folder, threads=1).tag(" ".join(TEXTS * 8), **how)


def test_the_command_prints_entities(bundle: Bundle) -> None:
    command = ["tag", str(bundle.folder), *TEXTS, "--aggregation", "simple", "--threads", "1"]
    expected = load(bundle.folder, threads=1).tag(TEXTS, aggregation="simple")
    printed = CliRunner().invoke(app, command).stdout
    assert [len(part.splitlines()) for part in printed.split("\n\n")] == [len(found) for found in expected]
    first = expected[0][0]
    assert printed.splitlines()[0] == f"{first.score:8.4f}  {first.label}  {first.text}"
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert [[Entity(**one) for one in found] for found in told] == expected


def test_a_model_without_the_head(bundle_of: Callable[..., Bundle]) -> None:
    with pytest.raises(CheckpointError, match="has no token_classification head, only mlm, nsp"):
        load(bundle_of("float32").folder, threads=1).tag("a")


@pytest.mark.parametrize("positions", ["masked", "all"])
def test_an_int8_bundle_is_verified(
    positions: Any, folder_of: Callable[[str], Path], long_corpus_file: Path, tmp_path: Path
) -> None:
    made = quantize(folder_of("bert"), tmp_path / "int8", calibration=long_corpus_file, positions=positions)
    assert verify(load(made.folder, threads=1)).passed
    assert made.manifest.parts.settings.token_classification == SETTINGS
    assert Bundle.open(made.folder).manifest.parts.settings.token_classification == SETTINGS
    said = json.loads((made.folder / "config.json").read_text())
    assert said["architectures"] == ["BertForTokenClassification"]
    assert said["id2label"] == {str(index): label for index, label in enumerate(LABELS)}


def test_a_tagger_is_timed_at_every_position(bundle: Bundle, tokenizer: Tokenizer, corpus_file: Path) -> None:
    assert Parts((NAME,), settings=bundle.manifest.parts.settings).reads_every
    assert Parts().reads_every
    assert not Parts(("mlm", "nsp")).reads_every
    for hidden in (False, True):
        layout = Layout.of(tokenizer, tokenizer.vocab_size, hidden=hidden)
        batch = workload_batch(Workload(batch_size=2, seq_len=9), tokenize_corpus(corpus_file, tokenizer), layout)
        outputs = load(bundle.folder, threads=1).predict(batch)
        assert (NAME in outputs.logits) == hidden


def test_the_tensor_decides_how_many_labels_there_are(
    folder_of: Callable[[str], Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tagger("bert", tmp_path, tokenizer)
    path = tmp_path / "config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "id2label": {"0": "O", "1": "B-PER"}}))
    checkpoint = Checkpoint.read(tmp_path)
    labels = ("O", "B-PER", "LABEL_2", "LABEL_3", "LABEL_4")
    assert checkpoint.parts.settings.token_classification.labels == labels
    assert any("names 2 labels in id2label, but the classifier has 5 outputs" in told for told in checkpoint.warnings)
    path.write_text(json.dumps({**said, "hidden_size": 64}))
    with pytest.raises(CheckpointError):
        Checkpoint.read(tmp_path)


def test_the_head_is_found_without_the_name_of_a_class(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    for family in FAMILIES:
        folder = tmp_path / family
        folder.mkdir()
        for file in folder_of(family).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": None}))
        assert Checkpoint.read(folder).heads == (NAME,)


def test_candidates_are_compared_with_kept_answers_too(
    bundle: Bundle, folder_of: Callable[[str], Path], long_corpus_file: Path, tmp_path: Path
) -> None:
    """As ``tune`` does; and on texts of which some have no tags."""
    reference = load(bundle.folder, threads=1)
    made = quantize(folder_of("bert"), tmp_path / "int8", calibration=long_corpus_file, recipe=RECIPES["dynamic"])
    candidate, parts = load(made.folder, threads=1), bundle.manifest.parts
    tags = ["O", "B-PER", "I-PER", "O", "O", "B-LOC"]
    examples = [Example(text=TEXTS[0], values={"tags": tags}), *(Example(text=text) for text in TEXTS)]
    encoded = encoded_examples(examples, reference.tokenizer, parts)
    batches = task_batches(encoded, reference.tokenizer, parts, name="tags.conll")
    (expected,) = measure_fidelity(reference, [candidate], batches, settings=parts.settings)
    kept = Recorded(reference, batches, tmp_path, settings=parts.settings)
    seen = kept.observe(candidate, judge=kept.itself())
    found = estimate_all(seen)
    own = {name: value for name, value in found.items() if name in HEAD.metrics}
    assert own == {name: value for name, value in expected.items() if name in HEAD.metrics}
    assert own.keys() == HEAD.metrics.keys()
    changes = estimate_changes(seen, kept.itself())
    assert changes[f"{NAME}.f1"].difference.value == pytest.approx(-own[f"{NAME}.f1_drop"].value)


def batch_of(labels: list[list[int]] | None) -> Batch:
    """Two texts of six tokens, the first and the last of which are special."""
    shape = (2, 6)
    given = {} if labels is None else {NAME: np.array(labels)}
    return Batch(
        input_ids=np.full(shape, 7),
        attention_mask=np.ones(shape, dtype=np.int64),
        token_type_ids=np.zeros(shape, dtype=np.int64),
        masked_positions=np.zeros((2, 0), dtype=np.int64),
        labels=given,
        hidden=True,
    )


def logits_of(labels: list[list[int]]) -> Outputs:
    return Outputs(logits={NAME: 8 * np.eye(len(LABELS), dtype=np.float32)[np.array(labels)]})


IN_FLOAT = [[0, 1, 2, 0, 3, 0], [0, 3, 4, 0, 0, 0]]
IN_INT8 = [[3, 1, 2, 0, 0, 1], [0, 3, 0, 0, 0, 0]]  # special tokens do not count
RIGHT = [[NO_LABEL, 1, 2, 0, 3, NO_LABEL], [NO_LABEL, 3, NO_LABEL, 1, 0, NO_LABEL]]


def values(labels: list[list[int]] | None) -> dict[str, float | None]:
    collector = Collector(HeadSettings(token_classification=SETTINGS))
    collector.add(batch_of(labels), logits_of(IN_FLOAT), logits_of(IN_INT8))
    seen = collector.observations()
    return {name.removeprefix(f"{NAME}."): estimate(name, seen) for name in HEAD.metrics}


def test_tokens_and_spans_without_labels() -> None:
    found = values(None)
    assert found["token_agreement"] == pytest.approx(6 / 8)
    assert found["span_f1"] == pytest.approx(2 * 1 / (3 + 2))  # of PER (1, 2), LOC (4); LOC of two tokens became one
    assert found["f1"] is found["f1_drop"] is found["accuracy"] is None


def test_words_and_spans_with_labels() -> None:
    found = values(RIGHT)
    assert found["token_agreement"] == pytest.approx(6 / 7)
    assert found["span_f1"] == pytest.approx(2 * 2 / (3 + 2))  # the second token of the last span is inside a word
    assert found["accuracy"] == pytest.approx(5 / 7)
    assert found["accuracy_drop"] == pytest.approx(1 / 7)
    assert found["f1"] == pytest.approx(2 * 2 / (2 + 4))
    assert found["f1_drop"] == pytest.approx(2 * 3 / (3 + 4) - 2 * 2 / (2 + 4))


def test_words_of_texts_without_labels_are_compared_too() -> None:
    unknown = [[label if label == NO_LABEL else UNLABELLED for label in row] for row in RIGHT]
    found = values(unknown)
    assert found["token_agreement"] == values(RIGHT)["token_agreement"]
    assert found["span_f1"] == values(RIGHT)["span_f1"]
    assert found["f1"] is None
    half = values([RIGHT[0], unknown[1]])
    assert half["f1"] == pytest.approx(2 * 1 / (1 + 2))


def test_numbers_that_are_not_finite_are_no_answers() -> None:
    broken = Outputs(logits={NAME: np.full((2, 6, len(LABELS)), np.nan, dtype=np.float32)})
    collector = Collector(HeadSettings(token_classification=SETTINGS))
    collector.add(batch_of(RIGHT), logits_of(IN_FLOAT), broken)
    seen = collector.observations()
    assert estimate(f"{NAME}.token_agreement", seen) == estimate(f"{NAME}.accuracy", seen) == 0
    assert estimate(f"{NAME}.span_f1", seen) == 0


def test_the_worst_texts_show_both_answers(tokenizer: Tokenizer) -> None:
    worst = HEAD.worst(tokenizer, SETTINGS)
    assert worst is not None
    ids = np.array(tokenizer.encode("The cat sat the").input_ids)
    batch = replace(batch_of(RIGHT), input_ids=np.stack([ids, ids]))
    worst.add(batch, *({"logits": outputs.logits[NAME]} for outputs in (logits_of(IN_FLOAT), logits_of(IN_INT8))))
    (cases,) = worst.found().values()
    assert len(cases) == 1
    (case,) = cases
    (shown,) = case.texts
    assert "".join(part.text for part in shown.parts) == "the cat sat the"
    assert [part.text for part in shown.parts if part.mark] == ["the"]
    assert case.expected == "PER: the cat; LOC: the"
    assert [(one.text, one.right) for one in case.reference] == [("PER: the cat", True), ("LOC: the", True)]
    assert [(one.text, one.right) for one in case.candidate] == [("PER: the cat", True)]


def test_the_worst_texts_are_shown_as_they_were_written(tokenizer: Tokenizer) -> None:
    worst, text = HEAD.worst(tokenizer, SETTINGS), "The CAT  sat The"
    assert worst is not None
    ids = np.array(tokenizer.encode(text).input_ids)
    batch = replace(batch_of(RIGHT), input_ids=np.stack([ids, ids]), texts=((text,), (text,)))
    worst.add(batch, *({"logits": outputs.logits[NAME]} for outputs in (logits_of(IN_FLOAT), logits_of(IN_INT8))))
    ((case,),) = worst.found().values()
    assert "".join(part.text for part in case.texts[0].parts) == text
    assert case.expected == "PER: The CAT; LOC: The"
