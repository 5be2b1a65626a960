"""ModernBERT (Warner et al. 2024): rotary positions, local and global attention, gated feed-forward, no biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertedge.encoders.config import GLOBAL, LARGEST, LOCAL
from bertedge.encoders.encoder import ClassifierLayers, ClassifierStructure, Encoder
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.encoders.names import DECODER, DECODER_BIAS, MLM_TRANSFORM
from bertedge.encoders.variants import refuse_scaled_positions, refuse_variants

#: Field -> key in ``config.json``.
KEYS = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "hidden_act": "hidden_activation",
    "decoder_act": "classifier_activation",
    "max_position_embeddings": "max_position_embeddings",
    "layer_norm_eps": "norm_eps",
    "pad_token_id": "pad_token_id",
    "hidden_dropout_prob": "mlp_dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "initializer_range": "initializer_range",
    "attention_bias": "attention_bias",
    "mlp_bias": "mlp_bias",
    "norm_bias": "norm_bias",
    "head_bias": "classifier_bias",
    "rope_theta": "global_rope_theta",
    "local_rope_theta": "local_rope_theta",
    "layer_types": "layer_types",
    "local_attention": "local_attention",
}
#: Of these blocks the first attends to the whole text, the others to a window.
GLOBAL_EVERY = 3
BASE: dict[str, Any] = {
    "vocab_size": 50368,
    "hidden_size": 768,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "intermediate_size": 1152,
    "hidden_act": "gelu",
    "decoder_act": "gelu",
    "max_position_embeddings": 8192,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 50283,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "positions": "rotary",
    "norm": "pre",
    "gated": True,
    "attention_bias": False,
    "mlp_bias": False,
    "norm_bias": False,
    "head_bias": False,
    "rope_theta": 160_000.0,
    "local_rope_theta": 10_000.0,
    "local_attention": 128,
}


def refuse(raw: Mapping[str, Any]) -> None:
    """Refuse variants, and scaled rotary positions."""
    refuse_variants("ModernBERT")(raw)
    refuse_scaled_positions(raw)


def current(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys of any version of ``transformers``: since 5.0, the bases of the angles are in ``rope_parameters``."""
    found: dict[str, Any] = {}
    every = raw.get("global_attn_every_n_layers")
    if isinstance(every, int) and every > 0:
        found["layer_types"] = layer_types(raw.get("num_hidden_layers"), every)
    ropes, bases = raw.get("rope_parameters"), dict[str, Any]()
    for kind, key in ((GLOBAL, "global_rope_theta"), (LOCAL, "local_rope_theta")):
        rope = ropes.get(kind) if isinstance(ropes, dict) else None
        if isinstance(rope, dict) and "rope_theta" in rope:
            bases[key] = rope["rope_theta"]
    return {**found, **{key: value for key, value in raw.items() if value is not None}, **bases}


def layer_types(count: object, every: int = GLOBAL_EVERY) -> tuple[str, ...]:
    """The kinds of the blocks, if ``config.json`` does not list them; empty if their number is not a sensible one."""
    if not isinstance(count, int) or count > LARGEST["num_hidden_layers"]:
        return ()
    return tuple(LOCAL if index % every else GLOBAL for index in range(count))


MODERNBERT = Encoder(
    model_type="modernbert",
    title="ModernBERT",
    class_prefix="ModernBert",
    architecture="ModernBertForMaskedLM",
    names=ForeignNames(
        prefix="model.",
        patterns=(
            (r"^embeddings\.tok_embeddings\.", "embeddings.word_embeddings."),
            (r"^embeddings\.norm\.", "embeddings.LayerNorm."),
            (r"^layers\.(\d+)\.", r"encoder.layer.\1."),
            (r"^(encoder\.layer\.\d+)\.attn_norm\.", r"\1.attention.LayerNorm."),
            (r"^(encoder\.layer\.\d+)\.attn\.Wo\.", r"\1.attention.output.dense."),
            (r"^(encoder\.layer\.\d+)\.mlp_norm\.", r"\1.intermediate.LayerNorm."),
            (r"^(encoder\.layer\.\d+)\.mlp\.Wo\.", r"\1.output.dense."),
            (r"^final_norm\.", "encoder.LayerNorm."),
            (r"^head\.dense\.", f"{MLM_TRANSFORM}.dense."),
            (r"^head\.norm\.", f"{MLM_TRANSFORM}.LayerNorm."),
            (r"^decoder\.weight$", DECODER),
            (r"^decoder\.bias$", DECODER_BIAS),
        ),
        fused=(
            (r"\.attn\.Wqkv\.", (".attention.self.query.", ".attention.self.key.", ".attention.self.value.")),
            (r"\.mlp\.Wi\.", (".intermediate.dense.", ".intermediate.gate.")),
        ),
    ),
    defaults=BASE,
    keys=KEYS,
    refuse=refuse,
    derived={"layer_types": lambda fields: layer_types(fields["num_hidden_layers"])},
    current=current,
    tokenizer_class="TokenizersBackend",
    classifier=ClassifierStructure(
        reads="first",
        reads_key="classifier_pooling",
        dense=f"{MLM_TRANSFORM}.dense",
        activation="decoder",
        norm=MLM_TRANSFORM,
    ),
    token_classifier=ClassifierLayers(dense=f"{MLM_TRANSFORM}.dense", activation="decoder", norm=MLM_TRANSFORM),
)
