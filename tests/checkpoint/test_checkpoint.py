"""Checkpoints in every form that occurs, and what is wrong with broken ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from bertedge.checkpoint import BUILT_IN, Checkpoint, open_checkpoint, write_checkpoint
from bertedge.encoders import BERT, EncoderConfig, names
from bertedge.errors import BertEdgeError, CheckpointError, FileError, MissingExtraError
from bertedge.heads.parts import Parts
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors

HEADS = Parts(("mlm", "nsp"))
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def tensors(config: EncoderConfig) -> Tensors:
    return {name: torch.from_numpy(array) for name, array in random_tensors(config, HEADS).items()}


def rewrite(folder: Path, tensors: Tensors) -> Checkpoint:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return Checkpoint.read(folder)


def same(checkpoint: Checkpoint, tensors: Tensors, tolerance: float = 0.0) -> None:
    for name, array in checkpoint.tensors():
        assert array.dtype == np.float32
        assert np.abs(array - tensors[name].float().numpy()).max() <= tolerance


def test_plain(folder: Path, tensors: Tensors) -> None:
    checkpoint = Checkpoint.read(folder)
    assert checkpoint.parts == HEADS
    assert checkpoint.left_out == ()
    same(checkpoint, tensors)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2), (torch.float64, 1e-7)])
def test_other_float_types(folder: Path, tensors: Tensors, dtype: torch.dtype, tolerance: float) -> None:
    same(rewrite(folder, {name: tensor.to(dtype) for name, tensor in tensors.items()}), tensors, tolerance)


def test_integer_weights_are_refused(folder: Path, tensors: Tensors) -> None:
    tensors[names.WORD_EMBEDDINGS] = tensors[names.WORD_EMBEDDINGS].to(torch.int8)
    with pytest.raises(CheckpointError, match=f"{names.WORD_EMBEDDINGS} has type int8, expected float32"):
        rewrite(folder, tensors)


def test_shards(folder: Path, tensors: Tensors) -> None:
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for index, name in enumerate(tensors):
        weight_map[name] = f"model-{index % 3 + 1:05}-of-00003.safetensors"
    for shard in set(weight_map.values()):
        save_file({n: tensors[n].contiguous() for n in tensors if weight_map[n] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    same(Checkpoint.read(folder), tensors)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(FileError, match="model-00002-of-00003"):
        Checkpoint.read(folder)


def test_pytorch_file(folder: Path, tensors: Tensors) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    same(Checkpoint.read(folder), tensors)


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_with_code_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"weights": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(FileError, match="cannot be read: it holds __builtin__.getattr, not only tensors"):
        Checkpoint.read(folder)
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
        BERT.names.written,
        lambda name: "module." + name,
        lambda name: name.replace(names.DECODER_BIAS, "cls.predictions.decoder.bias"),
    ],
    ids=["gamma and beta", "bare model", "data parallel", "decoder bias"],
)
def test_foreign_names(folder: Path, tensors: Tensors, rename: Callable[[str], str]) -> None:
    same(rewrite(folder, {rename(name): tensor for name, tensor in tensors.items()}), tensors)


def test_a_missing_decoder_bias_is_zero(folder: Path, tensors: Tensors) -> None:
    del tensors[names.DECODER_BIAS]
    assert not rewrite(folder, tensors).tensor(names.DECODER_BIAS).any()


def test_tied_and_untied_decoders(folder: Path, tensors: Tensors) -> None:
    tensors[names.DECODER] = tensors[names.WORD_EMBEDDINGS].clone()
    assert rewrite(folder, tensors).parts == HEADS
    tensors[names.DECODER][0, 0] += 1
    assert not rewrite(folder, tensors).parts.tied


@pytest.mark.parametrize("heads", [Parts(), Parts(pooler=True), Parts(("mlm",)), Parts(("nsp",))])
def test_fewer_heads(folder: Path, config: EncoderConfig, tensors: Tensors, heads: Parts) -> None:
    kept = heads.shapes(config)
    assert rewrite(folder, {name: tensors[name] for name in kept}).parts == heads


def test_every_fault_is_in_one_error(folder: Path, tensors: Tensors) -> None:
    del tensors[names.POSITION_EMBEDDINGS]
    tensors["encoder.layer.1.output.dense.weight"] = torch.zeros(3, 3)
    with pytest.raises(CheckpointError) as caught:
        rewrite(folder, tensors)
    assert "2 tensors do not fit config.json: " in caught.value.message
    assert f"{names.POSITION_EMBEDDINGS} is missing" in caught.value.message
    assert "encoder.layer.1.output.dense.weight is [3, 3], expected [32, 64]" in caught.value.message


def test_a_config_of_another_model(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "num_hidden_layers": 3}))
    with pytest.raises(CheckpointError, match=r"layer\.2\."):
        Checkpoint.read(folder)


def test_weights_that_are_not_numbers(folder: Path, tensors: Tensors) -> None:
    tensors[names.POSITION_EMBEDDINGS][0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="position_embeddings.weight holds NaN"):
        dict(rewrite(folder, tensors).tensors())


def test_tensors_of_another_head_are_named(folder: Path, tensors: Tensors) -> None:
    tensors["classifier.weight"] = torch.zeros(2, 2)
    tensors["embeddings.position_ids"] = torch.zeros(1, 64, dtype=torch.int64)
    assert rewrite(folder, tensors).left_out == ("classifier.weight",)


def test_a_tokenizer_larger_than_the_model(folder: Path) -> None:
    Tokenizer.train(["many other words are here and there"] * 9, vocab_size=900, max_length=64).save(folder)
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["model"]["vocab"] |= {f"word{i}": 1000 + i for i in range(200)}
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="the tokenizer has"):
        _ = Checkpoint.read(folder).tokenizer


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_spoiled_weights_never_crash(folder: Path, model_folder: Path, data: st.DataObject) -> None:
    whole = (model_folder / "model.safetensors").read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    noise = data.draw(st.binary(max_size=12))
    place = data.draw(st.integers(0, min(cut, 4000)))
    (folder / "model.safetensors").write_bytes(whole[:place] + noise + whole[place + len(noise) : cut])
    try:
        for _, array in Checkpoint.read(folder).tensors():
            assert np.isfinite(array).all()
    except BertEdgeError as error:
        assert error.hint


@pytest.mark.parametrize(("package", "file"), [("tensorflow", "bert_model.ckpt.index")])
def test_a_missing_extra_names_its_pip_command(
    folder: Path, package: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.safetensors").rename(folder / file)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=package) as caught:
        Checkpoint.read(folder)
    assert "pip install '.[" in caught.value.hint


def test_places_that_hold_no_model(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="no config.json"):
        open_checkpoint(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileError, match="no weights"):
        open_checkpoint(folder)
    with pytest.raises(FileError, match="is a file"):
        open_checkpoint(folder / "config.json")
    with pytest.raises(FileError) as caught:
        open_checkpoint("bertedge-smal-en")
    assert f"did you mean '{BUILT_IN[0]}'" in caught.value.hint

    def offline(*args: object, **kwargs: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(FileError, match="someone/some-bert: no such folder, and the hub did not deliver it"):
        open_checkpoint("someone/some-bert")


def test_every_tensorflow_name_is_known(config: EncoderConfig) -> None:
    foreign = []
    for name in map(BERT.names.written, HEADS.shapes(config)):
        name = name.replace(names.DECODER_BIAS, "cls/predictions/output_bias")
        name = name.replace(f"{names.NSP}.weight", "cls/seq_relationship/output_weights")
        name = name.replace(f"{names.NSP}.bias", "cls/seq_relationship/output_bias")
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        name = name.replace("embeddings.weight", "embeddings").replace("dense.weight", "dense.kernel")
        for part in ("query", "key", "value"):
            name = name.replace(f"{part}.weight", f"{part}.kernel")
        foreign.append(name.replace("layer.", "layer_").replace(".", "/"))
    assert [BERT.names.canonical_tensorflow(name)[0] for name in foreign] == list(HEADS.shapes(config))


def test_a_tensorflow_checkpoint(folder: Path, config: EncoderConfig, tensors: Tensors) -> None:
    tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra 'tensorflow')")
    (folder / "model.safetensors").unlink()
    (folder / "config.json").rename(folder / "bert_config.json")
    renamed = {
        "cls/predictions/output_bias": names.DECODER_BIAS,
        "cls/seq_relationship/output_weights": f"{names.NSP}.weight",
        "cls/seq_relationship/output_bias": f"{names.NSP}.bias",
    }
    back = {canonical: foreign for foreign, canonical in renamed.items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, tensor in tensors.items():
            array, foreign = tensor.numpy(), back.get(name)
            if foreign is None:
                foreign = BERT.names.written(name).replace("layer.", "layer_").replace(".", "/")
                for old, new in (("LayerNorm/weight", "LayerNorm/gamma"), ("LayerNorm/bias", "LayerNorm/beta")):
                    foreign = foreign.replace(old, new)
                foreign = foreign.replace("embeddings/weight", "embeddings")
                if foreign.endswith("/weight"):
                    foreign, array = foreign.replace("/weight", "/kernel"), array.T
            tf.compat.v1.get_variable(foreign, initializer=array)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "bert_model.ckpt"))
    same(Checkpoint.read(folder), tensors)


def test_what_is_written_is_read_back(tmp_path: Path, config: EncoderConfig, tokenizer: Tokenizer) -> None:
    arrays = random_tensors(config, replace(HEADS, tied=False))
    write_checkpoint(tmp_path, config, arrays, tokenizer, dtype="float16")
    checkpoint = Checkpoint.read(tmp_path)
    assert checkpoint.parts == Parts(("mlm", "nsp"), tied=False)
    assert checkpoint.config == config
    same(checkpoint, {name: torch.from_numpy(array) for name, array in arrays.items()}, 1e-3)


def test_the_built_in_model_is_complete() -> None:
    checkpoint = open_checkpoint(BUILT_IN[0])
    assert checkpoint.parts == HEADS
    assert checkpoint.tokenizer.vocab_size == checkpoint.config.vocab_size
    assert sum(path.stat().st_size for path in checkpoint.source.files) < 25e6


def test_a_next_sentence_head_needs_its_pooler(folder: Path, config: EncoderConfig, tensors: Tensors) -> None:
    kept = [name for name in HEADS.shapes(config) if not name.startswith("pooler")]
    with pytest.raises(CheckpointError, match="a next-sentence head but no pooler"):
        rewrite(folder, {name: tensors[name] for name in kept})


def test_a_decoder_of_another_size_is_named(folder: Path, tensors: Tensors) -> None:
    tensors[names.DECODER] = torch.zeros(3, 32)
    with pytest.raises(CheckpointError, match=rf"{names.DECODER} is \[3, 32\], expected \[\d+, 32\]"):
        rewrite(folder, tensors)


def test_a_decoder_without_its_transform_is_no_head(folder: Path, config: EncoderConfig, tensors: Tensors) -> None:
    kept = {name: tensors[name] for name in Parts(pooler=True).shapes(config)}
    assert rewrite(folder, kept | {names.DECODER: torch.zeros(3, 32)}).parts == Parts(pooler=True)


def test_a_few_of_the_missing_tensors_are_named(folder: Path, config: EncoderConfig) -> None:
    with pytest.raises(CheckpointError) as caught:
        rewrite(folder, {})
    expected = list(Parts().shapes(config))
    for name in expected[:5]:
        assert f"{name} is missing" in caught.value.message
    assert caught.value.message.endswith(f" and {len(expected) - 5} more")
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_only_the_broken_tensor_is_refused(folder: Path, tensors: Tensors, value: float, dtype: torch.dtype) -> None:
    broken = f"{names.layer(1)}.output.dense.weight"
    tensors[broken][3, 4] = value
    checkpoint = rewrite(folder, {name: tensor.to(dtype) for name, tensor in tensors.items()})
    assert np.isfinite(checkpoint.tensor(names.WORD_EMBEDDINGS)).all()
    with pytest.raises(CheckpointError, match=f"{broken} holds NaN or infinity"):
        checkpoint.tensor(broken)


def test_a_checkpoint_without_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    checkpoint = Checkpoint.read(folder)
    with pytest.raises(FileError, match=r"no tokenizer\.json"):
        _ = checkpoint.tokenizer
    in_memory = Checkpoint(name="made", config=checkpoint.config, source=checkpoint.source)
    with pytest.raises(FileError, match="made: has no tokenizer"):
        _ = in_memory.tokenizer


def test_the_tokenizer_keeps_to_the_models_length(checkpoint: Checkpoint) -> None:
    assert checkpoint.tokenizer.max_length == checkpoint.config.max_position_embeddings


def test_what_is_written_beside_the_weights(tmp_path: Path, config: EncoderConfig, tokenizer: Tokenizer) -> None:
    write_checkpoint(tmp_path, config, random_tensors(config, HEADS), tokenizer, metadata={"seed": "7"})
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "seed": "7"}
        assert set(file.keys()) == set(map(BERT.names.written, HEADS.shapes(config)))
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is True


def test_weights_that_cannot_be_written(tmp_path: Path, config: EncoderConfig, tokenizer: Tokenizer) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(FileError, match="the weights cannot be written"):
        write_checkpoint(tmp_path, config, random_tensors(config, HEADS), tokenizer)


def test_writing_without_safetensors(
    tmp_path: Path, config: EncoderConfig, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtraError, match="safetensors") as caught:
        write_checkpoint(tmp_path, config, {}, tokenizer)
    assert "pip install '.[tools]'" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
