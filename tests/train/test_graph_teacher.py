"""Teachers of other families: their float graphs give answers and hidden states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.checkpoint.sources import ArraysSource
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.encoders import ENCODERS, encoder_of, names
from bertedge.errors import UsageError
from bertedge.heads.parts import Parts
from bertedge.tokenizer import Tokenizer
from bertedge.train.distill import distill
from bertedge.train.graph_teacher import GraphTeacher
from bertedge.train.inputs import Feed, Inputs
from bertedge.train.model import BertForPreTraining
from bertedge.train.training_settings import DistillationSettings, ModelShape, TrainingSettings
from bertedge.train.world import World
from tests.conftest import random_tensors

SETTINGS = TrainingSettings(steps=8, batch_size=4, max_length=32, precision="float32")


def inputs_of(corpus: Path, tokenizer: Tokenizer) -> Inputs:
    layout = Layout.of(tokenizer, tokenizer.vocab_size)
    return next(iter(Feed(tokenize_corpus(corpus, tokenizer), layout, SETTINGS, World()).next()))


def test_the_graph_answers_as_the_torch_model(checkpoint: Checkpoint, corpus_file: Path) -> None:
    inputs = inputs_of(corpus_file, checkpoint.tokenizer)
    model, graph = BertForPreTraining.from_checkpoint(checkpoint).eval(), GraphTeacher(checkpoint)
    with torch.no_grad():
        expected, got = inputs.run(model), inputs.run(graph)
    assert expected.logits.keys() == got.logits.keys()
    for task, logits in expected.logits.items():
        torch.testing.assert_close(got.logits[task], logits, atol=1e-4, rtol=0)
    for mine, its in zip(got.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-4, rtol=0)
    torch.testing.assert_close(graph.float_tensors(), model.float_tensors())


@pytest.fixture(params=[name for name in ENCODERS if name != "bert"])
def teacher(request: pytest.FixtureRequest, tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A random teacher of each other family."""
    row = ENCODERS[request.param]
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = row.config(
        **sizes,
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=40,
        pad_token_id=tokenizer.id_of("pad"),
        **({"embedding_size": 8} if "embedding_size" in row.keys else {}),
    )
    folder = tmp_path / "teacher"
    folder.mkdir()
    write_checkpoint(folder, config, random_tensors(config, Parts(("mlm",))), tokenizer)
    return folder


def test_a_student_of_any_family_is_a_bert(teacher: Path, corpus_file: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    distill(
        teacher,
        corpus_file,
        tmp_path / "student",
        SETTINGS,
        shape=ModelShape(layers=1, hidden=8),
        on_step=lambda progress: losses.append(progress.loss),
    )
    assert np.isfinite(losses).all()
    student = Checkpoint.read(tmp_path / "student")
    assert student.config.model_type == "bert"
    assert student.parts == Parts(("mlm",))
    assert student.tokenizer.vocabulary() == Checkpoint.read(teacher).tokenizer.vocabulary()


def test_a_student_starts_near_its_teacher(teacher: Path) -> None:
    """The words are projected, so the student's table is not new."""
    checkpoint = Checkpoint.read(teacher)
    tensors = GraphTeacher(checkpoint).float_tensors()
    assert tensors["embeddings.word_embeddings.weight"].shape == (checkpoint.config.vocab_size, 16)
    assert "encoder.layer.1.attention.self.query.weight" in tensors


def test_blocks_get_the_weights_of_their_own_group(tmp_path: Path, tokenizer: Tokenizer) -> None:
    config = ENCODERS["albert"].config(
        hidden_size=16,
        num_hidden_layers=5,
        layer_groups=2,
        num_attention_heads=2,
        intermediate_size=24,
        embedding_size=8,
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=40,
    )
    write_checkpoint(tmp_path, config, random_tensors(config, Parts(("mlm",))), tokenizer)
    checkpoint = Checkpoint.read(tmp_path)
    tensors = GraphTeacher(checkpoint).float_tensors()
    for index in range(config.num_hidden_layers):
        stored = checkpoint.tensor(f"encoder.layer.{config.stored_block(index)}.output.dense.weight")
        np.testing.assert_array_equal(tensors[f"encoder.layer.{index}.output.dense.weight"].numpy(), stored)


def test_a_classifier_teaches_its_hidden_states(teacher: Path, corpus_file: Path, tmp_path: Path) -> None:
    """Whatever its family: the student gets no classifier."""
    checkpoint = Checkpoint.read(teacher)
    family, width = encoder_of(checkpoint.config).classifier, checkpoint.config.hidden_size
    head = {f"{family.out}.weight": np.ones((3, width), np.float32), f"{family.out}.bias": np.zeros(3, np.float32)}
    head |= {
        name: np.ones(shape, np.float32)
        for name, shape in names.dense_shapes(checkpoint.config, family.dense, family.norm).items()
    }
    pooler = {name: np.ones(shape, np.float32) for name, shape in names.pooler_shapes(checkpoint.config).items()}
    encoder = random_tensors(checkpoint.config, Parts())
    source = ArraysSource({**encoder, **head, **(pooler if family.reads == "pooler" else {})})
    classifier = Checkpoint(name="classifier", config=checkpoint.config, source=source, tokenizer_=checkpoint.tokenizer)
    assert classifier.heads == ("sequence_classification",)
    tensors = GraphTeacher(classifier).float_tensors()
    assert "encoder.layer.1.attention.self.query.weight" in tensors
    assert not head.keys() & tensors.keys()


def test_relations_need_a_bert(teacher: Path, corpus_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only a BERT teaches the relations"):
        distill(
            teacher,
            corpus_file,
            tmp_path / "student",
            SETTINGS,
            shape=ModelShape(layers=1, hidden=8),
            distillation=DistillationSettings(relations_weight=1.0),
        )
