"""Whether tensors make the BERT of ``config.json``: prefixes of trainers, other families, pruned heads, pointers."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.checkpoint.named_classifiers import HEADS_FILE
from bertedge.encoders import BERT, EncoderConfig, names
from bertedge.errors import BertEdgeError, BundleError, CheckpointError, FileError
from bertedge.heads.parts import Parts
from bertedge.quantization import export, quantize
from bertedge.recipe import METHODS, QuantizationRecipe
from bertedge.records import read_json
from tests.cli.test_cli import typed
from tests.conftest import random_tensors

HEADS = Parts(("mlm", "nsp"))
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 438023232\n"
PREFIXES = ("", "module.", "_orig_mod.", "model.", "base_model.model.")
Arrays = dict[str, np.ndarray]


@pytest.fixture
def arrays(config: EncoderConfig) -> Arrays:
    return random_tensors(config, HEADS)


def rewrite(folder: Path, arrays: Arrays, **config: object) -> None:
    """Other weights, and other keys in config.json; None takes a key out."""
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "model.safetensors")
    raw = {**json.loads((folder / "config.json").read_text()), **config}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))


@pytest.mark.parametrize("prefix", ["".join(pair) for pair in itertools.product(PREFIXES, PREFIXES)][1:])
def test_prefixes_of_trainers_are_stripped(prefix: str, config: EncoderConfig) -> None:
    for name in HEADS.shapes(config):
        assert BERT.names.canonical(prefix + name) == name
        assert BERT.names.canonical(prefix + BERT.names.written(name)) == name


@pytest.mark.parametrize("wrapper", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_wrappers_inside_a_name_are_stripped(wrapper: str) -> None:
    name = f"bert.encoder.{wrapper}.layer.0.{wrapper}.{wrapper}.output.dense.weight"
    assert BERT.names.canonical(name) == "encoder.layer.0.output.dense.weight"


@pytest.mark.parametrize("name", ["ema_model.bert.pooler.dense.weight", "encoder.layers.0.fc1.weight", "remodel.x"])
def test_other_names_stay(name: str) -> None:
    assert BERT.names.canonical(name) == name


def test_a_checkpoint_as_a_trainer_wraps_it(folder: Path, arrays: Arrays) -> None:
    rewrite(folder, {f"module._orig_mod.{name}": array for name, array in arrays.items()})
    for name, array in Checkpoint.read(folder).tensors():
        np.testing.assert_array_equal(array, arrays[name])


def test_copies_under_two_names_must_be_equal(folder: Path, arrays: Arrays) -> None:
    copy = {f"module.{names.POSITION_EMBEDDINGS}": arrays[names.POSITION_EMBEDDINGS]}
    rewrite(folder, {**arrays, **copy})
    assert Checkpoint.read(folder).left_out == ()
    rewrite(folder, {**arrays, **{name: array + 1 for name, array in copy.items()}})
    with pytest.raises(CheckpointError, match=f"are both {names.POSITION_EMBEDDINGS}, and differ"):
        Checkpoint.read(folder)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_an_untied_decoder_has_a_bias_of_its_own(folder: Path, arrays: Arrays, prefix: str) -> None:
    """``transformers`` adds it, and leaves the other, which stays as it was initialised, alone."""
    bias = arrays.pop(names.DECODER_BIAS)
    both = {names.DECODER_BIAS: np.zeros_like(bias), names.UNTIED_DECODER_BIAS: bias}
    for order in (both, dict(reversed(both.items()))):
        (folder / "model.safetensors").unlink(missing_ok=True)
        state = {f"{prefix}{name}": torch.from_numpy(array) for name, array in {**arrays, **order}.items()}
        torch.save(state, folder / "pytorch_model.bin")
        np.testing.assert_array_equal(Checkpoint.read(folder).tensor(names.DECODER_BIAS), bias)


#: Family -> names of tensors as its checkpoints have them.
OTHERS = {
    "RoBERTa": ("roberta.embeddings.word_embeddings.weight", "roberta.encoder.layer.0.output.dense.weight"),
    "DistilBERT": ("distilbert.transformer.layer.0.attention.q_lin.weight", "vocab_transform.weight"),
    "ALBERT": ("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight",),
    "ELECTRA": ("electra.embeddings_project.weight", "generator_predictions.dense.weight"),
    "DeBERTa": ("deberta.encoder.layer.0.attention.self.query_proj.weight", "deberta.encoder.rel_embeddings.weight"),
    "MPNet": ("encoder.layer.0.attention.attn.q.weight", "encoder.relative_attention_bias.weight"),
    "ModernBERT": ("model.layers.0.attn.Wqkv.weight", "model.embeddings.tok_embeddings.weight"),
    "T5": ("encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"),
    "GPT-2": ("transformer.h.0.attn.c_attn.weight", "wte.weight"),
    "Llama": ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"),
}


@pytest.mark.parametrize("family", OTHERS)
@pytest.mark.parametrize("model_type", [None, "bert"])
def test_another_family_is_named_with_a_few_tensors(folder: Path, family: str, model_type: str | None) -> None:
    rewrite(
        folder, {name: np.ones(3, np.float32) for name in OTHERS[family]}, model_type=model_type, architectures=None
    )
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.read(folder)
    assert family in caught.value.message
    assert "not of BERT: " in caught.value.message
    assert len(caught.value.message) < 300
    assert str(caught.value).count("\n") == 1


@pytest.mark.parametrize("family", ["GPT-2", "T5"])
def test_another_family_is_named_where_its_config_has_other_words_for_sizes(folder: Path, family: str) -> None:
    """Such as ``n_layer``: what is missing in ``config.json`` says nothing, the tensors do."""
    tensors = {name: np.ones(3, np.float32) for name in OTHERS[family]}
    rewrite(folder, tensors, model_type=None, architectures=None, hidden_size=None, num_hidden_layers=None)
    with pytest.raises(CheckpointError, match=f"the tensors are those of {family}, which is not supported: "):
        Checkpoint.read(folder)


def test_a_berts_config_without_sizes_stays_the_complaint(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: raw[key] for key in raw if key != "hidden_size"}))
    with pytest.raises(CheckpointError, match="hidden_size missing"):
        Checkpoint.read(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="hidden_size missing"):
        Checkpoint.read(folder)


def test_tensors_of_nobody(folder: Path) -> None:
    rewrite(folder, {f"blocks.{index}.weight": np.ones(3, np.float32) for index in range(99)})
    with pytest.raises(CheckpointError, match="none of the 99 tensors is one of BERT: blocks.0.weight, .* and 96 more"):
        Checkpoint.read(folder)


@pytest.mark.parametrize("part", ["encoder.layer.1.attention.self.distance_embedding.weight", "embeddings.norm.weight"])
def test_parts_of_an_encoder_that_bert_has_not_are_refused(folder: Path, arrays: Arrays, part: str) -> None:
    rewrite(folder, {**arrays, f"bert.{part}": np.ones(3, np.float32)})
    with pytest.raises(CheckpointError, match=f"the encoder has tensors that a BERT does not have: {part}"):
        Checkpoint.read(folder)


def test_layers_behind_the_last_one_are_left_out(folder: Path, arrays: Arrays) -> None:
    """Models are shortened by a smaller number in config.json."""
    rewrite(folder, arrays, num_hidden_layers=1)
    left_out = Checkpoint.read(folder).left_out
    assert set(left_out) == {name for name in arrays if name.startswith(f"{names.layer(1)}.")}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("query.weight", "query.base_layer.weight", "LoRA adapters that were not merged"),
        ("query.weight", "query.qweight", "quantized layers"),
    ],
)
def test_other_forms_of_a_bert_are_named(folder: Path, arrays: Arrays, old: str, new: str, words: str) -> None:
    rewrite(folder, {name.replace(old, new): array for name, array in arrays.items()})
    with pytest.raises(CheckpointError, match=f"the file holds {words}: encoder.layer.0"):
        Checkpoint.read(folder)


def test_pruned_heads_are_named_by_their_shapes(folder: Path, arrays: Arrays) -> None:
    for layer, kept in ((0, 24), (1, 8)):
        attention = f"{names.layer(layer)}.attention"
        for part in ("query", "key", "value"):
            arrays[f"{attention}.self.{part}.weight"] = arrays[f"{attention}.self.{part}.weight"][:kept]
            arrays[f"{attention}.self.{part}.bias"] = arrays[f"{attention}.self.{part}.bias"][:kept]
        arrays[f"{attention}.output.dense.weight"] = arrays[f"{attention}.output.dense.weight"][:, :kept]
    rewrite(folder, arrays)
    with pytest.raises(CheckpointError, match=r"attention heads were pruned in layer 0, 1 \(.*is \[24, 32\], expected"):
        Checkpoint.read(folder)


def test_pruned_heads_are_named_by_the_config(folder: Path, arrays: Arrays) -> None:
    rewrite(folder, arrays, pruned_heads={"1": [0, 2]})
    with pytest.raises(CheckpointError, match="config.json: pruned_heads says .* pruned in layer 1"):
        Checkpoint.read(folder)


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_git_lfs_pointer_is_named(folder: Path, broken: str) -> None:
    (folder / broken).write_text(POINTER)
    with pytest.raises(FileError, match=f"{broken}: is a Git LFS pointer, not the file itself") as caught:
        _ = Checkpoint.read(folder).tokenizer
    assert "git lfs pull" in caught.value.hint


@pytest.mark.parametrize(
    "broken", ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.safetensors.index.json"]
)
def test_a_git_lfs_pointer_to_weights_of_other_formats(folder: Path, broken: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / broken).write_text(POINTER)
    with pytest.raises(FileError, match=f"{broken}: is a Git LFS pointer"):
        Checkpoint.read(folder)


def test_a_git_lfs_pointer_in_the_place_of_a_shard_or_vocabulary(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text(POINTER)
    with pytest.raises(FileError, match="vocab.txt: is a Git LFS pointer"):
        _ = Checkpoint.read(folder).tokenizer
    shard = folder / "model-00001-of-00001.safetensors"
    (folder / "model.safetensors").unlink()
    shard.write_text(POINTER)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": shard.name}}))
    with pytest.raises(FileError, match=f"{shard.name}: is a Git LFS pointer"):
        Checkpoint.read(folder)


def test_weights_that_are_there_are_read_beside_a_pointer(folder: Path, arrays: Arrays) -> None:
    (folder / "model.safetensors").write_text(POINTER)
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, folder / "pytorch_model.bin")
    assert Checkpoint.read(folder).parts == HEADS


def test_a_web_page_is_named(folder: Path) -> None:
    (folder / "model.safetensors").write_text("\n<!DOCTYPE html>\n<html><body>Sign in</body></html>")
    with pytest.raises(FileError, match="model.safetensors: is a web page"):
        Checkpoint.read(folder)


def test_a_git_lfs_pointer_in_a_bundle(folder: Path, tmp_path: Path) -> None:
    bundle = export(folder, tmp_path / "bundle")
    bundle.model_path.write_text(POINTER)
    with pytest.raises(BundleError, match=r"model\.onnx is a Git LFS pointer, not the file itself"):
        Bundle.open(bundle.folder)


@pytest.fixture
def classifier(folder: Path, arrays: Arrays) -> Path:
    """A BertForSequenceClassification, whose head is not read yet."""
    head = {"classifier.weight": np.ones((2, 32), np.float32), "classifier.bias": np.ones(2, np.float32)}
    buffers = {"embeddings.position_ids": np.arange(64)[None], "norm.num_batches_tracked": np.array(3)}
    tied = {names.DECODER: arrays[names.WORD_EMBEDDINGS]}
    rewrite(folder, {**arrays, **head, **buffers, **tied})
    return folder


WORDS = (
    "2 tensors are left out, because no part of BERT reads them: classifier.bias, classifier.weight; "
    "if classifier.weight is a classifier of whole texts, name it in heads.toml"
)


def test_only_what_can_be_a_classifier_is_called_one(folder: Path, arrays: Arrays) -> None:
    """Not the dense layer in front of one, and not a decoder: here that of a discriminator, and of a lost head."""
    dense, decoder = np.ones((32, 32), np.float32), np.ones(arrays[names.WORD_EMBEDDINGS].shape, np.float32)
    others = {"discriminator_predictions.dense.weight": dense, "lm.decoder.weight": decoder}
    rewrite(folder, {**arrays, **others})
    assert [words for words in Checkpoint.read(folder).warnings if "left out" in words and HEADS_FILE not in words]


def test_tensors_left_out_are_in_the_manifest(classifier: Path, corpus_file: Path, tmp_path: Path) -> None:
    recipe = QuantizationRecipe(method=METHODS["dynamic"]())
    for bundle in (
        export(classifier, tmp_path / "float"),
        quantize(classifier, tmp_path / "int8", recipe=recipe, calibration=corpus_file),
    ):
        assert Bundle.open(bundle.folder).manifest.left_out == ("classifier.bias", "classifier.weight")
        assert WORDS in bundle.manifest.warnings


def test_tensors_left_out_are_told_on_the_command_line(classifier: Path, corpus_file: Path, tmp_path: Path) -> None:
    quick = ("--recipe", "dynamic", "--calibration", corpus_file)
    for command in (
        ("export", classifier, "-o", tmp_path / "float"),
        ("quantize", classifier, "-o", tmp_path / "int8", *quick),
        ("info", classifier),
        ("info", tmp_path / "float"),
        ("info", tmp_path / "int8", "--json"),
    ):
        done = typed(*command)
        assert done.returncode == 0, done.stderr
        assert f"warning: {WORDS}\n" in done.stderr
    assert json.loads(done.stdout)["left_out"] == ["classifier.bias", "classifier.weight"]


def test_a_long_list_is_cut_in_words_and_whole_in_the_manifest(folder: Path, arrays: Arrays, tmp_path: Path) -> None:
    adapters = {f"adapter.{index:03}.weight": np.ones(1, np.float32) for index in range(100)}
    rewrite(folder, {**arrays, **adapters})
    bundle = export(folder, tmp_path / "bundle")
    assert bundle.manifest.left_out == tuple(adapters)
    assert bundle.manifest.warnings[0].endswith("adapter.011.weight and 88 more")


def test_an_untied_decoder_without_its_head_is_left_out(folder: Path, config: EncoderConfig, arrays: Arrays) -> None:
    kept = {name: arrays[name] for name in Parts(pooler=True).shapes(config)}
    rewrite(folder, {**kept, names.DECODER: arrays[names.WORD_EMBEDDINGS]})
    assert Checkpoint.read(folder).left_out == ()
    rewrite(folder, {**kept, names.DECODER: arrays[names.WORD_EMBEDDINGS] + 1})
    assert Checkpoint.read(folder).left_out == (names.DECODER,)


def test_the_built_in_model_leaves_nothing_out() -> None:
    assert open_checkpoint("bertedge-small-en").warnings == ()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [3e38, 1e19])
@pytest.mark.parametrize(
    "name", [names.WORD_EMBEDDINGS, f"{names.layer(0)}.attention.self.query.weight", names.DECODER_BIAS]
)
def test_weights_of_no_ordinary_size_are_named(
    folder: Path, arrays: Arrays, tmp_path: Path, corpus_file: Path, name: str, value: float
) -> None:
    arrays[name][1] = -value
    rewrite(folder, arrays)
    for method in METHODS.values():
        with pytest.raises(CheckpointError, match=f"{name} holds numbers up to {value:.2g}".replace("+", r"\+")):
            quantize(folder, tmp_path / "b", recipe=QuantizationRecipe(method=method()), calibration=corpus_file)
    assert not (tmp_path / "b").exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["static", "weight-only"])  # dynamic needs no ranges, and answers as float does
def test_weights_whose_products_overflow_are_named(
    folder: Path, arrays: Arrays, tmp_path: Path, corpus_file: Path, method: str
) -> None:
    arrays[f"{names.layer(0)}.attention.self.value.weight"][...] = 1e17
    arrays[f"{names.layer(0)}.attention.output.dense.weight"][...] = 1e17
    arrays[f"{names.layer(0)}.attention.output.LayerNorm.weight"][...] = 1e17
    rewrite(folder, arrays)
    with pytest.raises(CheckpointError, match="computes numbers that are not finite"):
        quantize(folder, tmp_path / "b", recipe=QuantizationRecipe(method=METHODS[method]()), calibration=corpus_file)


@pytest.mark.parametrize("eps", [1, 1.0, 1e-30, 1e-5])
def test_a_layer_norm_eps_of_any_sensible_size_works(folder: Path, arrays: Arrays, tmp_path: Path, eps: float) -> None:
    rewrite(folder, arrays, layer_norm_eps=eps)
    assert export(folder, tmp_path / "bundle").manifest.config["layer_norm_eps"] == eps


@pytest.mark.parametrize("eps", [1e30, 10**30, 2, 1e-50, 0])
def test_a_layer_norm_eps_of_no_sensible_size_names_the_file(folder: Path, arrays: Arrays, eps: float) -> None:
    rewrite(folder, arrays, layer_norm_eps=eps)
    with pytest.raises(BertEdgeError, match="config.json: layer_norm_eps is .* expected a number above 0, at most 1"):
        Checkpoint.read(folder)


def test_json_from_a_pipe_is_read_once() -> None:
    receiver, sender = os.pipe()
    os.write(sender, b'{"x": 1}')
    os.close(sender)
    assert read_json(Path(f"/dev/fd/{receiver}")) == {"x": 1}
    os.close(receiver)


def test_json_that_is_a_pointer(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(POINTER)
    with pytest.raises(FileError, match="x.json: is a Git LFS pointer"):
        read_json(tmp_path / "x.json")
