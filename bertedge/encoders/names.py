"""The canonical name and the shape of every tensor. Each family translates its own names to these."""

from __future__ import annotations

import re

from bertedge.encoders.config import EncoderConfig

EMBEDDINGS = "embeddings"
WORD_EMBEDDINGS = f"{EMBEDDINGS}.word_embeddings.weight"
POSITION_EMBEDDINGS = f"{EMBEDDINGS}.position_embeddings.weight"
TOKEN_TYPE_EMBEDDINGS = f"{EMBEDDINGS}.token_type_embeddings.weight"
PROJECTION = f"{EMBEDDINGS}.projection"
#: The owner of the norm after the last block of an encoder whose other norms precede what they normalize.
ENCODER = "encoder"
RELATIVE_BIAS = f"{ENCODER}.relative_attention_bias.weight"
POOLER = "pooler.dense"
MLM_TRANSFORM = "cls.predictions.transform"
DECODER = "cls.predictions.decoder.weight"
DECODER_BIAS = "cls.predictions.bias"
UNTIED_DECODER_BIAS = "cls.predictions.decoder.bias"
NSP = "cls.seq_relationship"

#: A tensor of an encoder block, and the block's index.
IN_LAYER = re.compile(r"^encoder\.layer\.(\d+)\.")

Shapes = dict[str, tuple[int, ...]]


def layer(index: int) -> str:
    """The prefix of an encoder block."""
    return f"encoder.layer.{index}"


def block_norms(config: EncoderConfig, index: int) -> tuple[str, str]:
    """The owners of the layer norms of a block's attention and feed-forward network; see ``EncoderConfig.norm``.

    The first one is empty if the attention has none.
    """
    block = layer(index)
    if config.norm == "post":
        return f"{block}.attention.output", f"{block}.output"
    return f"{block}.attention" if index else "", f"{block}.intermediate"


def encoder_shapes(config: EncoderConfig) -> Shapes:
    """The tensors of embeddings and blocks."""
    hidden, width = config.hidden_size, config.embedding_width
    shapes: Shapes = {WORD_EMBEDDINGS: (config.vocab_size, width)}
    if config.positions == "absolute":
        shapes[POSITION_EMBEDDINGS] = (config.max_position_embeddings, width)
    if config.type_vocab_size:
        shapes[TOKEN_TYPE_EMBEDDINGS] = (config.type_vocab_size, width)
    shapes |= norm_shapes(EMBEDDINGS, width, bias=config.norm_bias)
    if config.embedding_projection:
        shapes |= linear_shapes(PROJECTION, hidden, width)
    if config.relative_buckets:
        shapes[RELATIVE_BIAS] = (config.relative_buckets, config.num_attention_heads)
    for index in range(config.stored_blocks):
        shapes |= _block_shapes(config, index)
    if config.norm == "pre":
        shapes |= norm_shapes(ENCODER, hidden, bias=config.norm_bias)
    return shapes


def _block_shapes(config: EncoderConfig, index: int) -> Shapes:
    hidden, inner, block = config.hidden_size, config.intermediate_size, layer(index)
    attention = [f"attention.self.{part}" for part in ("query", "key", "value")] + ["attention.output.dense"]
    shapes: Shapes = {}
    for part in attention:
        shapes |= linear_shapes(f"{block}.{part}", hidden, hidden, bias=config.attention_bias)
    for part in ("dense", "gate") if config.gated else ("dense",):
        shapes |= linear_shapes(f"{block}.intermediate.{part}", inner, hidden, bias=config.mlp_bias)
    shapes |= linear_shapes(f"{block}.output.dense", hidden, inner, bias=config.mlp_bias)
    for owner in filter(None, block_norms(config, index)):
        shapes |= norm_shapes(owner, hidden, bias=config.norm_bias)
    return shapes


def pooler_shapes(config: EncoderConfig) -> Shapes:
    """The pooler: a linear layer with tanh on ``[CLS]``."""
    return linear_shapes(POOLER, config.hidden_size, config.hidden_size)


def dense_shapes(config: EncoderConfig, dense: str | None, norm: str | None) -> Shapes:
    """The dense layer and the layer norm in front of a classifier, by their owners; None where there is none."""
    width = config.hidden_size
    shapes = linear_shapes(dense, width, width, bias=config.head_bias) if dense else {}
    return shapes | (norm_shapes(norm, width, bias=config.norm_bias) if norm else {})


def linear_shapes(name: str, outputs: int, inputs: int, *, bias: bool = True) -> Shapes:
    """A linear layer: weight and bias."""
    shapes: Shapes = {f"{name}.weight": (outputs, inputs)}
    return shapes | {f"{name}.bias": (outputs,)} if bias else shapes


def norm_shapes(owner: str, size: int, *, bias: bool = True) -> Shapes:
    """A layer norm: weight and bias."""
    shapes: Shapes = {f"{owner}.LayerNorm.weight": (size,)}
    return shapes | {f"{owner}.LayerNorm.bias": (size,)} if bias else shapes
