"""Every family with every head that it has in ``transformers``: the same logits in float.

Models are tiny and random. The table says which class of ``transformers`` has a head.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.write import _architecture
from bertedge.encoders import ENCODERS, Encoder
from bertedge.heads.text_model import row_of
from bertedge.quantization import export, quantize
from bertedge.recipe import RECIPES
from bertedge.runtime import load
from bertedge.runtime.verify import verify
from bertedge.tokenizer import Tokenizer
from tests.conftest import engines_for
from tests.encoders.test_families import FAMILIES, SIZES
from tests.test_plan import assert_the_plan_computes

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
#: Head -> the class of ``transformers``, settings of its configuration, and its outputs in order.
CLASSES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "sequence_classification": ("AutoModelForSequenceClassification", {"num_labels": 3}, ("logits",)),
    "ranking": ("AutoModelForSequenceClassification", {"num_labels": 1}, ("logits",)),
    "token_classification": ("AutoModelForTokenClassification", {"num_labels": 5}, ("logits",)),
    "question_answering": ("AutoModelForQuestionAnswering", {}, ("start_logits", "end_logits")),
}
#: Heads that ``transformers`` does not have for a family.
WITHOUT = {("nomic_bert", "question_answering")}
TEXTS = ["The cat sat on the mat.", "A ship left the port at dawn."]


@pytest.mark.parametrize(("family", "head"), [case for case in product(ENCODERS, CLASSES) if case not in WITHOUT])
def test_logits_are_those_of_transformers(family: str, head: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = saved(family, head, tokenizer, tmp_path / "float")
    checkpoint = Checkpoint.read(tmp_path / "float")
    assert head in checkpoint.heads
    assert not checkpoint.left_out
    encodings = tokenizer.encode_many([*TEXTS, (TEXTS[0], TEXTS[1])])
    if checkpoint.config.type_vocab_size < 2:  # tokenizers of such families give no second segment
        encodings = [replace(encoding, token_type_ids=[0] * len(encoding.input_ids)) for encoding in encodings]
    bundles = [export(checkpoint, tmp_path / positions, positions=positions) for positions in ("masked", "all")]
    for runtime in (load(one.folder, engine=name, threads=1) for one in bundles for name in engines_for(one)):
        rows = [row_of(encoding, hidden=True) for encoding in encodings]
        for encoding, got in zip(encodings, runtime.runner.run(rows, lambda result: result[head].copy()), strict=True):
            inputs = {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
            known = {name: torch.tensor([ids]) for name, ids in inputs.items() if name in checkpoint.config.text_inputs}
            with torch.no_grad():
                outputs = model(**known)
            expected = np.stack([outputs[name][0].numpy() for name in CLASSES[head][2]], axis=-1)
            np.testing.assert_allclose(got, expected.reshape(got.shape), atol=1e-4)


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("bert", "sequence_classification"),
        ("distilbert", "sequence_classification"),
        ("roberta", "question_answering"),
        ("electra", "ranking"),
        ("modernbert", "sequence_classification"),
        ("modernbert", "token_classification"),
    ],
)
def test_numpy_computes_the_head_from_the_plan(family: str, head: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    saved(family, head, tokenizer, tmp_path / "float")
    bundle = quantize(tmp_path / "float", tmp_path / "int8", recipe=RECIPES["dynamic"])
    assert_the_plan_computes(bundle)
    assert all(verify(bundle.folder, engine=name).passed for name in engines_for(bundle))


@pytest.mark.parametrize("row", ENCODERS.values(), ids=ENCODERS.keys())
def test_a_model_with_two_heads_is_of_a_class_that_transformers_has(row: Encoder) -> None:
    for heads in ((), ("mlm",), ("sequence_classification",), ("mlm", "sequence_classification")):
        assert hasattr(transformers, _architecture(row, heads)), heads


def saved(family: str, head: str, tokenizer: Tokenizer, folder: Path) -> Any:
    """A random model in a folder."""
    torch.manual_seed(0)
    name, settings, _ = CLASSES[head]
    sizes = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": 64, "pad_token_id": tokenizer.id_of("pad")}
    config = transformers.AutoConfig.for_model(family, **{**sizes, **FAMILIES.get(family, SIZES), **settings})
    model = getattr(transformers, name).from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 6)
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return model
