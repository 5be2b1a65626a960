"""The canonical name and the shape of every tensor. Each family translates its own names to these."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bertedge.encoders.config import EncoderConfig

EMBEDDINGS = "embeddings"
WORD_EMBEDDINGS = f"{EMBEDDINGS}.word_embeddings.weight"
POSITION_EMBEDDINGS = f"{EMBEDDINGS}.position_embeddings.weight"
TOKEN_TYPE_EMBEDDINGS = f"{EMBEDDINGS}.token_type_embeddings.weight"
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
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes: Shapes = {
        WORD_EMBEDDINGS: (config.vocab_size, hidden),
        POSITION_EMBEDDINGS: (config.max_position_embeddings, hidden),
    }
    if config.type_vocab_size:
        shapes[TOKEN_TYPE_EMBEDDINGS] = (config.type_vocab_size, hidden)
    shapes |= _norm(EMBEDDINGS, hidden)
    for index in range(config.num_hidden_layers):
        block = layer(index)
        for part in ("query", "key", "value"):
            shapes |= _linear(f"{block}.attention.self.{part}", hidden, hidden)
        shapes |= _linear(f"{block}.attention.output.dense", hidden, hidden)
        shapes |= _norm(f"{block}.attention.output", hidden)
        shapes |= _linear(f"{block}.intermediate.dense", inner, hidden)
        shapes |= _linear(f"{block}.output.dense", hidden, inner)
        shapes |= _norm(f"{block}.output", hidden)
    return shapes


def pooler_shapes(config: EncoderConfig) -> Shapes:
    """The pooler: a linear layer with tanh on ``[CLS]``."""
    return _linear(POOLER, config.hidden_size, config.hidden_size)


def mlm_shapes(config: EncoderConfig) -> Shapes:
    """The masked-language-model head without its decoder matrix, which is tied to the word embeddings unless stored."""
    hidden = config.hidden_size
    return {
        **_linear(f"{MLM_TRANSFORM}.dense", hidden, hidden),
        **_norm(MLM_TRANSFORM, hidden),
        DECODER_BIAS: (config.vocab_size,),
    }


def decoder_shapes(config: EncoderConfig) -> Shapes:
    """The decoder matrix of a checkpoint that does not tie it."""
    return {DECODER: (config.vocab_size, config.hidden_size)}


def nsp_shapes(config: EncoderConfig) -> Shapes:
    """The next-sentence head on top of the pooler."""
    return _linear(NSP, 2, config.hidden_size)


def expected_shapes(config: EncoderConfig, heads: Iterable[str]) -> Shapes:
    """All tensors of an encoder with these heads (``pooler``, ``mlm``, ``decoder``, ``nsp``)."""
    tables = {"pooler": pooler_shapes, "mlm": mlm_shapes, "decoder": decoder_shapes, "nsp": nsp_shapes}
    shapes = encoder_shapes(config)
    for head in heads:
        shapes |= tables[head](config)
    return shapes


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(owner: str, size: int) -> Shapes:
    return {f"{owner}.LayerNorm.weight": (size,), f"{owner}.LayerNorm.bias": (size,)}
