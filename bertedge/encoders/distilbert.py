"""DistilBERT (Sanh et al. 2019): BERT without token types and without a pooler, with names of its own."""

from __future__ import annotations

from typing import Any

from bertedge.encoders.encoder import ClassifierStructure, Encoder
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.encoders.variants import refuse_variants

#: Field -> key in ``config.json``, and its default. There are no token types, and the norm's epsilon is fixed.
KEYS = {
    "vocab_size": "vocab_size",
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "max_position_embeddings": "max_position_embeddings",
    "pad_token_id": "pad_token_id",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "initializer_range": "initializer_range",
}
BASE: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
DISTILBERT = Encoder(
    model_type="distilbert",
    title="DistilBERT",
    class_prefix="DistilBert",
    architecture="DistilBertForMaskedLM",
    names=ForeignNames(
        prefix="distilbert.",
        patterns=(
            (r"^(distilbert\.)?transformer\.layer\.", "encoder.layer."),
            (r"\.attention\.q_lin\.", ".attention.self.query."),
            (r"\.attention\.k_lin\.", ".attention.self.key."),
            (r"\.attention\.v_lin\.", ".attention.self.value."),
            (r"\.attention\.out_lin\.", ".attention.output.dense."),
            (r"\.sa_layer_norm\.", ".attention.output.LayerNorm."),
            (r"\.ffn\.lin1\.", ".intermediate.dense."),
            (r"\.ffn\.lin2\.", ".output.dense."),
            (r"\.output_layer_norm\.", ".output.LayerNorm."),
            (r"^vocab_transform\.", "cls.predictions.transform.dense."),
            (r"^vocab_layer_norm\.", "cls.predictions.transform.LayerNorm."),
            (r"^vocab_projector\.bias$", "cls.predictions.bias"),
            (r"^vocab_projector\.weight$", "cls.predictions.decoder.weight"),
        ),
    ),
    defaults=BASE,
    keys=KEYS,
    refuse=refuse_variants("DistilBERT"),
    classifier=ClassifierStructure(reads="first", dense="pre_classifier", activation="relu"),
)
