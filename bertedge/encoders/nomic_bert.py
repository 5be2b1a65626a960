"""NomicBERT (Nussbaum et al. 2024): BERT with rotary positions, a gated feed-forward network, and fewer biases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bertedge.encoders.bert import BASE as BERT_BASE
from bertedge.encoders.encoder import ClassifierStructure, Encoder
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.encoders.names import DECODER_BIAS, MLM_TRANSFORM
from bertedge.encoders.variants import refuse_scaled_positions, refuse_variants
from bertedge.errors import CheckpointError

#: Field -> key in ``config.json``. The structure is not in the file.
KEYS = {**{name: name for name in BERT_BASE}, "rope_theta": "rope_theta"}
BASE: dict[str, Any] = {
    **BERT_BASE,
    "vocab_size": 30528,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "positions": "rotary",
    "gated": True,
    "attention_bias": False,
    "mlp_bias": False,
    "rope_theta": 1000.0,
}
#: Key -> the key of Nomic's own code, with which the published models are stored.
OWN_KEYS = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "layer_norm_eps": "layer_norm_epsilon",
    "rope_theta": "rotary_emb_base",
}
#: Keys of Nomic's own code that change the structure -> the values with which a model has the structure above.
STRUCTURE: dict[str, tuple[Any, ...]] = {
    "activation_function": ("swiglu",),
    "prenorm": (False,),
    "parallel_block": (False,),
    "use_rms_norm": (False, None),
    "qkv_proj_bias": (False,),
    "mlp_fc1_bias": (False,),
    "mlp_fc2_bias": (False,),
    "rotary_emb_fraction": (1.0,),
    "rotary_emb_interleaved": (False,),
    "rotary_emb_scale_base": (None,),
    "causal": (False,),
    "rotary_scaling_factor": (None,),
    "moe_every_n_layers": (0, None),
}
LAYER = r"^(encoder\.layer\.\d+)\."


def refuse(raw: Mapping[str, Any]) -> None:
    """Refuse variants of Nomic's own code: experts, other activations, biases, scaled positions."""
    refuse_variants("NomicBERT")(raw)
    refuse_scaled_positions(raw)
    for key, expected in STRUCTURE.items():
        if key in raw and raw[key] not in expected:
            raise CheckpointError(
                f"config: {key} is {str(raw[key])[:40]!r}, expected {expected[0]!r}",
                "this variant of NomicBERT is not supported",
            )
    sizes, width = current(raw), raw.get("head_dim")
    hidden, heads = sizes.get("hidden_size"), sizes.get("num_attention_heads")
    if isinstance(width, int) and isinstance(hidden, int) and isinstance(heads, int) and width * heads != hidden:
        raise CheckpointError(
            f"config: head_dim is {width}, but {heads} heads of this width are not hidden_size {hidden}",
            "attention that is wider or narrower than the hidden size is not supported",
        )


def current(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys of ``transformers``, for a file of Nomic's own code too."""
    found = {key: raw[own] for key, own in OWN_KEYS.items() if raw.get(own) is not None}
    found |= {key: value for key, value in raw.items() if value is not None}
    rope = raw.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        found["rope_theta"] = rope["rope_theta"]
    return found


NOMIC_BERT = Encoder(
    model_type="nomic_bert",
    title="NomicBERT",
    class_prefix="NomicBert",
    architecture="NomicBertForMaskedLM",
    names=ForeignNames(
        prefix="nomic_bert.",
        patterns=(
            (r"^(nomic_bert\.)?emb_ln\.", "embeddings.LayerNorm."),
            (r"^(nomic_bert\.)?(encoder\.)?layers\.(\d+)\.", r"encoder.layer.\3."),
            # of transformers, in memory
            (LAYER + r"self_attn\.([qkv])_proj\.", r"\1.attn.\2."),
            (LAYER + r"self_attn\.o_proj\.", r"\1.attn.out_proj."),
            (LAYER + r"mlp\.gate_proj\.", r"\1.mlp.fc12."),
            (LAYER + r"mlp\.up_proj\.", r"\1.mlp.fc11."),
            (LAYER + r"mlp\.down_proj\.", r"\1.mlp.fc2."),
            (LAYER + r"post_attention_layernorm\.", r"\1.norm1."),
            (LAYER + r"post_mlp_layernorm\.", r"\1.norm2."),
            # in files
            (LAYER + r"attn\.q\.", r"\1.attention.self.query."),
            (LAYER + r"attn\.k\.", r"\1.attention.self.key."),
            (LAYER + r"attn\.v\.", r"\1.attention.self.value."),
            (LAYER + r"attn\.out_proj\.", r"\1.attention.output.dense."),
            (LAYER + r"norm1\.", r"\1.attention.output.LayerNorm."),
            (LAYER + r"mlp\.fc12\.", r"\1.intermediate.dense."),
            (LAYER + r"mlp\.fc11\.", r"\1.intermediate.gate."),
            (LAYER + r"mlp\.fc2\.", r"\1.output.dense."),
            (LAYER + r"norm2\.", r"\1.output.LayerNorm."),
            (r"^cls\.predictions\.transform\.layer_norm\.", f"{MLM_TRANSFORM}.LayerNorm."),
            (r"^cls\.predictions\.decoder\.bias$", DECODER_BIAS),
        ),
        preferred=re.compile(r"(^|\.)cls\.predictions\.decoder\.bias$"),
        fused=((r"\.attn\.Wqkv\.", (".attention.self.query.", ".attention.self.key.", ".attention.self.value.")),),
    ),
    defaults=BASE,
    keys=KEYS,
    segments=2,
    refuse=refuse,
    current=current,
    tokenizer_class="BertTokenizer",
    classifier=ClassifierStructure(reads="pooler"),
)
