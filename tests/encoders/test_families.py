"""Every family, tiny and random, next to ``transformers``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.encoders import ENCODERS, Encoder
from bertedge.errors import CheckpointError, UsageError
from bertedge.heads.parts import Parts
from bertedge.plan import read_plan
from bertedge.quantization import export, quantize
from bertedge.recipe import RECIPES, QuantizationRecipe, Static
from bertedge.runtime import load
from bertedge.runtime.verify import verify
from bertedge.tokenizer import Tokenizer
from bertedge.train.pretrain import train
from bertedge.train.training_settings import TrainingSettings
from tests.conftest import engines_for
from tests.test_plan import assert_the_plan_computes

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
TEXTS = ["The cat sat on the mat.", "the [MASK] sat", "a dog and the [MASK] ran over the long road to the house"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
#: Family -> the sizes of a tiny model, in the keys of ``transformers``.
FAMILIES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "roberta": {**SIZES, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    "camembert": {**SIZES, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    "xlm-roberta": {**SIZES, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    "electra": {**SIZES, "embedding_size": 16},
    "albert": {**SIZES, "embedding_size": 16, "num_hidden_layers": 3},
    "mpnet": SIZES,
    "nomic_bert": SIZES,
    "modernbert": {**SIZES, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3},
}
#: Further settings of the same families: name -> family, settings.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "distilbert, relu": ("distilbert", {"activation": "relu"}),
    "roberta, untied": ("roberta", {"tie_word_embeddings": False}),
    "roberta, relu": ("roberta", {"hidden_act": "relu"}),
    "albert, groups": ("albert", {"num_hidden_layers": 5, "num_hidden_groups": 2, "embedding_size": 32}),
    "albert, untied": ("albert", {"tie_word_embeddings": False}),
    "mpnet, relu": ("mpnet", {"hidden_act": "relu"}),
    "electra, relu": ("electra", {"hidden_act": "relu"}),
    "electra, untied": ("electra", {"tie_word_embeddings": False}),
    "electra, wide embeddings": ("electra", {"embedding_size": 32}),
}
EVERY = {**{name: (name, {}) for name in FAMILIES}, **OTHERS}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Callable[[str], Path]:
    """Make, or find again, a tiny random model as ``transformers`` saves it: family -> folder."""

    @cache
    def make(name: str) -> Path:
        family, settings = EVERY[name]
        folder = tmp_path_factory.mktemp("model") / family
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(
            family,
            vocab_size=tokenizer.vocab_size,
            max_position_embeddings=64,
            pad_token_id=tokenizer.id_of("pad"),
            **{**FAMILIES[family], **settings},
        )
        model = transformers.AutoModelForMaskedLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) / 6)
        model.save_pretrained(folder)
        tokenizer.save(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def exported_of(tmp_path_factory: pytest.TempPathFactory, folder_of: Callable[[str], Path]) -> Callable[..., Bundle]:
    """Make, or find again, the float bundle of a family."""

    @cache
    def make(name: str, positions: Any = "masked") -> Bundle:
        return export(folder_of(name), tmp_path_factory.mktemp("float") / "bundle", positions=positions)

    return make


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def row(family: str) -> Encoder:
    return ENCODERS[family]


@torch.no_grad()
def theirs(folder: Path, tokenizer: Tokenizer, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states (S, H) and logits (S, V) of ``transformers``."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    output = model(torch.tensor([tokenizer.encode(text).input_ids]), output_hidden_states=True)
    return output.hidden_states[-1][0].numpy(), output.logits[0].numpy()


def test_every_family_is_tested() -> None:
    assert FAMILIES.keys() | {"bert"} == ENCODERS.keys()


def test_every_tensor_is_read(folder_of: Callable[[str], Path], family: str, row: Encoder) -> None:
    checkpoint = Checkpoint.read(folder_of(family))
    assert checkpoint.parts == Parts(("mlm",))
    assert checkpoint.left_out == ()
    assert ("token_type_ids" in checkpoint.config.text_inputs) == (row.segments > 0)
    assert checkpoint.config.max_length == 64 - checkpoint.config.position_offset


@pytest.mark.parametrize("positions", ["masked", "all"])
@pytest.mark.parametrize("name", EVERY)
def test_float_bundles_equal_transformers(
    folder_of: Callable[[str], Path],
    exported_of: Callable[..., Bundle],
    tokenizer: Tokenizer,
    name: str,
    positions: str,
) -> None:
    bundle = exported_of(name, positions)
    runtimes = [load(bundle.folder, engine=engine) for engine in engines_for(bundle)]
    for text, runtime in product(TEXTS, runtimes):
        states, logits = theirs(folder_of(name), tokenizer, text)
        np.testing.assert_allclose(runtime.encode(text, pooling="none"), states, atol=1e-4)
        if tokenizer.mask_token in text:
            place = tokenizer.encode(text).input_ids.index(tokenizer.id_of("mask"))
            best = runtime.fill_mask(text, top_k=3)[0]
            assert [guess.token_id for guess in best] == np.argsort(-logits[place])[:3].tolist()
            expected = np.exp(logits[place]) / np.exp(logits[place]).sum()
            assert [guess.probability for guess in best] == pytest.approx(np.sort(expected)[:-4:-1], abs=1e-4)
    assert all(verify(runtime).passed for runtime in runtimes)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pruned_heads": {"0": [1]}}, "attention heads were pruned in layer 0"),
        ({"is_decoder": True}, "is a decoder"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
    ],
)
def test_variants_that_change_results_are_refused(family: str, changes: dict[str, Any], words: str) -> None:
    row = ENCODERS[family]
    with pytest.raises(CheckpointError, match=words):
        row.read_config({**row.write_config(row.config()), **changes})


def test_a_family_that_config_json_does_not_name_is_told(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folder_of("roberta"), tmp_path / "model")
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "model_type": "bert"}))
    with pytest.raises(CheckpointError, match="the tensors are those of RoBERTa, not of BERT") as caught:
        Checkpoint.read(folder)
    assert "set model_type to 'roberta'" in caught.value.hint


def test_positions_start_after_the_padding() -> None:
    roberta = ENCODERS["roberta"]
    assert roberta.config(pad_token_id=3).position_offset == 4
    with pytest.raises(CheckpointError, match="max_position_embeddings is 8, expected at least 9"):
        roberta.config(pad_token_id=3, max_position_embeddings=8)
    with pytest.raises(CheckpointError, match="pad_token_id is '1'"):
        roberta.config(pad_token_id="1")


def test_a_wrong_size_is_told_in_the_keys_of_the_file(row: Encoder) -> None:
    key = row.keys["hidden_size"]
    with pytest.raises(
        CheckpointError, match=f"config: {key} 7 is not a multiple of {row.keys['num_attention_heads']} 2"
    ):
        row.read_config({**row.write_config(row.config()), key: 7, row.keys["num_attention_heads"]: 2})


def test_only_bert_is_trained(
    folder_of: Callable[[str], Path], family: str, row: Encoder, corpus_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=f"{row.title} models can be quantized, but not trained"):
        train(corpus_file, tmp_path / "out", TrainingSettings(steps=1), init=folder_of(family))


def test_quantized_bundles_are_made_and_verified(
    folder_of: Callable[[str], Path], exported_of: Callable[..., Bundle], family: str, corpus_file: Path, tmp_path: Path
) -> None:
    recipe = QuantizationRecipe(method=Static(examples=4, max_length=48))
    bundle = quantize(folder_of(family), tmp_path / "bundle", recipe=recipe, calibration=corpus_file)
    assert bundle.manifest.coverage.macs > 0.9
    in_float = load(exported_of(family).folder).encode(TEXTS)
    for engine in engines_for(bundle):
        runtime = load(bundle.folder, engine=engine)
        for mine, its in zip(runtime.encode(TEXTS), in_float, strict=True):
            assert mine @ its / np.linalg.norm(mine) / np.linalg.norm(its) > 0.99
        assert verify(runtime).passed
    assert_the_plan_computes(bundle)


STATIC = QuantizationRecipe(method=Static(examples=4, max_length=48))


@pytest.mark.parametrize("method", [STATIC, RECIPES["dynamic"], RECIPES["weight-only"].changed(examples=4)])
def test_shared_weights_are_stored_once(
    folder_of: Callable[[str], Path], corpus_file: Path, tmp_path: Path, method: QuantizationRecipe
) -> None:
    bundle = quantize(folder_of("albert"), tmp_path / "bundle", recipe=method, calibration=corpus_file)
    sizes = bundle.manifest.bytes_by_part
    assert max(sizes.get(f"encoder.layer.{index}", 0) for index in (1, 2)) < sizes["encoder.layer.0"] / 20
    layers = read_plan(bundle.folder).layers
    for part in ("attention.qkv", "intermediate"):
        first, last = (layers[f"encoder.layer.{index}.{part}"] for index in (0, 2))
        assert first.matrices[0].weight == last.matrices[0].weight
        assert (first.input is None) or (first.input.scale != last.input.scale)  # ranges are those of each block


def test_layers_with_the_same_weights_have_one_format(
    folder_of: Callable[[str], Path], corpus_file: Path, tmp_path: Path
) -> None:
    for changes in ({"exclude": ("*.1.output",)}, {"finer": ("*.1.output",)}, {"float16": ("*.1.output",)}):
        with pytest.raises(UsageError, match=r"names encoder.layer.1.output, but encoder.layer.0.output has the same"):
            quantize(folder_of("albert"), tmp_path / "b", recipe=STATIC.changed(**changes), calibration=corpus_file)
    recipe = STATIC.changed(finer=("*.intermediate",), float16=("*.output",), rounding="compensated")
    assert_the_plan_computes(quantize(folder_of("albert"), tmp_path / "b", recipe=recipe, calibration=corpus_file))


def test_groups_of_several_blocks_are_refused() -> None:
    row = ENCODERS["albert"]
    written = row.write_config(row.config())
    with pytest.raises(CheckpointError, match="inner_group_num is 2, expected 1"):
        row.read_config({**written, "inner_group_num": 2})
    with pytest.raises(CheckpointError, match="num_hidden_groups is 13, expected at most num_hidden_layers 12"):
        row.read_config({**written, "num_hidden_groups": 13})
