"""Checkpoints of other families, as ``transformers`` names their tensors, are named where ``config.json`` does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.errors import CheckpointError

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
}
#: (name of the classes, what is said) -> settings that are not in ``SIZES``.
FAMILIES: dict[tuple[str, str], dict[str, Any]] = {
    ("MPNet", "MPNet"): {},
    ("ConvBert", "ConvBERT"): {},
    ("Nystromformer", "Nystromformer or RoFormer"): {},
    ("MegatronBert", "MegatronBERT"): {},
    ("Albert", "ALBERT"): {"embedding_size": 16},
    ("BigBird", "BigBird"): {},
    ("Electra", "ELECTRA"): {"embedding_size": 16},
    ("Deberta", "DeBERTa"): {},
    ("DebertaV2", "DeBERTa"): {},
    ("DistilBert", "DistilBERT"): {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
    ("ModernBert", "ModernBERT"): {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2},
    ("XLM", "XLM"): {"emb_dim": 32, "n_layers": 2, "n_heads": 2},
    ("GPT2", "GPT-2"): {"n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2},
    ("Llama", "a decoder such as Llama or Qwen"): {},
}


@pytest.mark.parametrize(("name", "words"), FAMILIES)
def test_a_bare_model_of_another_family_is_named(tmp_path: Path, name: str, words: str) -> None:
    """Without the family's own prefix only the names inside tell."""
    config = getattr(transformers, f"{name}Config")(**SIZES, **FAMILIES[name, words])
    state = getattr(transformers, f"{name}Model")(config).state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.read(tmp_path)
    assert f"the tensors are those of {words}, not of BERT: " in caught.value.message
    assert len(caught.value.message) < 400
