"""What a sentence-transformers folder says is read, or named, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bertedge.checkpoint import Checkpoint, trim_to_text, write_checkpoint
from bertedge.checkpoint.embedder import SWITCHES
from bertedge.errors import BertEdgeError, CheckpointError, FileError
from bertedge.pooling import POOLING_MODES, EmbeddingSettings
from bertedge.vector_modules import VectorModule
from tests.embedders import (
    DENSE,
    HIDDEN,
    MODELS,
    NORMALIZE,
    TRANSFORMER,
    dense,
    embedder_folder,
    layer_norm,
    pooling,
    write,
)


@pytest.mark.parametrize("mode", POOLING_MODES)
@pytest.mark.parametrize("normalize", [False, True])
def test_pooling_and_normalization(tmp_path: Path, model_folder: Path, mode: str, normalize: bool) -> None:
    modules = [TRANSFORMER, pooling(mode), *([NORMALIZE] if normalize else [])]
    embedding = Checkpoint.read(embedder_folder(tmp_path, model_folder, modules)).embedding
    assert embedding is not None
    assert (embedding.pooling, embedding.normalize, embedding.modules) == ((mode,), normalize, ())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"embedding_dimension": HIDDEN, "pooling_mode": "cls"}, ("cls",)),
        ({"embedding_dimension": HIDDEN, "pooling_mode": ["mean", "cls"]}, ("mean", "cls")),
        ({"word_embedding_dimension": HIDDEN, "pooling_mode": "max"}, ("max",)),
        ({"word_embedding_dimension": HIDDEN}, ("mean",)),
        ({"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": False}, ("mean",)),
        # a mode that is named counts more than the switches
        ({"word_embedding_dimension": HIDDEN, "pooling_mode": "cls", "pooling_mode_mean_tokens": True}, ("cls",)),
        ({"word_embedding_dimension": HIDDEN, **dict.fromkeys(SWITCHES, True)}, tuple(SWITCHES.values())),
    ],
)
def test_every_spelling_of_pooling(
    tmp_path: Path, model_folder: Path, written: dict[str, Any], expected: tuple[str, ...]
) -> None:
    modules = [
        TRANSFORMER,
        ("1_Pooling", "sentence_transformers.sentence_transformer.modules.pooling.Pooling", written),
    ]
    embedding = Checkpoint.read(embedder_folder(tmp_path, model_folder, modules)).embedding
    assert embedding is not None
    assert embedding.pooling == expected


@pytest.mark.parametrize(
    ("transformer", "tokenizers_limit", "expected"),
    [
        ({"max_seq_length": 24}, None, 24),
        ({"max_seq_length": 24}, 16, 24),
        ({"max_seq_length": 512}, None, 64),  # more than there are positions
        ({"max_seq_length": None}, None, 64),
        ({}, 16, 16),
        (None, 16, 16),
        (None, 10**30, 64),
        ({"max_seq_length": 24, "tokenizer_args": {"model_max_length": 20}}, None, 20),
        ({"max_seq_length": 24, "processor_kwargs": {"model_max_length": 20}}, None, 20),
    ],
)
def test_length(
    tmp_path: Path, model_folder: Path, transformer: dict[str, Any] | None, tokenizers_limit: int | None, expected: int
) -> None:
    folder = embedder_folder(tmp_path, model_folder, transformer=transformer)
    if tokenizers_limit is not None:
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        write(folder / "tokenizer_config.json", {**settings, "model_max_length": tokenizers_limit})
    embedding = Checkpoint.read(folder).embedding
    assert embedding is not None
    assert embedding.max_seq_length == expected


def test_transformer_in_a_folder_inside(tmp_path: Path, model_folder: Path) -> None:
    modules = [("0_Transformer", f"{MODELS}.Transformer", None), pooling("cls")]
    folder = embedder_folder(tmp_path / "my-embedder", model_folder, modules, transformer={"max_seq_length": 24})
    checkpoint = Checkpoint.read(folder)
    assert checkpoint.name == "my-embedder"
    assert checkpoint.embedding is not None
    assert (checkpoint.embedding.pooling, checkpoint.embedding.max_seq_length) == (("cls",), 24)
    assert checkpoint.tokenizer.sha256 == Checkpoint.read(model_folder).tokenizer.sha256


def test_modules_after_the_pooling(tmp_path: Path, model_folder: Path) -> None:
    dropout = ("6_Dropout", f"{MODELS}.Dropout", {"dropout": 0.1})
    norm = ("3_Normalize", f"{MODELS}.Normalize", None)
    last = ("7_Normalize", f"{MODELS}.Normalize", {"module_input_name": "sentence_embedding"})
    modules = [TRANSFORMER, pooling("cls"), DENSE, norm, dense("4_Dense", 8, 6, bias=False), dropout, last]
    about = {"similarity_fn_name": "dot", "truncate_dim": 4}
    embedding = Checkpoint.read(embedder_folder(tmp_path, model_folder, modules, about=about)).embedding
    assert embedding is not None
    assert [(one.kind, one.inputs, one.outputs, one.activation, one.bias) for one in embedding.modules] == [
        ("dense", HIDDEN, 8, "tanh", True),
        ("normalize", 8, 8, "identity", True),
        ("dense", 8, 6, "tanh", False),
    ]
    assert (embedding.normalize, embedding.similarity, embedding.truncate_dim) == (True, "dot", 4)
    assert embedding.width(HIDDEN) == 4
    assert embedding.lines == [
        "cls pooling, dense layer 32 to 8, tanh, scaled to length 1, dense layer 8 to 6, tanh, scaled to length 1, "
        "the first 4 numbers, up to 64 tokens",
        "vectors are compared by dot",
    ]


def test_other_weights_are_another_model(tmp_path: Path, model_folder: Path) -> None:
    one, other = (
        Checkpoint.read(embedder_folder(tmp_path / name, model_folder, [TRANSFORMER, pooling("cls"), DENSE]))
        for name in ("a", "b")
    )
    assert one.embedding == other.embedding
    assert one.model_sha256 != other.model_sha256


def test_prompts(tmp_path: Path, model_folder: Path) -> None:
    about = {"prompts": {"query": "query: ", "document": None}, "default_prompt_name": "query"}
    modules = [TRANSFORMER, pooling("mean", include_prompt=False)]
    embedding = Checkpoint.read(embedder_folder(tmp_path, model_folder, modules, about=about)).embedding
    assert embedding is not None
    assert embedding.prompts == {"query": "query: ", "document": ""}
    assert embedding.default_prompt_name == "query"
    assert not embedding.include_prompt


def test_other_folders_say_nothing(checkpoint: Checkpoint) -> None:
    assert checkpoint.embedding is None


def test_pooling_is_part_of_what_the_model_answers(tmp_path: Path, model_folder: Path, checkpoint: Checkpoint) -> None:
    read = Checkpoint.read(embedder_folder(tmp_path, model_folder))
    assert read.weights_sha256 == checkpoint.weights_sha256
    assert read.model_sha256 != checkpoint.model_sha256


@pytest.mark.parametrize(
    ("modules", "error", "words"),
    [
        ([TRANSFORMER, ("1_Pooling", f"{MODELS}.Pooling", {"word_embedding_dimension": 7})], CheckpointError, "7"),
        ([TRANSFORMER, ("1_Pooling", f"{MODELS}.Pooling", {})], CheckpointError, "None numbers"),
        ([TRANSFORMER, pooling(pooling_mode="attention")], CheckpointError, "attention"),
        ([TRANSFORMER, pooling(pooling_mode=[])], CheckpointError, "pooling_mode"),
        ([TRANSFORMER, pooling(pooling_mode=[3])], CheckpointError, "pooling_mode"),
        ([TRANSFORMER, pooling(pooling_mode_attention=True)], CheckpointError, "pooling_mode_attention"),
        ([TRANSFORMER, ("1_Pooling", f"{MODELS}.Pooling", None)], FileError, "is missing"),
        ([TRANSFORMER, ("../1_Pooling", f"{MODELS}.Pooling", None)], FileError, "is outside of the folder"),
        ([("", f"{MODELS}.WordEmbeddings", None), pooling("mean")], CheckpointError, "WordEmbeddings"),
        ([("", "sentence_transformers.base.modules.Router", None)], CheckpointError, "Router"),
        ([("", f"{MODELS}.Asym", None), pooling("mean")], CheckpointError, "Asym"),
        ([TRANSFORMER, pooling("cls"), ("4_Mine", "my_package.Mine", {})], CheckpointError, "my_package.Mine"),
        ([TRANSFORMER, pooling("cls"), ("2_CNN", f"{MODELS}.CNN", {})], CheckpointError, r"2_CNN \(CNN\)"),
        ([TRANSFORMER, DENSE, pooling("cls")], CheckpointError, "before a pooling"),
        ([TRANSFORMER, pooling("cls"), pooling("mean")], CheckpointError, "1_Pooling"),
        ([TRANSFORMER, pooling("cls"), dense("2_Dense", 7)], CheckpointError, "in_features is 7"),
        ([TRANSFORMER, pooling("cls", "max"), DENSE], CheckpointError, "has 64 numbers"),
        ([TRANSFORMER, pooling("cls"), DENSE, dense("3_Dense")], CheckpointError, "has 8 numbers"),
        ([TRANSFORMER, pooling("cls"), layer_norm("2_LayerNorm", 7)], CheckpointError, "dimension is 7"),
        ([TRANSFORMER, pooling("cls"), dense("2_Dense", activation="x.Mine")], CheckpointError, "x.Mine"),
        (
            [TRANSFORMER, pooling("cls"), dense("2_Dense", module_input_name="token_embeddings")],
            CheckpointError,
            "token_embeddings",
        ),
    ],
)
def test_refused(
    tmp_path: Path, model_folder: Path, modules: list[Any], error: type[BertEdgeError], words: str
) -> None:
    folder = embedder_folder(tmp_path / "model", model_folder, modules)
    with pytest.raises(error, match=words) as caught:
        Checkpoint.read(folder)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("tensors", "error", "words"),
    [
        (None, FileError, "no weights"),
        ({}, CheckpointError, "linear.weight is missing"),
        ({"linear.weight": (8, 7), "linear.bias": (8,)}, CheckpointError, r"linear.weight is \[8, 7\], expected"),
        ({"linear.weight": (8, 32), "linear.bias": (1,)}, CheckpointError, r"linear.bias is \[1\], expected \[8\]"),
        ({"linear.weight": (8, 32)}, CheckpointError, "linear.bias is missing"),
    ],
)
def test_weights_that_do_not_fit(
    tmp_path: Path,
    model_folder: Path,
    tensors: dict[str, tuple[int, ...]] | None,
    error: type[BertEdgeError],
    words: str,
) -> None:
    folder = embedder_folder(tmp_path / "model", model_folder, [TRANSFORMER, pooling("cls"), DENSE])
    file = folder / "2_Dense" / "model.safetensors"
    file.unlink()
    if tensors is not None:
        save_file({name: np.ones(shape, np.float32) for name, shape in tensors.items()}, file)
    with pytest.raises(error, match=words) as caught:
        Checkpoint.read(folder)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("content", ["[]", "{}", "[1]", '[{"path": ""}]', "nonsense", '[{"path": 3, "type": "x"}]'])
def test_broken_modules(tmp_path: Path, model_folder: Path, content: str) -> None:
    folder = embedder_folder(tmp_path, model_folder)
    (folder / "modules.json").write_text(content)
    with pytest.raises(FileError, match=r"modules\.json"):
        Checkpoint.read(folder)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "1_Pooling\n", "no_such_folder"])
def test_odd_paths(tmp_path: Path, model_folder: Path, path: str, index: int) -> None:
    folder = embedder_folder(tmp_path, model_folder)
    modules = [{"path": "", "type": TRANSFORMER[1]}, {"path": "1_Pooling", "type": f"{MODELS}.Pooling"}]
    modules[index]["path"] = path
    write(folder / "modules.json", modules)
    with pytest.raises(FileError, match="is missing"):
        Checkpoint.read(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("sentence_bert_config.json", {"max_seq_length": "long"}),
        ("sentence_bert_config.json", {"max_seq_length": 1}),
        ("sentence_bert_config.json", {"max_seq_length": -3}),
        ("sentence_bert_config.json", {"max_seq_length": float("nan")}),
        ("sentence_bert_config.json", {"max_seq_length": True}),
        ("sentence_bert_config.json", [1]),
        ("config_sentence_transformers.json", {"prompts": [1]}),
        ("config_sentence_transformers.json", {"prompts": {"query": 3}}),
        ("config_sentence_transformers.json", {"prompts": {"query": "q"}, "default_prompt_name": "passage"}),
        ("config_sentence_transformers.json", {"default_prompt_name": 3}),
        ("config_sentence_transformers.json", {"similarity_fn_name": "jaccard"}),
        ("config_sentence_transformers.json", {"truncate_dim": 0}),
        ("config_sentence_transformers.json", {"truncate_dim": "8"}),
        ("1_Pooling/config.json", [1]),
    ],
)
def test_broken_settings(tmp_path: Path, model_folder: Path, file: str, content: Any) -> None:
    folder = embedder_folder(tmp_path, model_folder)
    write(folder / file, content)
    with pytest.raises((FileError, CheckpointError)) as caught:
        _ = Checkpoint.read(folder).tokenizer
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["The CAT sat.", "The CÄT sat."])
def test_lower_case(tmp_path: Path, model_folder: Path, text: str) -> None:
    cased = json.loads((model_folder / "tokenizer.json").read_text())
    cased["normalizer"]["lowercase"] = False
    plain = embedder_folder(tmp_path / "plain", model_folder)
    lower = embedder_folder(tmp_path / "lower", model_folder, transformer={"do_lower_case": True})
    for folder in (plain, lower):
        write(folder / "tokenizer.json", cased)
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        write(folder / "tokenizer_config.json", {**settings, "do_lower_case": False})
    ids = Checkpoint.read(plain).tokenizer.token_ids(text.lower())
    assert Checkpoint.read(lower).tokenizer.token_ids(text) == ids
    assert Checkpoint.read(plain).tokenizer.token_ids(text) != ids


@pytest.mark.parametrize(
    "settings",
    [
        EmbeddingSettings(pooling=("mean",), max_seq_length=24, normalize=True),
        EmbeddingSettings(pooling=("cls", "mean"), max_seq_length=64, include_prompt=False, prompts={"query": "q: "}),
        EmbeddingSettings(
            pooling=("mean", "cls"), max_seq_length=9, prompts={"a": "", "b": "x"}, default_prompt_name="b"
        ),
        EmbeddingSettings(pooling=(), max_seq_length=64),
    ],
)
def test_written_and_read(tmp_path: Path, checkpoint: Checkpoint, settings: EmbeddingSettings) -> None:
    tensors = dict(checkpoint.tensors())
    write_checkpoint(tmp_path, checkpoint.config, tensors, checkpoint.tokenizer, embedding=settings)
    assert Checkpoint.read(tmp_path).embedding == settings


def test_written_with_what_a_smaller_model_can(tmp_path: Path, checkpoint: Checkpoint) -> None:
    other = VectorModule(kind="dense", inputs=768, outputs=8)  # of the teacher's width
    settings = EmbeddingSettings(pooling=("cls",), max_seq_length=512, modules=(other,), truncate_dim=4)
    tensors = dict(checkpoint.tensors())
    write_checkpoint(tmp_path, checkpoint.config, tensors, checkpoint.tokenizer, embedding=settings)
    assert Checkpoint.read(tmp_path).embedding == EmbeddingSettings(pooling=("cls",), max_seq_length=64)


def test_modules_are_written_and_read(tmp_path: Path, model_folder: Path, checkpoint: Checkpoint) -> None:
    modules = [
        TRANSFORMER,
        pooling("cls", "max"),
        dense("2_Dense", 64, 48, "activation.GELU", use_residual=True, bias=False),
        ("3_Normalize", f"{MODELS}.Normalize", None),
        layer_norm("4_LayerNorm", 48),
        dense("5_Dense", 48, 48, "linear.Identity", use_residual=True),
    ]
    about = {"similarity_fn_name": "manhattan", "truncate_dim": 5}
    read = Checkpoint.read(embedder_folder(tmp_path / "a", model_folder, modules, about=about)).embedding
    assert read is not None
    (tmp_path / "b").mkdir()
    tensors = dict(checkpoint.tensors())
    write_checkpoint(tmp_path / "b", checkpoint.config, tensors, checkpoint.tokenizer, embedding=read)
    again = Checkpoint.read(tmp_path / "b").embedding
    assert again == read
    assert again.weights_sha256 == read.weights_sha256
    assert len(read.weights_sha256) == 6


def test_a_trimmed_vocabulary_keeps_the_settings(tmp_path: Path, model_folder: Path, corpus_file: Path) -> None:
    checkpoint = Checkpoint.read(embedder_folder(tmp_path, model_folder))
    trimmed, _ = trim_to_text(checkpoint, checkpoint.config.vocab_size - 1, corpus_file)
    assert trimmed.embedding == checkpoint.embedding is not None
