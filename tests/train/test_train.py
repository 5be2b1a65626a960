"""Training learns, distillation starts from its teacher, and both leave readable checkpoints."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.encoders import EncoderConfig
from bertedge.errors import CorpusError, FileError, TrainingError, UsageError
from bertedge.heads.parts import Parts
from bertedge.tokenizer import Tokenizer
from bertedge.train.distill import distill
from bertedge.train.distillation_loss import distillation_objective, start_student
from bertedge.train.inputs import Counts, Feed, Inputs
from bertedge.train.loop import Progress, Trainer, pretraining_loss
from bertedge.train.model import BertForPreTraining
from bertedge.train.pretrain import train
from bertedge.train.student import layer_map
from bertedge.train.training_settings import DistillationSettings, ModelShape, TrainingSettings
from bertedge.train.world import World
from tests.conftest import DOCUMENTS

SETTINGS = TrainingSettings(steps=60, batch_size=8, max_length=32, learning_rate=3e-3, precision="float32")
SHAPE = ModelShape(layers=1, hidden=32, vocab_size=200)


def losses(corpus: Path, output: Path, **changes: object) -> list[float]:
    seen: list[float] = []
    train(corpus, output, replace(SETTINGS, **changes), shape=SHAPE, on_step=lambda p: seen.append(p.loss))  # type: ignore[arg-type]
    return seen


def feed_of(corpus: Path, tokenizer: Tokenizer, settings: TrainingSettings = SETTINGS) -> Feed:
    layout = Layout.of(tokenizer, tokenizer.vocab_size)
    return Feed(tokenize_corpus(corpus, tokenizer), layout, settings, World())


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return dict(Checkpoint.read(folder).tensors())


def test_the_loss_falls_and_the_checkpoint_reads(corpus_file: Path, tmp_path: Path) -> None:
    seen = losses(corpus_file, tmp_path / "out")
    assert len(seen) == 60
    assert seen[-1] < 0.9 * seen[0]  # a running mean, which lags behind
    checkpoint = Checkpoint.read(tmp_path / "out")
    assert checkpoint.parts == Parts(("mlm", "nsp"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_seed_fixes_everything(corpus_file: Path, tmp_path: Path) -> None:
    one = losses(corpus_file, tmp_path / "one", steps=4)
    two = losses(corpus_file, tmp_path / "two", steps=4)
    other = losses(corpus_file, tmp_path / "other", steps=4, seed=1)
    assert one == two != other
    first, second = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_loss_that_explodes_stops_the_run(
    config: EncoderConfig, corpus_file: Path, tokenizer: Tokenizer, broken: str
) -> None:
    model = BertForPreTraining(config)

    def objective(output, inputs: Inputs, counts: Counts) -> torch.Tensor:  # type: ignore[no-untyped-def]
        loss = pretraining_loss(output, inputs, counts)
        zero = 0 * loss
        return loss * float("nan") if broken == "loss" else loss + zero.sqrt()  # the root's slope at 0 is infinite

    trainer = Trainer(model, feed_of(corpus_file, tokenizer), objective, SETTINGS, World())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(TrainingError, match="nan at step 1"):
        trainer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_minutes_end_a_run(config: EncoderConfig, corpus_file: Path, tokenizer: Tokenizer) -> None:
    settings = replace(SETTINGS, steps=None, minutes=0.01)
    trainer = Trainer(
        BertForPreTraining(config), feed_of(corpus_file, tokenizer, settings), pretraining_loss, settings, World()
    )
    while trainer.progress.share_done < 1:
        trainer.step()
    assert trainer.progress.elapsed_s >= 0.6


def test_epochs_end_a_run(library: Path, tmp_path: Path) -> None:
    done = train(library, tmp_path / "out", replace(SETTINGS, steps=None, epochs=3.0), shape=SHAPE)
    assert done.share_done == 1
    one = train(library, tmp_path / "one", replace(SETTINGS, steps=None, epochs=1.0), shape=SHAPE)
    assert one.step >= 3
    assert done.step == pytest.approx(3 * one.step, abs=3)


def test_the_rate_rises_and_falls_with_the_budget() -> None:
    settings = replace(SETTINGS, learning_rate=1.0, warmup_share=0.1)
    rates = [settings.rate(share) for share in np.linspace(0, 1, 101)]
    assert rates[0] == 0.01
    assert np.argmax(rates) == 10
    assert rates[10] == 1.0
    assert all(np.diff(rates[:11]) > 0)
    assert all(np.diff(rates[10:]) <= 0)
    assert rates[-1] == 0.01


def test_micro_batches_add_up_to_the_step(library: Path, tokenizer: Tokenizer, config: EncoderConfig) -> None:
    """The same pairs, masks and loss however a step is cut."""
    gradients = []
    for accumulate in (1, 3):
        settings = replace(SETTINGS, accumulate=accumulate, dropout=0.0)
        torch.manual_seed(0)
        model = BertForPreTraining(replace(config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
        trainer = Trainer(model, feed_of(library, tokenizer, settings), pretraining_loss, settings, World())
        trainer.step()
        gradients.append(({n: p.grad.clone() for n, p in model.named_parameters()}, trainer.progress.loss))  # type: ignore[union-attr]
    (whole, loss), (parts, same_loss) = gradients
    assert loss == pytest.approx(same_loss, rel=1e-5)
    for name, gradient in whole.items():
        torch.testing.assert_close(gradient, parts[name], rtol=1e-3, atol=1e-6)


def test_decay_spares_biases_and_norms(config: EncoderConfig, corpus_file: Path, tokenizer: Tokenizer) -> None:
    model = BertForPreTraining(config)
    trainer = Trainer(model, feed_of(corpus_file, tokenizer), pretraining_loss, SETTINGS, World())
    decayed, spared = trainer._optimizer.param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert decayed["weight_decay"] == SETTINGS.weight_decay
    assert spared["weight_decay"] == 0
    assert {names[id(p)].rsplit(".", 1)[-1] for p in decayed["params"]} == {"weight"}
    assert all("LayerNorm" not in names[id(p)] for p in decayed["params"])
    assert len(names) == len(decayed["params"]) + len(spared["params"])


def test_dropout_is_a_matter_of_training_only(corpus_file: Path, tmp_path: Path) -> None:
    with_it = losses(corpus_file, tmp_path / "with", steps=3)
    without = losses(corpus_file, tmp_path / "without", steps=3, dropout=0.0)
    assert with_it != without
    assert Checkpoint.read(tmp_path / "without").config.hidden_dropout_prob == 0.1


def test_held_out_documents_are_measured_and_the_best_is_kept(library: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=20, held_out=0.2, evaluations=4)
    train(library, tmp_path / "out", settings, shape=SHAPE)
    records = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    measured = {r["step"]: r["held_out_loss"] for r in records if "held_out_loss" in r}
    assert sorted(measured) == [5, 10, 15, 20]
    assert [r["step"] for r in records if "learning_rate" in r] == [10, 20]
    told = json.loads((tmp_path / "out" / "training.json").read_text())
    assert told["corpus"]["held_out_documents"] == 5
    best = min(measured, key=lambda step: (measured[step], -step))
    assert told["held_out"]["loss"] == measured[best]
    assert told["done"]["steps"] == best


def test_a_run_that_gets_worse_keeps_its_best(library: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=30, held_out=0.2, evaluations=6, learning_rate=1.0, warmup_share=0.9)
    train(library, tmp_path / "out", settings, shape=SHAPE)
    told = json.loads((tmp_path / "out" / "training.json").read_text())
    assert told["done"]["steps"] < 30
    assert not (tmp_path / "out.run").exists()


def test_a_small_corpus_is_learned_from_whole(corpus_file: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    train(corpus_file, tmp_path / "out", replace(SETTINGS, steps=2), shape=SHAPE, note=notes.append)
    assert any("too few to hold some out" in note for note in notes)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["held_out"] is None


def test_a_document_in_each_line_is_read_whole(tmp_path: Path) -> None:
    """What was one cropped pair a document is as many pairs as it takes."""
    line = " ".join(sentence for document in DOCUMENTS for sentence in document)
    (tmp_path / "corpus.txt").write_text(f"{line} {line}\n" * 3)
    notes: list[str] = []
    train(tmp_path / "corpus.txt", tmp_path / "out", replace(SETTINGS, steps=2), shape=SHAPE, note=notes.append)
    corpus = json.loads((tmp_path / "out" / "training.json").read_text())["corpus"]
    assert (corpus["documents"], corpus["sentences"]) == (3, 6 * 12)  # a very short one is joined to the next
    assert corpus["share_read_in_a_walk"] > 0.8
    assert any(f"a document in each line; 3 documents, 72 sentences, {corpus['tokens']:,} tokens" in n for n in notes)
    assert any(f"one pass reads {100 * corpus['share_read_in_a_walk']:.0f} % of them" in n for n in notes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one sentence of a few words and some more words to fill the batch", "is a single document"),
        ("a line\n" * 30, "is a single document"),
        ("word " * 500 + "\n\n" + "other " * 300, ""),
    ],
    ids=["one sentence", "one document", "lines longer than the model"],
)
def test_odd_corpora_are_learned_from(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(text)
    notes: list[str] = []
    settings = replace(SETTINGS, steps=2, batch_size=4)
    done = train(tmp_path / "corpus.txt", tmp_path / "out", settings, shape=SHAPE, note=notes.append)
    assert done.step == 2
    assert any(told in note for note in notes)
    assert np.isfinite(done.loss)


@pytest.mark.parametrize("text", ["", "\n\n \n"], ids=["empty", "blank lines"])
def test_empty_corpora_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(text)
    with pytest.raises(CorpusError, match="holds no text"):
        train(tmp_path / "corpus.txt", tmp_path / "out", SETTINGS, shape=SHAPE)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


def test_a_student_of_another_width_is_nearly_its_teacher(checkpoint: Checkpoint, corpus_file: Path) -> None:
    teacher = BertForPreTraining.from_checkpoint(checkpoint).eval()
    feed = feed_of(corpus_file, checkpoint.tokenizer)
    batches = [inputs for _ in range(4) for inputs in feed.next()]
    narrow = replace(checkpoint.config, hidden_size=24, intermediate_size=48, num_hidden_layers=1)
    student, projection = start_student(teacher, narrow, batches)
    assert projection.shape == (32, 24)
    assert torch.allclose(projection.T @ projection, torch.eye(24), atol=1e-4)
    (inputs,) = feed.next()
    counts = Counts.of([inputs], World())
    with torch.no_grad():
        for model in (student, noise := BertForPreTraining(narrow)):
            model.eval()
        started, fresh = (
            distillation_objective(teacher, model, projection, DistillationSettings())(
                inputs.run(model), inputs, counts
            )
            for model in (student, noise)
        )
    assert started < fresh


def test_a_wider_deeper_student_starts_as_its_teacher(checkpoint: Checkpoint, corpus_file: Path) -> None:
    teacher = BertForPreTraining.from_checkpoint(checkpoint).eval()
    feed = feed_of(corpus_file, checkpoint.tokenizer)
    wide = replace(checkpoint.config, hidden_size=48, intermediate_size=96, num_hidden_layers=3)
    student, projection = start_student(teacher, wide, feed.next())
    assert projection.shape == (32, 48)
    assert torch.allclose(projection @ projection.T, torch.eye(32), atol=1e-4)
    (inputs,) = feed.next()
    objective = distillation_objective(teacher, student, projection, DistillationSettings(relations_weight=1.0))
    assert torch.isfinite(objective(inputs.run(student), inputs, Counts.of([inputs], World())))


def test_every_part_of_the_distillation_falls_to_its_floor(checkpoint: Checkpoint, corpus_file: Path) -> None:
    """Against itself, a model has no hidden error, no relation loss, and the least logit loss."""
    teacher = BertForPreTraining.from_checkpoint(checkpoint).eval()
    (inputs,) = feed_of(corpus_file, checkpoint.tokenizer).next()
    counts = Counts.of([inputs], World())
    other = BertForPreTraining(checkpoint.config).eval()
    none = {"hidden_weight": 0.0, "logits_weight": 0.0, "labels_weight": 0.0}
    for part, floor in (("hidden_weight", 0.0), ("relations_weight", 0.0), ("logits_weight", None)):
        weights = DistillationSettings(**{**none, part: 1.0})
        same, different = (
            distillation_objective(teacher, model, torch.eye(32), weights)(inputs.run(model), inputs, counts).item()
            for model in (teacher, other)
        )
        assert same < different, part
        if floor is not None:
            assert same == pytest.approx(floor, abs=1e-4), part


def test_relations_need_heads_that_divide_both_widths(checkpoint: Checkpoint) -> None:
    teacher = BertForPreTraining.from_checkpoint(checkpoint)
    with pytest.raises(UsageError, match="relations in 5 heads"):
        distillation_objective(teacher, teacher, torch.eye(32), DistillationSettings(relation_heads=5))


@pytest.mark.parametrize("wrong", [{"hidden_weight": -1.0}, {"temperature": 0.0}])
def test_weights_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(UsageError, match="weight|temperature"):
        DistillationSettings(**wrong)


def test_layers_are_spread_evenly() -> None:
    assert layer_map(6, 4) == [1, 2, 4, 5]
    assert layer_map(4, 4) == [0, 1, 2, 3]
    assert layer_map(12, 1) == [11]
    assert layer_map(2, 4) == [0, 0, 1, 1]


def test_distill_from_a_folder(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    done = distill(model_folder, corpus_file, tmp_path / "student", replace(SETTINGS, dtype="float16"), shape=SHAPE)
    assert isinstance(done, Progress)
    assert Checkpoint.read(tmp_path / "student").config.num_hidden_layers == 1


def test_a_student_can_go_on(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    short = replace(SETTINGS, steps=2)
    distill(model_folder, corpus_file, tmp_path / "student", short, shape=SHAPE)
    distill(model_folder, corpus_file, tmp_path / "more", short, init=tmp_path / "student")
    first, second = weights_of(tmp_path / "student"), weights_of(tmp_path / "more")
    assert first.keys() == second.keys()
    name = "embeddings.word_embeddings.weight"
    assert 0 < np.abs(first[name] - second[name]).max() < 0.1


def test_a_student_of_another_vocabulary_is_refused(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    train(corpus_file, tmp_path / "other_vocabulary", replace(SETTINGS, steps=1), shape=replace(SHAPE, vocab_size=120))
    with pytest.raises(UsageError, match="another vocabulary"):
        distill(model_folder, corpus_file, tmp_path / "out", SETTINGS, init=tmp_path / "other_vocabulary")


def test_a_student_with_fewer_pieces(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    full = open_checkpoint(model_folder)
    keep = full.tokenizer.vocab_size - 20
    settings = replace(SETTINGS, steps=2)
    distill(model_folder, corpus_file, tmp_path / "out", settings, shape=SHAPE, keep_vocab=keep, note=notes.append)
    student = open_checkpoint(tmp_path / "out")
    assert student.tokenizer.vocab_size == student.config.vocab_size == keep
    assert any(f"{keep} tokens" in note for note in notes)


def test_going_on_from_a_checkpoint(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    train(corpus_file, tmp_path / "more", replace(SETTINGS, steps=2), init=model_folder)
    assert Checkpoint.read(tmp_path / "more").config == Checkpoint.read(model_folder).config


def test_the_output_is_checked_before_the_work(model_folder: Path, corpus_file: Path) -> None:
    before = (model_folder / "config.json").read_bytes()
    with pytest.raises(FileError, match="already there"):
        train(corpus_file, model_folder, SETTINGS, shape=SHAPE)
    assert (model_folder / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": None},
        {"minutes": 1.0},
        {"epochs": 1.0},
        {"steps": -1},
        {"max_length": 4},
        {"batch_size": 0},
        {"accumulate": 9},
        {"learning_rate": 0.0},
        {"warmup_share": 1.0},
        {"dropout": 1.0},
        {"held_out": 0.9},
        {"evaluations": 0},
        {"save_minutes": 0.0},
        {"seed": -1},
    ],
    ids=lambda wrong: "-".join(f"{key}={value}" for key, value in wrong.items()),
)
def test_settings_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(UsageError):
        replace(SETTINGS, **wrong)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UsageError, match="3 attention heads do not divide"):
        ModelShape(hidden=32, heads=3).config(100)


@pytest.mark.parametrize(("hidden", "heads"), [(256, 8), (768, 12), (100, 2), (7, 1), (384, 12)])
def test_usual_heads(hidden: int, heads: int) -> None:
    assert ModelShape(hidden=hidden).config(100).num_attention_heads == heads


def test_whole_words_are_masked(corpus_file: Path) -> None:
    lines = [sentence for document in DOCUMENTS for sentence in document]
    tokenizer = Tokenizer.train(lines, vocab_size=80)  # so few that many words are in pieces
    layout = Layout.of(tokenizer, tokenizer.vocab_size, whole_words=True)
    feed = Feed(tokenize_corpus(corpus_file, tokenizer), layout, SETTINGS, World())
    continues = tokenizer.continuation(tokenizer.vocab_size)
    assert continues.any()
    seen = 0
    for inputs in islice((i for _ in range(20) for i in feed.next()), 20):
        ids = inputs.input_ids.flatten().clone()
        ids[inputs.masked_index] = inputs.labels["mlm"]
        chosen = set(inputs.masked_index.tolist())
        for index in chosen:
            following = index + 1
            if following < len(ids) and continues[ids[following]]:
                assert following in chosen
                seen += 1
    assert seen


def test_a_classifiers_head_is_left_out_and_that_is_told(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "classifier"))
    tensors = {name: torch.from_numpy(array) for name, array in weights_of(folder).items()}
    (folder / "model.safetensors").unlink()
    head = {"classifier.weight": torch.ones(2, 32), "classifier.bias": torch.zeros(2)}
    torch.save({**tensors, **head}, folder / "pytorch_model.bin")
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "architectures": None}))
    assert Checkpoint.read(folder).heads == ("mlm", "nsp", "sequence_classification")
    once, shape = replace(SETTINGS, steps=1, evaluations=1), ModelShape(layers=1, hidden=16)
    expected = (
        "answers of the classification head (sequence_classification) are not trained; the head is left out: "
        "it is learned from labelled texts"
    )
    for output, begin in (
        (tmp_path / "out", lambda out, note: train(corpus_file, out, once, init=folder, note=note)),
        (tmp_path / "student", lambda out, note: distill(folder, corpus_file, out, once, shape=shape, note=note)),
    ):
        told: list[str] = []
        begin(output, told.append)
        assert [words for words in told if expected in words]
        assert Checkpoint.read(output).heads == ("mlm", "nsp")


def test_what_a_checkpoint_has_that_training_leaves_out_is_told(
    model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "classifier"))
    tensors = {name: torch.from_numpy(array) for name, array in weights_of(folder).items()}
    (folder / "model.safetensors").unlink()
    torch.save({**tensors, "classifier.weight": torch.ones(2, 32)}, folder / "pytorch_model.bin")
    once, shape = replace(SETTINGS, steps=1, evaluations=1), ModelShape(layers=1, hidden=16)
    expected = (
        "warning: 1 tensor is left out, because no part of BERT reads it: classifier.weight; "
        "if classifier.weight is a classifier of whole texts, name it in heads.toml"
    )
    for told, begin in (
        ([], lambda note: train(corpus_file, tmp_path / "out", once, init=folder, note=note)),
        ([], lambda note: distill(folder, corpus_file, tmp_path / "student", once, shape=shape, note=note)),
    ):
        begin(told.append)
        assert told.count(expected) == 1
