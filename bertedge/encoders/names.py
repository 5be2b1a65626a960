"""The canonical name and the shape of every tensor. Each family translates its own names to these."""

from __future__ import annotations

import re

from bertedge.encoders.config import EncoderConfig

EMBEDDINGS = "embeddings"
WORD_EMBEDDINGS = f"{EMBEDDINGS}.word_embeddings.weight"
POSITION_EMBEDDINGS = f"{EMBEDDINGS}.position_embeddings.weight"
TOKEN_TYPE_EMBEDDINGS = f"{EMBEDDINGS}.token_type_embeddings.weight"
PROJECTION = f"{EMBEDDINGS}.projection"
RELATIVE_BIAS = "encoder.relative_attention_bias.weight"
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


def encoder_shapes(config: EncoderConfig) -> Shapes:
    """The tensors of embeddings and blocks."""
    hidden, inner, width = config.hidden_size, config.intermediate_size, config.embedding_width
    shapes: Shapes = {
        WORD_EMBEDDINGS: (config.vocab_size, width),
        POSITION_EMBEDDINGS: (config.max_position_embeddings, width),
    }
    if config.type_vocab_size:
        shapes[TOKEN_TYPE_EMBEDDINGS] = (config.type_vocab_size, width)
    shapes |= norm_shapes(EMBEDDINGS, width)
    if config.embedding_projection:
        shapes |= linear_shapes(PROJECTION, hidden, width)
    if config.relative_buckets:
        shapes[RELATIVE_BIAS] = (config.relative_buckets, config.num_attention_heads)
    for index in range(config.stored_blocks):
        block = layer(index)
        for part in ("query", "key", "value"):
            shapes |= linear_shapes(f"{block}.attention.self.{part}", hidden, hidden)
        shapes |= linear_shapes(f"{block}.attention.output.dense", hidden, hidden)
        shapes |= norm_shapes(f"{block}.attention.output", hidden)
        shapes |= linear_shapes(f"{block}.intermediate.dense", inner, hidden)
        shapes |= linear_shapes(f"{block}.output.dense", hidden, inner)
        shapes |= norm_shapes(f"{block}.output", hidden)
    return shapes


def pooler_shapes(config: EncoderConfig) -> Shapes:
    """The pooler: a linear layer with tanh on ``[CLS]``."""
    return linear_shapes(POOLER, config.hidden_size, config.hidden_size)


def linear_shapes(name: str, outputs: int, inputs: int) -> Shapes:
    """A linear layer: weight and bias."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm_shapes(owner: str, size: int) -> Shapes:
    """A layer norm: weight and bias."""
    return {f"{owner}.LayerNorm.weight": (size,), f"{owner}.LayerNorm.bias": (size,)}
